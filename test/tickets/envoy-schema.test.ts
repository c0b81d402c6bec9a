// What Envoy is given fits its published schema: fields and numbers of envoy/extensions/transport_sockets/tls/v3
// (secret.proto, common.proto, tls.proto) and envoy/config/core/v3 (base.proto, config_source.proto), as far as they are
// used here. Envoy refuses a file with a field that it does not know, so this reads as strictly.

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
      oneofs: { specifier: { oneof: ['filename', 'inline_bytes', 'inline_string'] } },
      fields: {
        filename: field(1, 'string'),
        inline_bytes: field(2, 'bytes'),
        inline_string: field(3, 'string'),
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

test('the file of keys is a secret of Envoy', () => {
  const random = seededBytes('envoy')
  const keys = [0, 1, 2].map(() => TicketKey.generate(random))
  const { resources, ...rest } = parse(envoySecret('www', keys).toString())
  assert.deepEqual(rest, {})
  assert.equal(resources.length, 1)
  const { '@type': type, ...secret } = resources[0]
  assert.equal(type, SECRET_TYPE)
  read('Secret', secret)
  assert.throws(() => read('Secret', { ...secret, session_ticket_key: {} }))
  for (const { inline_bytes: base64 } of secret.session_ticket_keys.keys)
    assert.equal(Buffer.from(base64, 'base64').length, 80)
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
