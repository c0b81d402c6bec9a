// The keys as terminators read them in binary: one after another, each a name of 16 bytes and two secrets.
//
//   48 bytes: AES-128-CBC and HMAC-SHA256 with 16 bytes each; 80 bytes: AES-256-CBC and HMAC-SHA256 with 32 bytes each
//
//   order      48 bytes                 80 bytes
//   aes_hmac   nginx, HAProxy, nghttpx  HAProxy, nghttpx
//   hmac_aes   Apache, Node.js, ATS     nginx, lighttpd, Envoy, Cilium
//
// nginx changes the order with the size. Each function returns a Buffer of its own, which the caller erases after use.

import { secretBytes } from '../../base/bytes.ts'
import type { TicketKey } from '../ticket-key.ts'

export type KeyOrder = 'aes_hmac' | 'hmac_aes'
export type KeySize = 48 | 80

/** One key as name and secrets. */
export function keyBytes(key: TicketKey, order: KeyOrder, size: KeySize): Buffer {
  const bytes = secretBytes(size)
  writeKey(bytes, 0, key, order, size)
  return bytes
}

/** All keys, one after another, the one that is minted first: for Apache Traffic Server and programs of one's own. */
export function joinedKeys(keys: readonly TicketKey[], order: KeyOrder, size: KeySize): Buffer {
  const bytes = secretBytes(keys.length * size)
  for (const [index, key] of keys.entries()) writeKey(bytes, index * size, key, order, size)
  return bytes
}

/** A key file of nginx. */
export function nginxKey(key: TicketKey, size: KeySize): Buffer {
  return keyBytes(key, size === 48 ? 'aes_hmac' : 'hmac_aes', size)
}

/**
 * The `ssl.stek-file` of lighttpd: a version of zero, activation and expiry in seconds since 1970 by the clock of this
 * host, all three in its byte order, and the key.
 */
export function lighttpdStek(key: TicketKey, activationSec: number, expirySec: number): Buffer {
  const header = Uint32Array.of(0, activationSec, expirySec)
  const bytes = secretBytes(92)
  bytes.set(new Uint8Array(header.buffer))
  writeKey(bytes, 12, key, 'hmac_aes', 80)
  return bytes
}

/** The value that nghttpx reads from memcached: a version, and each key behind its length; the first key is minted. */
export function nghttpxValue(keys: readonly TicketKey[], size: KeySize): Buffer {
  const bytes = secretBytes(4 + keys.length * (2 + size))
  bytes.writeUInt32BE(1, 0)
  for (const [index, key] of keys.entries()) {
    const at = 4 + index * (2 + size)
    bytes.writeUInt16BE(size, at)
    writeKey(bytes, at + 2, key, 'aes_hmac', size)
  }
  return bytes
}

/** The 32 bytes from which Go (Caddy, Traefik) derives name and secrets; shared with the key. */
export function goKey(key: TicketKey): Buffer {
  return key.aes(32)
}

function writeKey(bytes: Buffer, at: number, key: TicketKey, order: KeyOrder, size: KeySize): void {
  const half = size === 48 ? 16 : 32
  const aesFirst = order === 'aes_hmac'
  bytes.set(key.name, at)
  bytes.set(aesFirst ? key.aes(half) : key.hmac(half), at + 16)
  bytes.set(aesFirst ? key.hmac(half) : key.aes(half), at + 16 + half)
}
