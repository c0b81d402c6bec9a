// The input of a connection that is not consumed yet. It is kept in memory that all connections share until the turn of
// the event loop ends; then the rest is copied into the connection's own memory. The user of a buffer bounds it by
// consuming or refusing its bytes.

import { copyLongs, wholeLongs } from '../base/bytes.ts'

const NOTHING = Buffer.alloc(0)
const NEWLINE = 0x0a
/** Most bytes of one read. */
const READ_BYTES = 65_536
/** Most bytes of input of all connections in one turn. */
const MEMORY_BYTES = 4 * READ_BYTES
/** Up to here a plain loop is faster than a call into Node's native code. */
const MAX_LOOP_BYTES = 64
/** Bytes after all input, so that it can be read by whole words. */
const SPARE_BYTES = 8

/** The memory for the input of all connections in one turn of the event loop. */
export class InputMemory {
  /** Memory that sockets are read into, before it is known how many bytes come. */
  readonly readBuffer = Buffer.allocUnsafeSlow(READ_BYTES)
  readonly bytes = Buffer.allocUnsafeSlow(MEMORY_BYTES + SPARE_BYTES)
  /** A view of `bytes`, for reading numbers. */
  readonly view = viewOf(this.bytes)
  readonly #longs = new BigUint64Array(this.bytes.buffer)
  readonly #readLongs = new BigUint64Array(this.readBuffer.buffer)
  #used = 0

  hasRoomFor(length: number): boolean {
    return this.#used + length <= MEMORY_BYTES
  }

  /** Copies the first `length` bytes, for which there must be room; returns where the copy begins. */
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

  /** Frees all bytes; called when the turn has ended and nobody reads them any more. */
  clear(): void {
    this.#used = 0
  }
}

export class InputBuffer {
  readonly #memory: InputMemory | undefined
  #bytes: Buffer = NOTHING
  #start = 0
  #end = 0
  /** Bytes from the start known to have no newline, so that a line that comes in pieces is searched only once. */
  #scanned = 0

  /** Without shared `memory` the buffer uses only memory of its own. */
  constructor(memory?: InputMemory) {
    this.#memory = memory
  }

  get length(): number {
    return this.#end - this.#start
  }

  /** The memory with the input, from `start` on. Bytes stay as they are until the turn ends, even skipped ones. */
  get bytes(): Buffer {
    return this.#bytes
  }

  get start(): number {
    return this.#start
  }

  /** Appends a copy of the first `length` bytes. */
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

  /** Makes `length` bytes of the shared memory from `start` on the input, without a copy. The buffer must be empty. */
  hold(start: number, length: number): void {
    this.#bytes = this.#memory?.bytes ?? NOTHING
    this.#start = start
    this.#end = start + length
    this.#scanned = 0
  }

  /** Copies what is left into memory of its own; to be called at the end of a turn. */
  keepRest(): void {
    if (this.#bytes === this.#memory?.bytes) this.#makeRoom(0)
  }

  /** Returns the byte at `offset`, or -1 when there is none. */
  at(offset: number): number {
    return offset < this.length ? (this.#bytes[this.#start + offset] ?? -1) : -1
  }

  /** Returns a view of the first `length` bytes, which must be there. */
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

  /** Returns the offset of the first newline, or -1. */
  findNewline(): number {
    const bytes = this.#bytes
    const end = this.#end
    let at = this.#start + this.#scanned
    // Lines are short, so a loop is faster than indexOf.
    while (at < end && bytes[at] !== NEWLINE) at += 1
    this.#scanned = at - this.#start
    return at < end ? this.#scanned : -1
  }

  /** Moves the input into memory of its own with room for `extra` more bytes, unless it is in such memory already. */
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
