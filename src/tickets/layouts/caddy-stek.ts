// Caddy's `stek/stek.bin`: a Go gob of { Keys [][32]byte; LastRotation, NextRotation time.Time }. Caddy mints with the
// first key, opens with all, and reads the file again at NextRotation; when that has passed and the file was not
// renewed, Caddy makes a key of its own and overwrites the file. So NextRotation is a poll time, well ahead of the next
// write.
//
// A gob is a row of messages, each behind its length: definitions of types, then the value. Numbers are one byte below
// 128, else the complement of their length in bytes and big-endian bytes; signed ones are doubled, and complemented
// when negative. Fields of a struct are numbered by how many were skipped, and end with 0.

import { secretBytes } from '../../base/bytes.ts'
import type { TicketKey } from '../ticket-key.ts'
import { goKey } from './binary.ts'

const GO_KEY_BYTES = 32
/** Seconds from the year 1, where Go's time begins, to 1970. */
const UNIX_EPOCH_SEC = 62_135_596_800n
/** Numbers of the types that this file defines; Go gives such numbers from 65 on. */
const TYPE = { struct: 65, keys: 66, key: 67, time: 68 } as const
/** Go's number of unsigned integers. */
const UINT = 3

/** Times of the file, in ms since 1970 by the clock of the host that runs Caddy. */
export interface CaddyTimes {
  readonly lastRotationMs: number
  readonly nextRotationMs: number
}

/** The file with these keys, the one that is minted first. The caller erases it after use. */
export function caddyStek(keys: readonly TicketKey[], times: CaddyTimes): Buffer {
  const value = rotationValue(keys, times)
  // Joined in one step, since each step would leave a copy of the keys.
  const file = Buffer.concat([...DEFINITIONS, Buffer.from(uint(value.length)), value])
  value.fill(0)
  return file
}

function rotationValue(keys: readonly TicketKey[], times: CaddyTimes): Buffer {
  const head = [...int(TYPE.struct), 1, ...uint(keys.length)]
  const tail = [1, ...timeOf(times.lastRotationMs), 1, ...timeOf(times.nextRotationMs), 0]
  // A byte of 128 or more takes two bytes as a number.
  const keysLength = keys.reduce((sum, key) => sum + 1 + lengthOfBytes(goKey(key)), 0)
  const value = secretBytes(head.length + keysLength + tail.length)
  value.set(head)
  let at = head.length
  for (const key of keys) {
    value[at] = GO_KEY_BYTES
    at += 1
    for (const byte of goKey(key)) {
      if (byte >= 128) {
        value[at] = 0xff
        at += 1
      }
      value[at] = byte
      at += 1
    }
  }
  value.set(tail, at)
  return value
}

function lengthOfBytes(bytes: Buffer): number {
  let length = 0
  for (const byte of bytes) length += byte < 128 ? 1 : 2
  return length
}

/** A time as Go marshals it: version 1, seconds since the year 1, nanoseconds, and -1 for UTC; behind its length. */
function timeOf(wallMs: number): number[] {
  const bytes = Buffer.alloc(15)
  bytes[0] = 1
  bytes.writeBigInt64BE(BigInt(Math.floor(wallMs / 1000)) + UNIX_EPOCH_SEC, 1)
  bytes.writeUInt32BE(Math.floor(wallMs % 1000) * 1_000_000, 9)
  bytes.writeInt16BE(-1, 13)
  return [...uint(bytes.length), ...bytes]
}

function uint(value: number | bigint): number[] {
  const big = BigInt(value)
  if (big < 128n) return [Number(big)]
  const bytes: number[] = []
  for (let left = big; left > 0n; left >>= 8n) bytes.unshift(Number(left & 255n))
  return [256 - bytes.length, ...bytes]
}

function int(value: number | bigint): number[] {
  const big = BigInt(value)
  return uint(big < 0n ? (~big << 1n) | 1n : big << 1n)
}

function text(value: string): number[] {
  return [...uint(value.length), ...Buffer.from(value, 'latin1')]
}

function frame(message: Uint8Array | readonly number[]): Buffer {
  return Buffer.concat([Buffer.from(uint(message.length)), Uint8Array.from(message)])
}

/** The fields that all definitions have: a name, left out when it is empty, and the number of the type. */
function common(name: string, type: number): number[] {
  return name === '' ? [2, ...int(type), 0] : [1, ...text(name), 1, ...int(type), 0]
}

function field(name: string, type: number): number[] {
  return [1, ...text(name), 1, ...int(type), 0]
}

/**
 * Definitions of the struct, of the list of keys, of one key and of a time, as Go's encoder sends them: the number of the
 * type, negated, and the member of `wireType` (1 array, 2 slice, 3 struct, 5 type with an encoder of its own).
 */
const DEFINITIONS: readonly Buffer[] = [
  [
    ...int(-TYPE.struct),
    ...[3, 1, ...common('dstek', TYPE.struct), 1, 3],
    ...field('Keys', TYPE.keys),
    ...field('LastRotation', TYPE.time),
    ...field('NextRotation', TYPE.time),
    ...[0, 0],
  ],
  [...int(-TYPE.keys), 2, 1, ...common('', TYPE.keys), 1, ...int(TYPE.key), 0, 0],
  [
    ...int(-TYPE.key),
    ...[1, 1, ...common('', TYPE.key), 1, ...int(UINT), 1, ...int(GO_KEY_BYTES), 0, 0],
  ],
  [...int(-TYPE.time), 5, 1, ...common('Time', TYPE.time), 0, 0],
].map(frame)
