// Random choices for fuzzing: fast, and the same in every run. And what fuzzing does to bytes with them.

/** Marsaglia's xorshift. */
export class Dice {
  #state: number

  constructor(seed: number) {
    this.#state = seed
  }

  /** An integer from 0 to below `limit`. */
  below(limit: number): number {
    this.#state ^= this.#state << 13
    this.#state ^= this.#state >>> 17
    this.#state ^= this.#state << 5
    return (this.#state >>> 0) % limit
  }

  /** One of them; there is at least one. */
  pick<Choice>(choices: readonly Choice[]): Choice {
    const choice = choices[this.below(choices.length)]
    if (choice === undefined) throw new RangeError('nothing to choose from')
    return choice
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)))
  }
}

/** One change to a copy: a byte, a bit, a piece left out, doubled or cut off. */
export function mutate(bytes: Buffer, dice: Dice): Buffer {
  if (bytes.length === 0) return dice.bytes(1)
  const copy = Buffer.from(bytes)
  const at = dice.below(bytes.length)
  switch (dice.below(6)) {
    case 0:
      copy[at] = dice.below(256)
      return copy
    case 1:
      copy[at] = bytes.readUInt8(at) ^ (1 << dice.below(8))
      return copy
    case 2:
      return Buffer.concat([copy.subarray(0, at), copy.subarray(at + 1 + dice.below(8))])
    case 3: {
      const from = dice.below(bytes.length)
      return Buffer.concat([
        copy.subarray(0, at),
        copy.subarray(from, from + dice.below(16)),
        copy.subarray(at),
      ])
    }
    case 4:
      return Buffer.concat([copy.subarray(0, at), dice.bytes(dice.below(8)), copy.subarray(at)])
    default:
      return copy.subarray(0, at)
  }
}

/** Places to cut at, in order. */
export function cuts(length: number, dice: Dice): number[] {
  const places = Array.from({ length: dice.below(8) }, () => dice.below(length + 1))
  return places.sort((a, b) => a - b)
}
