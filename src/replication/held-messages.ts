// Messages with changes that wait until their sender proves that it is alive. The bounds hold for all senders together;
// when one is exceeded, the oldest messages are dropped.

import type { Sender } from './sender.ts'

const MAX_MESSAGES = 4096
const MAX_BYTES = 4 * 1024 * 1024

export interface HeldMessage {
  readonly sender: Sender
  readonly sequence: number
  readonly message: Buffer
}

export class HeldMessages {
  #held: HeldMessage[] = []
  #bytes = 0

  get count(): number {
    return this.#held.length
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Keeps a message; returns how many older ones were dropped to make room. */
  hold(held: HeldMessage): number {
    this.#held.push(held)
    this.#bytes += held.message.length
    let dropped = 0
    while (this.#held.length - dropped > MAX_MESSAGES || this.#bytes > MAX_BYTES) {
      this.#bytes -= this.#held[dropped]?.message.length ?? 0
      dropped += 1
    }
    if (dropped > 0) this.#held.splice(0, dropped)
    return dropped
  }

  /** Removes and returns the messages of one sender in the order of arrival. */
  take(sender: Sender): HeldMessage[] {
    const taken = this.#held.filter((held) => held.sender === sender)
    if (taken.length === 0) return taken
    this.#held = this.#held.filter((held) => held.sender !== sender)
    for (const held of taken) this.#bytes -= held.message.length
    return taken
  }
}
