// TLS between nodes: version 1.3 with a pre-shared key from the keyring, which each side proves to have. There are no
// certificates; the PSK identity is the key ID in hex.

import { constants } from 'node:crypto'
import type { ConnectionOptions, TlsOptions } from 'node:tls'
import { codeOf, messageOf } from '../../base/errors.ts'
import type { Keyring } from '../../wire/keyring.ts'

/** Longest time for a handshake; it takes milliseconds on any network where replication makes sense. */
export const HANDSHAKE_TIMEOUT_MS = 3000

const KEY_ID_PATTERN = /^[0-9a-f]{8}$/

const PROTOCOL = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  // An external pre-shared key is used with SHA-256 unless it names another hash (RFC 8446 4.2.11).
  ciphers: 'TLS_AES_128_GCM_SHA256',
  // Without tickets no connection is resumed, so a key that was removed from the ring opens no connection any more.
  secureOptions: constants.SSL_OP_NO_TICKET,
} as const

/** Options of the listening side; `keyring` is called at every handshake and returns the current ring. */
export function serverOptions(keyring: () => Keyring): TlsOptions {
  return {
    ...PROTOCOL,
    noDelay: true,
    pskCallback: (_socket, identity) => {
      if (!KEY_ID_PATTERN.test(identity)) return null
      return keyring().syncKey(Number.parseInt(identity, 16)) ?? null
    },
  }
}

export function clientOptions(keyring: Keyring): ConnectionOptions {
  return {
    ...PROTOCOL,
    // No certificate is trusted: a server that sends one does not have the key.
    ca: [],
    checkServerIdentity: () => new Error('the peer does not have the key'),
    pskCallback: () => {
      const psk = keyring.syncKey(keyring.primaryKeyId)
      if (psk === undefined) return null
      return { psk, identity: keyring.primaryKeyId.toString(16).padStart(8, '0') }
    },
  }
}

/** Causes by OpenSSL's error code; OpenSSL's own text names lines of its source and no cause. */
const REASONS: readonly (readonly [RegExp, string])[] = [
  [
    /ALERT_HANDSHAKE_FAILURE|NO_SUITABLE_SIGNATURE_ALGORITHM|DECRYPT|BINDER|BAD_PSK|BAD_RECORD_MAC/,
    'the peer has other keys: compare the files of keys (replication.keys_file) of both nodes',
  ],
  [
    /WRONG_VERSION_NUMBER|PACKET_LENGTH|HTTP_REQUEST|RECORD_TYPE|UNEXPECTED_MESSAGE/,
    'the other side does not speak TLS: something else than a node is at this address',
  ],
  [
    /CERT|UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION|NO_SHARED|EXTENSION/,
    'the other side speaks TLS and is not a node: it does not know keys of a cluster',
  ],
]

/** Why a handshake between nodes failed, in words that name a cause. */
export function handshakeReason(error: unknown): string {
  const code = codeOf(error) ?? ''
  if (!/^ERR_SSL_|CERT/.test(code)) return messageOf(error)
  return REASONS.find(([pattern]) => pattern.test(code))?.[1] ?? `TLS failed: ${code}`
}
