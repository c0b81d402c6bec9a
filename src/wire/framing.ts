// Frames over a byte stream: four bytes of length, big endian, and that many bytes. Taken out of pieces as
// they come; no more is ever held than one frame and the piece that came last.

const LENGTH_BYTES = 4
const NOTHING = Buffer.alloc(0)

/** A copy of the bytes with their length in front. */
export function toFrame(bytes: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(LENGTH_BYTES + bytes.length)
  frame.writeUInt32BE(bytes.length)
  frame.set(bytes, LENGTH_BYTES)
  return frame
}

export class FrameReader {
  readonly #maxBytes: number
  /** What came last, and how much of it is used. */
  #piece: Buffer = NOTHING
  #at = 0
  readonly #head = Buffer.alloc(LENGTH_BYTES)
  #headBytes = 0
  /** Of the frame that came only in part so far. */
  #body: Buffer | undefined
  #bodyBytes = 0

  /** Longer frames, and empty ones, are malformed. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Held for a frame that has begun and that more bytes must complete; 0 between two frames. */
  get heldBytes(): number {
    return this.#headBytes + (this.#body?.length ?? 0) + this.#piece.length - this.#at
  }

  /** Takes the piece over. */
  append(piece: Buffer): void {
    const rest = this.#piece.subarray(this.#at)
    this.#piece = rest.length === 0 ? piece : Buffer.concat([rest, piece])
    this.#at = 0
  }

  /**
   * The next whole frame, without its length, which may alias a piece; undefined when more must come first.
   * After `malformed` there is nothing more to be read.
   */
  next(): Buffer | 'malformed' | undefined {
    if (this.#body === undefined) {
      const length = this.#readLength()
      if (length === undefined) return undefined
      if (length === 0 || length > this.#maxBytes) return 'malformed'
      this.#headBytes = 0
      if (this.#piece.length - this.#at >= length) return this.#take(length)
      this.#body = Buffer.allocUnsafe(length)
      this.#bodyBytes = 0
    }
    const body = this.#body
    const copied = this.#piece.copy(body, this.#bodyBytes, this.#at)
    this.#bodyBytes += copied
    this.#skip(copied)
    if (this.#bodyBytes < body.length) return undefined
    this.#body = undefined
    return body
  }

  #readLength(): number | undefined {
    const copied = this.#piece.copy(this.#head, this.#headBytes, this.#at)
    this.#headBytes += copied
    this.#skip(copied)
    return this.#headBytes < LENGTH_BYTES ? undefined : this.#head.readUInt32BE()
  }

  #take(length: number): Buffer {
    const taken = this.#piece.subarray(this.#at, this.#at + length)
    this.#skip(length)
    return taken
  }

  #skip(length: number): void {
    this.#at += length
    if (this.#at < this.#piece.length) return
    this.#piece = NOTHING
    this.#at = 0
  }
}
