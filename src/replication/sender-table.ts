// The senders whose datagrams authenticated. The table is bounded: recorded traffic of many boots must neither fill the
// memory nor push out senders that proved to be alive.

import type { HostAddress } from '../base/address.ts'
import type { Header } from '../wire/datagram.ts'
import { Sender } from './sender.ts'

export const MAX_SENDERS = 1024
/**
 * A boot that is silent for longer than this is forgotten when a newer boot of its node is verified; a running node
 * greets more often.
 */
const REPLACED_AFTER_MS = 5000
/** A boot that has not answered a challenge after this time is forgotten. */
const UNVERIFIED_LIFETIME_MS = 5000
/** A boot that was silent for this long is forgotten; when it comes back, it has to prove again that it is alive. */
const SILENT_LIFETIME_MS = 300_000

export class SenderTable {
  readonly #senders = new Map<string, Sender>()
  readonly #onForget: (sender: Sender) => void

  /** `onForget` is called with every sender that is removed. */
  constructor(onForget: (sender: Sender) => void) {
    this.#onForget = onForget
  }

  get size(): number {
    return this.#senders.size
  }

  get(header: Header): Sender | undefined {
    return this.#senders.get(header.bootKey)
  }

  /** Adds the sender of a datagram that authenticated. A full table first forgets the least valuable sender. */
  add(header: Header, from: HostAddress, nowMs: number): Sender {
    if (this.#senders.size >= MAX_SENDERS) this.#forgetOne()
    const sender = new Sender(header, from, nowMs)
    this.#senders.set(sender.key, sender)
    return sender
  }

  /**
   * Forgets senders that never answered a challenge and senders that are silent, the latter sooner when their node was
   * restarted.
   */
  sweep(nowMs: number): void {
    for (const sender of this.#senders.values()) {
      const isDead = !sender.isVerified && nowMs - sender.firstHeardMs > UNVERIFIED_LIFETIME_MS
      const isSilent = nowMs - sender.lastHeardMs > SILENT_LIFETIME_MS
      if (isDead || isSilent || this.#isReplaced(sender, nowMs)) this.#forget(sender)
    }
  }

  values(): IterableIterator<Sender> {
    return this.#senders.values()
  }

  /** Whether the sender is silent and a verified boot of the same node was heard later. */
  #isReplaced(sender: Sender, nowMs: number): boolean {
    if (nowMs - sender.lastHeardMs <= REPLACED_AFTER_MS) return false
    for (const other of this.#senders.values()) {
      const isNewerBoot =
        other.isVerified &&
        other.senderId.equals(sender.senderId) &&
        other.lastHeardMs > sender.lastHeardMs
      if (isNewerBoot) return true
    }
    return false
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
