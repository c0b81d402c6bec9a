// The names of retired keys. A node whose machine was paused for an hour still holds keys that all others have retired;
// without this memory it would bring them back to everybody.

import { MAX_RETIRED_NAMES, type RetiredName } from '../wire/ring-message.ts'

/** The name of a retired key, and when it was retired by the monotonic clock of this node. */
export interface RetiredMoment {
  /** TICKET_NAME_BYTES. */
  readonly name: Buffer
  readonly retiredMs: number
}

export class RetiredNames {
  readonly #rememberMs: number
  /** When each key was retired by the monotonic clock of this node, by hexadecimal name. */
  readonly #retiredMs = new Map<string, number>()

  constructor(rememberMs: number) {
    this.#rememberMs = rememberMs
  }

  get size(): number {
    return this.#retiredMs.size
  }

  has(hexName: string): boolean {
    return this.#retiredMs.has(hexName)
  }

  /** Remembers a key that this node retires; when there is no room, the name that was retired first is forgotten. */
  add(hexName: string, nowMs: number): void {
    if (this.#rememberMs <= 0) return
    if (!this.has(hexName) && this.size >= MAX_RETIRED_NAMES) this.#forgetFirst()
    this.#retiredMs.set(hexName, nowMs)
  }

  /**
   * Remembers a key that a peer has retired. Of two ages the greater one counts, so that all nodes forget the name.
   * Returns false when there is no room for it.
   */
  addFromPeer({ name, ageMs }: RetiredName, nowMs: number): boolean {
    if (ageMs >= this.#rememberMs) return true
    const hexName = name.toString('hex')
    const known = this.#retiredMs.get(hexName)
    if (known === undefined && this.size >= MAX_RETIRED_NAMES) return false
    this.#retiredMs.set(hexName, Math.min(known ?? nowMs, nowMs - ageMs))
    return true
  }

  /** Forgets the names whose time is over. */
  forgetOld(nowMs: number): void {
    for (const [hexName, retiredMs] of this.#retiredMs) {
      if (nowMs - retiredMs >= this.#rememberMs) this.#retiredMs.delete(hexName)
    }
  }

  /** The names with their ages, as peers are sent them. */
  list(nowMs: number): RetiredName[] {
    return this.moments().map(({ name, retiredMs }) => ({
      name,
      ageMs: Math.max(0, Math.floor(nowMs - retiredMs)),
    }))
  }

  moments(): RetiredMoment[] {
    return [...this.#retiredMs].map(([hexName, retiredMs]) => ({
      name: Buffer.from(hexName, 'hex'),
      retiredMs,
    }))
  }

  #forgetFirst(): void {
    let first: [string, number] | undefined
    for (const entry of this.#retiredMs)
      if (first === undefined || entry[1] < first[1]) first = entry
    if (first !== undefined) this.#retiredMs.delete(first[0])
  }
}
