// What happened in a simulation, in order: a hash over everything, by which two runs are compared, and lines in words
// for a person who wants to know why a run failed.

/** Lines kept; the oldest are dropped. */
const MAX_LINES = 20_000

export interface JournalLine {
  readonly atMs: number
  /** Name of the host that it happened at; empty for the network and the simulation itself. */
  readonly host: string
  readonly text: string
}

export class Journal {
  readonly lines: JournalLine[] = []
  #first = 0x811c9dc5
  #second = 0x1b873593
  readonly #isKeeping: boolean
  readonly #nowMs: () => number

  /** Lines are kept only when `isKeeping`; the hash is the same with and without. */
  constructor(isKeeping: boolean, nowMs: () => number) {
    this.#isKeeping = isKeeping
    this.#nowMs = nowMs
  }

  /** Hash of everything that was noted. */
  get hash(): string {
    return [this.#first, this.#second]
      .map((half) => (half >>> 0).toString(16).padStart(8, '0'))
      .join('')
  }

  /** Adds a number to the hash. */
  mix(value: number): void {
    this.#first = Math.imul(this.#first ^ value, 0x01000193)
    this.#second = Math.imul(this.#second ^ (value >>> 7), 0x85ebca6b) + value
  }

  /** Adds the length and some of the bytes to the hash: the last ones of a sealed datagram depend on all others. */
  mixBytes(bytes: Buffer): void {
    this.mix(bytes.length)
    if (bytes.length >= 4) this.mix(bytes.readInt32LE(bytes.length - 4))
  }

  /** Notes what happened, in words. */
  note(host: string, text: string): void {
    const atMs = this.#nowMs()
    this.mix(Math.round(atMs * 1000))
    for (let index = 0; index < text.length; index += 1) this.mix(text.charCodeAt(index))
    if (!this.#isKeeping) return
    this.lines.push({ atMs, host, text })
    if (this.lines.length > MAX_LINES) this.lines.splice(0, MAX_LINES / 10)
  }
}
