// Bytes that came in and are not yet read. What was handed out stays as it is: memory is never written
// twice, so a parser may keep views of it. Its user bounds it by reading or refusing what is there.

const NOTHING = Buffer.alloc(0)
const NEWLINE = 0x0a

export class InputBuffer {
  #bytes: Buffer = NOTHING
  #start = 0
  #end = 0
  /** Whether there may be written behind `#end`; a chunk of a socket is not ours. */
  #isOwn = false
  /** Bytes from the start that hold no newline, so that a slow line is looked through once. */
  #scanned = 0

  get length(): number {
    return this.#end - this.#start
  }

  /** Where what is not yet read lies, from `start` on: stays as it is when it has been skipped. */
  get bytes(): Buffer {
    return this.#bytes
  }

  get start(): number {
    return this.#start
  }

  append(chunk: Buffer): void {
    if (this.#start === this.#end) {
      this.#bytes = chunk
      this.#start = 0
      this.#end = chunk.length
      this.#isOwn = false
      this.#scanned = 0
      return
    }
    if (!this.#isOwn || this.#end + chunk.length > this.#bytes.length) this.#grow(chunk.length)
    chunk.copy(this.#bytes, this.#end)
    this.#end += chunk.length
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

  #grow(extra: number): void {
    const grown = Buffer.allocUnsafe(2 * (this.length + extra))
    this.#bytes.copy(grown, 0, this.#start, this.#end)
    this.#end = this.length
    this.#start = 0
    this.#bytes = grown
    this.#isOwn = true
  }
}
