// Puts messages together that came in fragments, or datagrams that came in pieces, in any order. What never becomes whole goes, oldest
// first, when a sender or all of them together hold too much.

import { MAX_LONE_CHANGE_BYTES } from '../wire/message.ts'
import type { Sender } from './sender.ts'

const MAX_PARTIALS = 1024
const MAX_BYTES = 16 * 1024 * 1024
const MAX_BYTES_PER_SENDER = 4 * 1024 * 1024

interface Partial {
  readonly key: string
  readonly sender: Sender
  readonly chunks: (Buffer | undefined)[]
  missing: number
  bytes: number
}

/** One of `count` chunks of a whole. */
export interface Fragment {
  readonly index: number
  readonly count: number
  readonly chunk: Buffer
}

/** The whole message, or why there is none. `malformed`: disagrees with its other fragments. */
export type Reassembled = Buffer | 'incomplete' | 'malformed' | 'too_large'

export class Reassembly {
  /** By sender and name of the whole, oldest first. */
  readonly #partials = new Map<string, Partial>()
  readonly #bytesOfSender = new Map<Sender, number>()
  readonly #onDrop: (fragments: number) => void
  readonly #mayRepeat: boolean
  #bytes = 0

  /**
   * `onDrop` is told how many fragments went for want of room. `mayRepeat`: the same whole may come again, also cut
   * into other fragments, when one of them was lost; otherwise that is malformed.
   */
  constructor(onDrop: (fragments: number) => void, mayRepeat = false) {
    this.#onDrop = onDrop
    this.#mayRepeat = mayRepeat
  }

  get count(): number {
    return this.#partials.size
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Takes a fragment; `whole` names what it belongs to among the sender's. */
  add(sender: Sender, whole: number, fragment: Fragment): Reassembled {
    const key = `${sender.key} ${whole}`
    const known = this.#partials.get(key)
    const isRecut = known !== undefined && known.chunks.length !== fragment.count
    if (isRecut && !this.#mayRepeat) return 'malformed'
    if (isRecut) this.#remove(known)
    const partial =
      isRecut || known === undefined ? createPartial(key, sender, fragment.count) : known
    if (partial.chunks[fragment.index] !== undefined) {
      return this.#mayRepeat ? 'incomplete' : 'malformed'
    }
    if (partial.bytes + fragment.chunk.length > MAX_LONE_CHANGE_BYTES) {
      if (this.#partials.has(key)) this.#remove(partial)
      return 'too_large'
    }
    this.#partials.set(key, partial)
    partial.chunks[fragment.index] = fragment.chunk
    partial.missing -= 1
    this.#account(partial, fragment.chunk.length)
    if (partial.missing > 0) {
      this.#makeRoom(sender)
      return 'incomplete'
    }
    this.#remove(partial)
    return Buffer.concat(partial.chunks.filter(isPresent))
  }

  /** Forgets the fragments of a sender. */
  forget(sender: Sender): void {
    for (const partial of this.#partials.values()) {
      if (partial.sender === sender) this.#remove(partial)
    }
  }

  #makeRoom(sender: Sender): void {
    while (this.#partials.size > MAX_PARTIALS || this.#bytes > MAX_BYTES) {
      this.#dropOldest(() => true)
    }
    while ((this.#bytesOfSender.get(sender) ?? 0) > MAX_BYTES_PER_SENDER) {
      this.#dropOldest((partial) => partial.sender === sender)
    }
  }

  #dropOldest(isCandidate: (partial: Partial) => boolean): void {
    for (const partial of this.#partials.values()) {
      if (!isCandidate(partial)) continue
      this.#remove(partial)
      this.#onDrop(partial.chunks.length - partial.missing)
      return
    }
  }

  #remove(partial: Partial): void {
    this.#partials.delete(partial.key)
    this.#account(partial, -partial.bytes)
  }

  #account(partial: Partial, bytes: number): void {
    partial.bytes += bytes
    this.#bytes += bytes
    const bytesOfSender = (this.#bytesOfSender.get(partial.sender) ?? 0) + bytes
    if (bytesOfSender === 0) this.#bytesOfSender.delete(partial.sender)
    else this.#bytesOfSender.set(partial.sender, bytesOfSender)
  }
}

function createPartial(key: string, sender: Sender, count: number): Partial {
  return {
    key,
    sender,
    chunks: new Array<Buffer | undefined>(count).fill(undefined),
    missing: count,
    bytes: 0,
  }
}

function isPresent(chunk: Buffer | undefined): chunk is Buffer {
  return chunk !== undefined
}
