// TLS between nodes: version 1.3 with a pre-shared key from the keyring, which each side proves to have. There are no
// certificates; the PSK identity is the key ID in hex.

import { constants } from 'node:crypto'
import type { EventEmitter } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type ConnectionOptions, connect, createServer, type TlsOptions } from 'node:tls'
import type { HostAddress } from '../../base/address.ts'
import { codeOf, messageOf } from '../../base/errors.ts'
import { formatKeyId, type Keyring, type KeySource } from '../../wire/keyring.ts'

/** Longest time for a handshake; it takes milliseconds on any network where replication makes sense. */
export const HANDSHAKE_TIMEOUT_MS = 3000

/**
 * SSL_OP_CLEANSE_PLAINTEXT of OpenSSL 3, which Node.js has no name for: what was received is filled with zeros in
 * OpenSSL's own buffer as soon as it was read. Ticket keys come this way.
 */
const CLEANSE_PLAINTEXT = 2

const KEY_ID_PATTERN = /^[0-9a-f]{8}$/

const PROTOCOL = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  // An external pre-shared key is used with SHA-256 unless it names another hash (RFC 8446 4.2.11).
  ciphers: 'TLS_AES_128_GCM_SHA256',
  // Without tickets no connection is resumed, so a key that was removed from the ring opens no connection any more.
  secureOptions: constants.SSL_OP_NO_TICKET | CLEANSE_PLAINTEXT,
} as const

/** Options of the listening side, which takes the current ring at every handshake. */
export function serverOptions(keys: KeySource): TlsOptions {
  return {
    ...PROTOCOL,
    noDelay: true,
    pskCallback: (_socket, identity) => {
      if (!KEY_ID_PATTERN.test(identity)) return null
      return keys.current.syncKey(Number.parseInt(identity, 16)) ?? null
    },
  }
}

/** Options of the calling side, which proves one key of the ring. */
export function clientOptions(keyring: Keyring, keyId = keyring.primaryKeyId): ConnectionOptions {
  return {
    ...PROTOCOL,
    // No certificate is trusted: a server that sends one does not have the key.
    ca: [],
    checkServerIdentity: () => new Error('the peer does not have the key'),
    pskCallback: () => {
      const psk = keyring.syncKey(keyId)
      return psk === undefined ? null : { psk, identity: formatKeyId(keyId) }
    },
  }
}

/** A connection between two nodes, as Node.js's TLSSocket. */
export type SyncSocket = Duplex & Pick<Socket, 'remoteAddress' | 'remotePort'>

/**
 * A listener for connections that prove a key, as Node.js's tls.Server: it emits `listening`, `connection` when one
 * begins, `secureConnection` when the other side has proved a key, `tlsClientError` when it has not, `error`, `close`.
 */
export interface SyncServer extends EventEmitter {
  listen(options: { host: string; port: number; backlog: number }): unknown
  address(): AddressInfo | string | null
  close(): unknown
}

/** Streams between nodes on which each side proves to have a key of the ring. */
export interface SyncStreams {
  /** Connects; the socket emits `secureConnect` when both sides have proved the primary key of this ring. */
  connect(address: HostAddress, keyring: Keyring): SyncSocket
  /** Makes a listener, which takes the current ring at every handshake. */
  createServer(keys: KeySource): SyncServer
}

export const tlsStreams: SyncStreams = {
  connect({ host, port }, keyring) {
    const socket = connect({ host, port, ...clientOptions(keyring) })
    socket.setNoDelay()
    return socket
  },
  createServer: (keys) => createServer(serverOptions(keys)),
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
