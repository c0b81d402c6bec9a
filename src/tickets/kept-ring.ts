// The bytes by which a ring outlives a restart of its node: its keys and the names of retired ones, with their moments by
// the clock of the machine, which goes on while the process does not. A file of another boot, a cut one and one that was
// changed say nothing. A ring that was read is judged as an offer of a peer is.
//
//   0     16      "tlscached ring 1"
//   16    36      ID of the boot, as the kernel spells it
//   52    8       by how much the time of day was ahead of the time since the boot, in ms; a double, big-endian as all
//                 numbers: when it is more ahead later, the machine was suspended, which the time since the boot leaves out
//   60    2       number of keys n
//   62    2       number of retired names m
//   64    129 n   for each key: when it was made and when it came here, both in ms since the boot as doubles;
//                 a byte with bit 0 for a key that was made here and bit 1 for one whose age is in doubt; name of 16
//                 bytes, secret of 96
//   ...   24 m    for each retired name: when it was retired, as above; name of 16 bytes
//   ...   32      SHA-256 of everything before

import { hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import {
  MAX_RETIRED_NAMES,
  MAX_RING_KEYS,
  TICKET_NAME_BYTES,
  TICKET_SECRET_BYTES,
} from '../wire/ring-message.ts'
import type { RetiredMoment } from './retired-names.ts'
import type { AgedKey } from './rule.ts'
import { TicketKey } from './ticket-key.ts'

const MAGIC = Buffer.from('tlscached ring 1')
const BOOT_ID_BYTES = 36
const AHEAD_START = MAGIC.length + BOOT_ID_BYTES
const COUNTS_START = AHEAD_START + 8
const HEAD_BYTES = COUNTS_START + 4
const MOMENT_BYTES = 8
const KEY_BYTES = 2 * MOMENT_BYTES + 1 + TICKET_NAME_BYTES + TICKET_SECRET_BYTES
const RETIRED_BYTES = MOMENT_BYTES + TICKET_NAME_BYTES
const DIGEST_BYTES = 32
const MADE_HERE = 1
const IN_DOUBT = 2
/** Most bytes of a ring. */
export const MAX_KEPT_BYTES =
  HEAD_BYTES + MAX_RING_KEYS * KEY_BYTES + MAX_RETIRED_NAMES * RETIRED_BYTES + DIGEST_BYTES

/** The clock of a machine, which all of its processes read alike. */
export interface BootClock {
  /** Identifies the boot since which the time is counted; undefined where the system tells none, and no ring is kept. */
  readonly bootId: string | undefined
  /** Milliseconds since the boot; like the monotonic clock of a process, it stands still while the machine sleeps. */
  monotonicMs(): number
}

/** What a ring holds. All moments are of the monotonic clock of this process. */
export interface KeptRing {
  readonly keys: readonly AgedKey[]
  readonly retired: readonly RetiredMoment[]
  /** How long the machine was suspended between writing and reading, as far as the time of day tells; set by reading. */
  readonly sleptMs?: number
}

/** What the clocks of a machine say to a process at one moment. */
export interface MachineTime {
  readonly bootId: string
  /** What is to be added to a moment of this process for one since the boot. */
  readonly skewMs: number
  /** By how much the time of day is ahead of the time since the boot. */
  readonly aheadMs: number
}

export const systemBootClock: BootClock = {
  bootId: readBootId(),
  monotonicMs: () => Number(process.hrtime.bigint()) / 1e6,
}

/** Lays a ring out. The caller erases the bytes after use. */
export function encodeKeptRing(
  { keys, retired }: KeptRing,
  { bootId, skewMs, aheadMs }: MachineTime,
): Buffer {
  const length =
    HEAD_BYTES + keys.length * KEY_BYTES + retired.length * RETIRED_BYTES + DIGEST_BYTES
  const bytes = Buffer.alloc(length)
  MAGIC.copy(bytes)
  bytes.write(bootId, MAGIC.length, BOOT_ID_BYTES, 'latin1')
  bytes.writeDoubleBE(aheadMs, AHEAD_START)
  bytes.writeUInt16BE(keys.length, COUNTS_START)
  bytes.writeUInt16BE(retired.length, COUNTS_START + 2)
  let at = HEAD_BYTES
  for (const { key, bornMs, knownMs, isDoubted } of keys) {
    at = bytes.writeDoubleBE(bornMs + skewMs, at)
    at = bytes.writeDoubleBE(knownMs + skewMs, at)
    const madeHere = key.origin === 'self' ? MADE_HERE : 0
    at = bytes.writeUInt8(madeHere + (isDoubted === true ? IN_DOUBT : 0), at)
    at += key.name.copy(bytes, at)
    at += key.secret.copy(bytes, at)
  }
  for (const { name, retiredMs } of retired) {
    at = bytes.writeDoubleBE(retiredMs + skewMs, at)
    at += name.copy(bytes, at)
  }
  digestOf(bytes.subarray(0, at)).copy(bytes, at)
  return bytes
}

/** Reads a ring of the same boot; undefined for anything else. The secrets are copies, which the caller erases. */
export function decodeKeptRing(
  bytes: Buffer,
  { bootId, skewMs, aheadMs }: MachineTime,
): KeptRing | undefined {
  if (bytes.length < HEAD_BYTES + DIGEST_BYTES || bytes.length > MAX_KEPT_BYTES) return undefined
  const keyCount = bytes.readUInt16BE(COUNTS_START)
  const retiredCount = bytes.readUInt16BE(COUNTS_START + 2)
  const end = HEAD_BYTES + keyCount * KEY_BYTES + retiredCount * RETIRED_BYTES
  const isWhole =
    bytes.length === end + DIGEST_BYTES &&
    bytes.subarray(0, MAGIC.length).equals(MAGIC) &&
    digestOf(bytes.subarray(0, end)).equals(bytes.subarray(end))
  if (!isWhole || bytes.toString('latin1', MAGIC.length, AHEAD_START) !== bootId) return undefined
  const momentAt = (at: number) => bytes.readDoubleBE(at) - skewMs
  const keys = Array.from({ length: keyCount }, (_, index): AgedKey => {
    const at = HEAD_BYTES + index * KEY_BYTES
    const nameStart = at + 2 * MOMENT_BYTES + 1
    const secretStart = nameStart + TICKET_NAME_BYTES
    const name = bytes.subarray(nameStart, secretStart)
    const secret = bytes.subarray(secretStart, at + KEY_BYTES)
    const flags = bytes[nameStart - 1] ?? 0
    const origin = (flags & MADE_HERE) > 0 ? 'self' : 'peer'
    return {
      key: TicketKey.from(name, secret, origin),
      bornMs: momentAt(at),
      knownMs: momentAt(at + MOMENT_BYTES),
      ...((flags & IN_DOUBT) > 0 && { isDoubted: true }),
    }
  })
  const retired = Array.from({ length: retiredCount }, (_, index): RetiredMoment => {
    const at = HEAD_BYTES + keyCount * KEY_BYTES + index * RETIRED_BYTES
    const name = Buffer.from(bytes.subarray(at + MOMENT_BYTES, at + RETIRED_BYTES))
    return { name, retiredMs: momentAt(at) }
  })
  return { keys, retired, sleptMs: aheadMs - bytes.readDoubleBE(AHEAD_START) }
}

function digestOf(bytes: Buffer): Buffer {
  // A Hash object would keep the end of its input, which may be a part of a key, until it is collected.
  return hash('sha256', bytes, 'buffer')
}

function readBootId(): string | undefined {
  try {
    const text = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
    return text.length === BOOT_ID_BYTES ? text : undefined
  } catch {
    return undefined
  }
}
