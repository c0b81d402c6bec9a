// The senders that authenticated, bounded: recorded traffic of many boots must not fill memory, nor
// push out those that proved to be alive.

import type { HostAddress } from '../base/address.ts'
import type { Header } from '../wire/datagram.ts'
import { Sender, senderKeyOf } from './sender.ts'

export const MAX_SENDERS = 1024
/** A boot that does not answer challenges this long is not alive. */
const UNVERIFIED_LIFETIME_MS = 5000
/** A boot not heard this long is forgotten; when it comes back it proves again to be alive. */
const SILENT_LIFETIME_MS = 300_000

export class SenderTable {
  readonly #senders = new Map<string, Sender>()
  readonly #onForget: (sender: Sender) => void

  /** `onForget` is told of every sender that goes. */
  constructor(onForget: (sender: Sender) => void) {
    this.#onForget = onForget
  }

  get size(): number {
    return this.#senders.size
  }

  get(header: Header): Sender | undefined {
    return this.#senders.get(senderKeyOf(header))
  }

  /** Whether this very sender is in the table. */
  holds(sender: Sender): boolean {
    return this.#senders.get(sender.key) === sender
  }

  /** A sender for a datagram that authenticated. */
  add(header: Header, from: HostAddress, nowMs: number): Sender {
    if (this.#senders.size >= MAX_SENDERS) this.#forgetOne()
    const sender = new Sender(header, from, nowMs)
    this.#senders.set(sender.key, sender)
    return sender
  }

  /** Forgets who never answered, and who fell silent: at once when a newer boot took its place. */
  sweep(nowMs: number): void {
    for (const sender of this.#senders.values()) {
      const isDead = !sender.isVerified && nowMs - sender.firstHeardMs > UNVERIFIED_LIFETIME_MS
      const isSilent = nowMs - sender.lastHeardMs > SILENT_LIFETIME_MS
      if (isDead || isSilent) this.#forget(sender)
    }
  }

  values(): IterableIterator<Sender> {
    return this.#senders.values()
  }

  #forgetOne(): void {
    let victim: Sender | undefined
    for (const sender of this.#senders.values()) {
      if (victim === undefined || isLessWorth(sender, victim)) victim = sender
    }
    if (victim !== undefined) this.#forget(victim)
  }

  #forget(sender: Sender): void {
    this.#senders.delete(sender.key)
    this.#onForget(sender)
  }
}

function isLessWorth(a: Sender, b: Sender): boolean {
  if (a.isVerified !== b.isVerified) return !a.isVerified
  return a.lastHeardMs < b.lastHeardMs
}
