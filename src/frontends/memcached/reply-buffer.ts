// Answers of one connection on their way out: gathered in one piece of memory, which then goes to the
// socket as it is. Between two times a connection holds none.

const NOTHING = Buffer.alloc(0)
/** Small enough to be a piece of Node's pool, large enough for the answers to a few commands. */
const INITIAL_BYTES = 1024

export class ReplyBuffer {
  #bytes: Buffer = NOTHING
  #length = 0

  get length(): number {
    return this.#length
  }

  /** One character a byte. */
  text(text: string): void {
    this.#reserve(text.length)
    this.#length += this.#bytes.write(text, this.#length, 'latin1')
  }

  bytes(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    this.#bytes.set(bytes, this.#length)
    this.#length += bytes.length
  }

  /** Room for `length` bytes, all zero, for the caller to write before anything else happens here. */
  zeros(length: number): Buffer {
    this.#reserve(length)
    const start = this.#length
    this.#length += length
    return this.#bytes.subarray(start, this.#length).fill(0)
  }

  /** What was gathered, for the caller to keep; the next answers begin anew. */
  take(): Buffer {
    const taken = this.#bytes.subarray(0, this.#length)
    this.#bytes = NOTHING
    this.#length = 0
    return taken
  }

  #reserve(extra: number): void {
    const needed = this.#length + extra
    if (needed <= this.#bytes.length) return
    const grown = Buffer.allocUnsafe(Math.max(INITIAL_BYTES, 2 * needed))
    this.#bytes.copy(grown, 0, 0, this.#length)
    this.#bytes = grown
  }
}
