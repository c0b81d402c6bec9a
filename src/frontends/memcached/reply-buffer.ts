// Answers of one connection on their way out: gathered in one piece of memory, which then goes to the
// socket as it is. Between two times a connection holds none.

const NOTHING = Buffer.alloc(0)
/** Small enough to be a piece of Node's pool, large enough for the answers to a few commands. */
const INITIAL_BYTES = 1024
/** Up to here a plain loop is faster than a call into Node's native code. */
const MAX_LOOP_BYTES = 64

export class ReplyBuffer {
  #bytes: Buffer = NOTHING
  #length = 0

  get length(): number {
    return this.#length
  }

  /** One character a byte. */
  text(text: string): void {
    const { length } = text
    this.#reserve(length)
    const target = this.#bytes
    const start = this.#length
    this.#length += length
    if (length > MAX_LOOP_BYTES) target.write(text, start, 'latin1')
    else for (let at = 0; at < length; at += 1) target[start + at] = text.charCodeAt(at)
  }

  bytes(bytes: Uint8Array): void {
    const { length } = bytes
    this.#reserve(length)
    const target = this.#bytes
    const start = this.#length
    this.#length += length
    if (length > MAX_LOOP_BYTES) target.set(bytes, start)
    else for (let at = 0; at < length; at += 1) target[start + at] = bytes[at] ?? 0
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
