// Answers of one connection on their way out: gathered in one piece of memory, which then goes to the
// socket as it is. Between two times a connection holds none: whose answers the kernel took at once, as it
// nearly always does, leaves the memory to another one.

const NOTHING = Buffer.alloc(0)
/** The answers to a few hundred commands. */
const PIECE_BYTES = 65_536
/** Pieces kept for connections that have answers in the same turn of the event loop. */
const MAX_SPARE_PIECES = 64
const ZERO = 0x30
/** Up to here a plain loop is faster than a call into Node's native code. */
const MAX_LOOP_BYTES = 32

/** The memory that the connections of one frontend gather their answers in. */
export class ReplyMemory {
  readonly #spare: Buffer[] = []

  take(bytes: number): Buffer {
    const spare = bytes > PIECE_BYTES ? undefined : this.#spare.pop()
    return spare ?? Buffer.allocUnsafeSlow(Math.max(PIECE_BYTES, bytes))
  }

  giveBack(memory: Buffer): void {
    const isWanted = memory.length === PIECE_BYTES && this.#spare.length < MAX_SPARE_PIECES
    if (isWanted) this.#spare.push(memory)
  }
}

export class ReplyBuffer {
  readonly #memory: ReplyMemory
  #bytes: Buffer = NOTHING
  #length = 0

  constructor(memory: ReplyMemory) {
    this.#memory = memory
  }

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

  /** In decimal digits; 0 <= number < 2^32. Without making a string, as most answers have two. */
  number(number: number): void {
    let digits = 1
    for (let rest = number; rest >= 10; rest = Math.floor(rest / 10)) digits += 1
    this.#reserve(digits)
    this.#length += digits
    let rest = number
    for (let at = this.#length - 1; digits > 0; at -= 1) {
      this.#bytes[at] = ZERO + (rest % 10)
      rest = Math.floor(rest / 10)
      digits -= 1
    }
  }

  /** `length` of the bytes, from `from` on. */
  bytes(bytes: Buffer, from = 0, length = bytes.length): void {
    this.#reserve(length)
    const target = this.#bytes
    const start = this.#length
    this.#length += length
    if (length > MAX_LOOP_BYTES) bytes.copy(target, start, from, from + length)
    else for (let at = 0; at < length; at += 1) target[start + at] = bytes[from + at] ?? 0
  }

  /** Room for `length` bytes, all zero, for the caller to write before anything else happens here. */
  zeros(length: number): Buffer {
    this.#reserve(length)
    const start = this.#length
    this.#length += length
    return this.#bytes.subarray(start, this.#length).fill(0)
  }

  /** What was gathered; changes with the next answer. */
  gathered(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }

  /** Begins anew. `isRead`: what was gathered is read by nobody any more, and may be written over. */
  clear(isRead: boolean): void {
    if (isRead) this.#memory.giveBack(this.#bytes)
    this.#bytes = NOTHING
    this.#length = 0
  }

  #reserve(extra: number): void {
    const needed = this.#length + extra
    if (needed <= this.#bytes.length) return
    const small = this.#bytes
    this.#bytes = this.#memory.take(small === NOTHING ? needed : 2 * needed)
    small.copy(this.#bytes, 0, 0, this.#length)
    this.#memory.giveBack(small)
  }
}
