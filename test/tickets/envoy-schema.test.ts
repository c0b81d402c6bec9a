// What Envoy is given fits its published schema, as far as it is used here. Envoy refuses a file with a field that it does
// not know, so this reads as strictly. No binary of Envoy is to be had in a registry, so names, numbers and orders were
// compared with the sources at github.com/envoyproxy/envoy on 2026-11-30:
//
//   api/envoy/service/discovery/v3/discovery.proto     message DiscoveryResponse { repeated google.protobuf.Any resources = 2; }
//   api/envoy/extensions/transport_sockets/tls/v3/
//     secret.proto     message Secret { string name = 1; oneof type { TlsSessionTicketKeys session_ticket_keys = 3; } }
//                      message SdsSecretConfig { string name = 1 (min_len 1); config.core.v3.ConfigSource sds_config = 2; }
//     common.proto     message TlsSessionTicketKeys { repeated config.core.v3.DataSource keys = 1 (min_items 1); }
//                      "The first key in the array contains the key to encrypt all new sessions"
//                      "All keys are candidates for decrypting received tickets."
//                      "Each key must contain exactly 80 bytes of cryptographically-secure random data."
//                      message TlsCertificate { DataSource certificate_chain = 1; DataSource private_key = 2; }
//     tls.proto        message DownstreamTlsContext { CommonTlsContext common_tls_context = 1;
//                        oneof session_ticket_keys_type { SdsSecretConfig session_ticket_keys_sds_secret_config = 5; } }
//                      message CommonTlsContext { repeated TlsCertificate tls_certificates = 2; }
//   api/envoy/config/core/v3/
//     base.proto       message DataSource { oneof specifier { string filename = 1; bytes inline_bytes = 2;
//                        string inline_string = 3; string environment_variable = 4; } }
//                      message WatchedDirectory { string path = 1; }
//     config_source.proto  message ConfigSource { oneof config_source_specifier { PathConfigSource path_config_source = 8; }
//                        ApiVersion resource_api_version = 6; }    enum ApiVersion { AUTO = 0; V2 = 1; V3 = 2; }
//   envoy/ssl/context_config.h    struct SessionTicketKey { 16 bytes name_; 32 bytes hmac_key_; 32 bytes aes_key_; }
//   source/common/tls/server_context_config_impl.cc    getSessionTicketKey() copies name, HMAC key and AES key in this order
//                      "Incorrect TLS session ticket key length" unless there are 80 bytes
//
// Of PathConfigSource { path = 1; watched_directory = 2 } only the documentation of Envoy's file subscriptions was read.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import protobuf from 'protobufjs'
import { parse } from 'yaml'
import { envoySecret } from '../../src/tickets/layouts/key-files.ts'
import { TicketKey } from '../../src/tickets/ticket-key.ts'
import { seededBytes } from '../support/seeded-random.ts'

const SECRET_TYPE = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret'
const EXAMPLE = new URL('../../deploy/terminators/tickets/envoy/envoy.yaml', import.meta.url)

const field = (id: number, type: string) => ({ id, type })
const many = (id: number, type: string) => ({ id, type, rule: 'repeated' as const })
const root = protobuf.Root.fromJSON({
  nested: {
    Secret: {
      fields: { name: field(1, 'string'), session_ticket_keys: field(3, 'TlsSessionTicketKeys') },
    },
    TlsSessionTicketKeys: { fields: { keys: many(1, 'DataSource') } },
    DataSource: {
      oneofs: {
        specifier: { oneof: ['filename', 'inline_bytes', 'inline_string', 'environment_variable'] },
      },
      fields: {
        filename: field(1, 'string'),
        inline_bytes: field(2, 'bytes'),
        inline_string: field(3, 'string'),
        environment_variable: field(4, 'string'),
      },
    },
    DownstreamTlsContext: {
      fields: {
        common_tls_context: field(1, 'CommonTlsContext'),
        session_ticket_keys_sds_secret_config: field(5, 'SdsSecretConfig'),
      },
    },
    CommonTlsContext: { fields: { tls_certificates: many(2, 'TlsCertificate') } },
    TlsCertificate: {
      fields: {
        certificate_chain: field(1, 'DataSource'),
        private_key: field(2, 'DataSource'),
      },
    },
    SdsSecretConfig: { fields: { name: field(1, 'string'), sds_config: field(2, 'ConfigSource') } },
    ConfigSource: {
      fields: {
        resource_api_version: field(6, 'ApiVersion'),
        path_config_source: field(8, 'PathConfigSource'),
      },
    },
    PathConfigSource: {
      fields: { path: field(1, 'string'), watched_directory: field(2, 'WatchedDirectory') },
    },
    WatchedDirectory: { fields: { path: field(1, 'string') } },
    ApiVersion: { values: { AUTO: 0, V2: 1, V3: 2 } },
  },
})

/** Reads a value as Envoy does, and fails at what the message does not have. */
function read(name: string, value: Record<string, unknown>): protobuf.Message {
  const type = root.lookupType(name)
  const message = type.fromObject(value)
  assert.equal(type.verify(message), null)
  const back = type.toObject(type.decode(type.encode(message).finish()), {
    bytes: String,
    enums: String,
  })
  // What is not in the schema, or not in its form, does not come back.
  assert.deepEqual(back, value)
  return message
}

test('the file of keys is a secret of Envoy, the first key the one that is minted', () => {
  const random = seededBytes('envoy')
  const keys = [0, 1, 2].map(() => TicketKey.generate(random))
  // A DiscoveryResponse with nothing but its resources, each an Any.
  const { resources, ...rest } = parse(envoySecret('www', keys).toString())
  assert.deepEqual(rest, {})
  assert.equal(resources.length, 1)
  const { '@type': type, ...secret } = resources[0]
  assert.equal(type, SECRET_TYPE)
  read('Secret', secret)
  assert.throws(() => read('Secret', { ...secret, session_ticket_key: {} }))
  assert.equal(secret.name, 'www')
  const items = secret.session_ticket_keys.keys as { readonly inline_bytes: string }[]
  const bytes = items.map(({ inline_bytes: base64 }) => Buffer.from(base64, 'base64'))
  const wanted = keys.map((key) => Buffer.concat([key.name, key.hmac(32), key.aes(32)]))
  assert.deepEqual(bytes, wanted)
})

test('what JSON of protobuf reads as bytes is base64 with padding, as written', () => {
  const key = TicketKey.generate(seededBytes('envoy padding'))
  const text = envoySecret('www', [key]).toString()
  const [, base64 = ''] = /inline_bytes: "([^"]*)"/.exec(text) ?? []
  assert.equal(base64, Buffer.concat([key.name, key.hmac(32), key.aes(32)]).toString('base64'))
})

test('the example names the file and watches its folder', () => {
  const { static_resources: resources } = parse(readFileSync(EXAMPLE, 'utf8'))
  const [chain] = resources.listeners[0].filter_chains
  const { '@type': _, ...context } = chain.transport_socket.typed_config
  read('DownstreamTlsContext', context)
  const { path, watched_directory: folder } =
    context.session_ticket_keys_sds_secret_config.sds_config.path_config_source
  assert.ok(path.startsWith(`${folder.path}/`))
})
