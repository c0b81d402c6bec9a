// Frames over a byte stream: four bytes of length, big endian, then that many bytes. The reader takes them out of
// pieces of any size and holds at most one frame and the last piece, when it is read until no whole frame is left.

const LENGTH_BYTES = 4
const NOTHING = Buffer.alloc(0)

/** A frame with a copy of these bytes. */
export function toFrame(bytes: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(LENGTH_BYTES + bytes.length)
  frame.writeUInt32BE(bytes.length)
  frame.set(bytes, LENGTH_BYTES)
  return frame
}

export class FrameReader {
  readonly #maxBytes: number
  /** The last piece, read up to `#at`. */
  #piece: Buffer = NOTHING
  #at = 0
  /** Length of the next frame, of which `#headBytes` bytes have arrived. */
  readonly #head = Buffer.alloc(LENGTH_BYTES)
  #headBytes = 0
  /** Body of a frame that arrived in part, of which `#bodyBytes` bytes are there; undefined between frames. */
  #body: Buffer | undefined
  #bodyBytes = 0

  /** Frames longer than `maxBytes` are malformed, and so are empty ones. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Bytes of memory held for a frame that has begun and is not complete; 0 between two frames. */
  get heldBytes(): number {
    return this.#headBytes + (this.#body?.length ?? 0) + this.#piece.length - this.#at
  }

  /** Adds a piece, which belongs to the reader from then on. */
  append(piece: Buffer): void {
    const rest = this.#piece.subarray(this.#at)
    this.#piece = rest.length === 0 ? piece : Buffer.concat([rest, piece])
    this.#at = 0
  }

  /**
   * The next whole frame without its length, perhaps over the memory of a piece; undefined when more bytes must arrive
   * first. After `malformed` nothing more can be read.
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

  /** Fills what it holds of an incomplete frame with zeros; nothing can be read after it. */
  erase(): void {
    this.#body?.fill(0)
    this.#piece.fill(0)
    this.#body = undefined
    this.#skip(this.#piece.length - this.#at)
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
