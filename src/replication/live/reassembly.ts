// Puts messages together that came in fragments, or datagrams that came in pieces, in any order. When one sender, or
// all of them together, hold too much, the oldest incomplete ones are dropped.

import { MAX_LONE_CHANGE_BYTES } from '../../wire/message.ts'
import type { Sender } from './senders.ts'

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

/** One of the `count` chunks of a message or datagram. */
export interface Fragment {
  readonly index: number
  readonly count: number
  readonly chunk: Buffer
}

/**
 * The whole message or datagram, or why there is none yet. `malformed`: the fragment repeats or contradicts an earlier
 * one. `too_large`: the whole would exceed MAX_LONE_CHANGE_BYTES.
 */
export type Reassembled = Buffer | 'incomplete' | 'malformed' | 'too_large'

export class Reassembly {
  /** Incomplete messages by sender and number, oldest first. */
  readonly #partials = new Map<string, Partial>()
  readonly #bytesOfSender = new Map<Sender, number>()
  readonly #onDrop: (fragments: number) => void
  readonly #mayRepeat: boolean
  #bytes = 0

  /**
   * `onDrop` is called with the number of fragments that were dropped to make room. `mayRepeat`: a fragment may come
   * again, and the whole may come cut into other fragments, as it does for pieces after a loss; otherwise both are
   * malformed.
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

  /**
   * Adds a fragment; `whole` numbers the message or datagram among those of the sender. Returns it when it is complete.
   */
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

  /** Forgets all fragments of a sender. */
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
