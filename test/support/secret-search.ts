// Looks for secrets in bytes: any eight bytes of one, raw, as hexadecimal digits, in base64, and as Go's gob has them.

const PIECE_BYTES = 8

export type SecretForm = 'raw' | 'hex' | 'base64' | 'gob'

export interface FoundSecret {
  /** What the secret was added as. */
  readonly name: string
  readonly form: SecretForm
  /** Where in the secret the piece begins. */
  readonly pieceAt: number
  /** Where in the searched bytes it is. */
  readonly at: number
}

interface Needle extends Omit<FoundSecret, 'at'> {
  readonly bytes: Buffer
}

export class SecretSearch {
  /** Needles by their first four bytes as a number. */
  readonly #needles = new Map<number, Needle[]>()
  /** Whether some needle begins with these two bytes. */
  readonly #begins = new Uint8Array(65_536)
  readonly #names = new Set<string>()
  #longestBytes = 0

  /** Bytes that two parts of one text have to overlap so that nothing between them is missed. */
  get overlapBytes(): number {
    return Math.max(0, this.#longestBytes - 1)
  }

  get names(): ReadonlySet<string> {
    return this.#names
  }

  /** Adds a secret of random bytes. */
  add(name: string, secret: Buffer): void {
    if (this.#names.has(name)) return
    this.#names.add(name)
    for (let pieceAt = 0; pieceAt + PIECE_BYTES <= secret.length; pieceAt += PIECE_BYTES) {
      const piece = secret.subarray(pieceAt, pieceAt + PIECE_BYTES)
      const hex = piece.toString('hex')
      this.#addNeedle({ name, form: 'raw', pieceAt, bytes: Buffer.from(piece) })
      for (const digits of new Set([hex, hex.toUpperCase()]))
        this.#addNeedle({ name, form: 'hex', pieceAt, bytes: Buffer.from(digits) })
      for (const digits of base64Digits(piece))
        this.#addNeedle({ name, form: 'base64', pieceAt, bytes: Buffer.from(digits) })
      const gob = [...piece].flatMap((byte) => (byte < 128 ? [byte] : [0xff, byte]))
      if (gob.length > PIECE_BYTES)
        this.#addNeedle({ name, form: 'gob', pieceAt, bytes: Buffer.from(gob) })
    }
  }

  find(bytes: Buffer): FoundSecret[] {
    const found: FoundSecret[] = []
    const begins = this.#begins
    for (let at = 0; at + 4 <= bytes.length; at += 1) {
      if (begins[((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)] === 0) continue
      for (const needle of this.#needles.get(bytes.readUInt32BE(at)) ?? []) {
        const { name, form, pieceAt, bytes: wanted } = needle
        if (bytes.subarray(at, at + wanted.length).equals(wanted))
          found.push({ name, form, pieceAt, at })
      }
    }
    return found
  }

  #addNeedle(needle: Needle): void {
    const { bytes } = needle
    const start = bytes.readUInt32BE(0)
    this.#begins[start >>> 16] = 1
    const others = this.#needles.get(start)
    if (others === undefined) this.#needles.set(start, [needle])
    else others.push(needle)
    this.#longestBytes = Math.max(this.#longestBytes, bytes.length)
  }
}

/** The digits that the piece alone decides, for each of the three places that it can have in a group of three bytes. */
function base64Digits(piece: Buffer): Set<string> {
  const digits = [0, 1, 2].flatMap((skippedBytes) => {
    const left = piece.subarray(skippedBytes)
    const whole = left.subarray(0, left.length - (left.length % 3))
    return [whole.toString('base64'), whole.toString('base64url')]
  })
  return new Set(digits)
}
