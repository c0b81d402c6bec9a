// Bytes that came in and are not yet read. They lie in memory that all connections share until the turn of the event
// loop ends, then what is left of them is copied into the connection's own. Its user bounds it by reading or refusing
// what is there.

import { copyLongs, wholeLongs } from '../../base/bytes.ts'

const NOTHING = Buffer.alloc(0)
const NEWLINE = 0x0a
/** What one read brings at most. */
const READ_BYTES = 65_536
/** Of the connections of one turn. */
const MEMORY_BYTES = 4 * READ_BYTES
/** Up to here a plain loop is faster than a call into Node's native code. */
const MAX_LOOP_BYTES = 64
/** Behind all input, for who reads by words. */
const SPARE_BYTES = 8

/** What came in within one turn of the event loop, for all connections together. */
export class InputMemory {
  /** What sockets are read into, before it is known how much comes. */
  readonly readBuffer = Buffer.allocUnsafeSlow(READ_BYTES)
  readonly bytes = Buffer.allocUnsafeSlow(MEMORY_BYTES + SPARE_BYTES)
  /** Of the same bytes. */
  readonly view = viewOf(this.bytes)
  readonly #longs = new BigUint64Array(this.bytes.buffer)
  readonly #readLongs = new BigUint64Array(this.readBuffer.buffer)
  #used = 0

  hasRoomFor(length: number): boolean {
    return this.#used + length <= MEMORY_BYTES
  }

  /** Copies the first `length` bytes, for which there must be room; returns where they begin. */
  add(bytes: Buffer, length = bytes.length): number {
    const start = this.#used
    const taken = wholeLongs(length)
    this.#used += taken
    if (bytes === this.readBuffer && length <= MAX_LOOP_BYTES) {
      copyLongs(this.#readLongs, 0, this.#longs, start >>> 3, taken >>> 3)
    } else {
      bytes.copy(this.bytes, start, 0, length)
    }
    return start
  }

  /** The turn has ended, and nobody reads what is there. */
  clear(): void {
    this.#used = 0
  }
}

export class InputBuffer {
  readonly #memory: InputMemory | undefined
  #bytes: Buffer = NOTHING
  #start = 0
  #end = 0
  /** Bytes from the start that hold no newline, so that a slow line is looked through once. */
  #scanned = 0

  /** Without shared memory its own is used. */
  constructor(memory?: InputMemory) {
    this.#memory = memory
  }

  get length(): number {
    return this.#end - this.#start
  }

  /** Where what is not yet read lies, from `start` on: stays as it is until the turn ends, even when it was skipped. */
  get bytes(): Buffer {
    return this.#bytes
  }

  get start(): number {
    return this.#start
  }

  /** Takes in the first `length` bytes: a copy of them. */
  append(bytes: Buffer, length = bytes.length): void {
    const memory = this.#memory
    if (this.#start === this.#end && memory?.hasRoomFor(length) === true) {
      this.hold(memory.add(bytes, length), length)
      return
    }
    this.#makeRoom(length)
    bytes.copy(this.#bytes, this.#end, 0, length)
    this.#end += length
  }

  /** As `append`, of bytes of the shared memory; nothing else is there. */
  hold(start: number, length: number): void {
    this.#bytes = this.#memory?.bytes ?? NOTHING
    this.#start = start
    this.#end = start + length
    this.#scanned = 0
  }

  /** To be called at the end of a turn: what is left is its own from then on. */
  keepRest(): void {
    if (this.#bytes === this.#memory?.bytes) this.#makeRoom(0)
  }

  /** The byte at this place, or -1. */
  at(offset: number): number {
    return offset < this.length ? (this.#bytes[this.#start + offset] ?? -1) : -1
  }

  /** A view of the first bytes; there are that many. */
  peek(length: number): Buffer {
    return this.#bytes.subarray(this.#start, this.#start + length)
  }

  take(length: number): Buffer {
    const taken = this.peek(length)
    this.skip(length)
    return taken
  }

  skip(length: number): void {
    this.#start = Math.min(this.#start + length, this.#end)
    this.#scanned = 0
    if (this.#start === this.#end) this.clear()
  }

  clear(): void {
    this.#bytes = NOTHING
    this.#start = 0
    this.#end = 0
    this.#scanned = 0
  }

  /** Where the first newline is, or -1. */
  findNewline(): number {
    const bytes = this.#bytes
    const end = this.#end
    let at = this.#start + this.#scanned
    // Lines are short: a loop finds their end sooner than indexOf.
    while (at < end && bytes[at] !== NEWLINE) at += 1
    this.#scanned = at - this.#start
    return at < end ? this.#scanned : -1
  }

  /** Makes its memory its own, with room for `extra` more bytes. */
  #makeRoom(extra: number): void {
    if (this.#bytes !== this.#memory?.bytes && this.#end + extra <= this.#bytes.length) return
    const grown = Buffer.allocUnsafe(2 * (this.length + extra))
    this.#bytes.copy(grown, 0, this.#start, this.#end)
    this.#end = this.length
    this.#start = 0
    this.#bytes = grown
  }
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}
