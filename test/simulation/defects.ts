// Faults of one line that are put into a copy of the code, to prove that the simulation finds them.

/** A line of src as it is, and as it is with the defect. */
export interface Defect {
  readonly name: string
  readonly file: string
  readonly right: string
  readonly wrong: string
}

export const DEFECTS: readonly Defect[] = [
  {
    name: 'window off by one',
    file: 'wire/replay-window.ts',
    right: "if (sequence <= this.#floor) return 'old'",
    wrong: "if (sequence <= this.#floor + 1) return 'old'",
  },
  {
    name: 'tombstone dropped at a snapshot',
    file: 'replication/sync/server.ts',
    right: `      if (sender.isFull) await sender.flush()
      const change = store.entries.changeAt(slot)
      if (change !== undefined && `,
    wrong: `      if (sender.isFull) await sender.flush()
      const change = store.entries.changeAt(slot)
      if (change?.kind === 'put' && `,
  },
  {
    name: 'expiry by the wrong clock',
    file: 'store/session-store.ts',
    right: 'const slot = this.#expiry.nextExpired(this.#clock.monotonicMs(), isExact)',
    wrong: 'const slot = this.#expiry.nextExpired(this.#clock.wallMs(), isExact)',
  },
  {
    name: 'a NACK lost for ever',
    file: 'replication/repair/gap-list.ts',
    right: 'gap.dueMs = nowMs + delayMs(gap.attempts)',
    wrong: 'gap.dueMs = Number.POSITIVE_INFINITY',
  },
  {
    name: 'an address believed too soon',
    file: 'replication/peers/greeter.ts',
    right: 'const isThere = isFromThere && this.#mayBeAt(sender, from, nowMs)',
    wrong: 'const isThere = isFromThere || !this.#mayBeAt(sender, from, nowMs)',
  },
  {
    name: 'a version not raised',
    file: 'store/versions.ts',
    right: 'if (reading < MAX_FOLLOWED) this.#last = reading',
    wrong: 'if (reading < MAX_FOLLOWED) return',
  },
  {
    name: 'a bound not checked',
    file: 'store/room.ts',
    right: 'const hasRoom = held !== undefined || this.#index.size < this.#items',
    wrong: 'const hasRoom = held !== undefined || this.#index.size <= this.#items',
  },
  {
    name: 'a gap closed twice',
    file: 'wire/replay-window.ts',
    right: "if (this.#has(sequence)) return 'duplicate'",
    wrong: "if (this.#has(sequence + 1)) return 'duplicate'",
  },
  {
    name: 'stale ready',
    file: 'replication/peers/presence.ts',
    right: 'return nowMs - lastHeardMs <= PEER_TIMEOUT_MS',
    wrong: 'return nowMs - lastHeardMs <= 60 * PEER_TIMEOUT_MS',
  },
  {
    name: 'a removed session that comes back',
    file: 'store/session-store.ts',
    right: 'const known = held ?? this.#tombstones.find(change.id)',
    wrong: 'const known = held',
  },
  {
    name: 'a counter not counted',
    file: 'store/session-store.ts',
    right: 'if (isLive) this.stats.removes += 1',
    wrong: 'if (!isLive) this.stats.removes += 0',
  },
  {
    name: 'key order wrong',
    file: 'wire/keyring.ts',
    right: 'const [primaryKeyId] = byId.keys()',
    wrong: 'const primaryKeyId = [...byId.keys()].at(-1)',
  },
]

/** The text with the defect in it. Throws when the right line is not there exactly once. */
export function withDefect(text: string, { name, file, right, wrong }: Defect): string {
  const parts = text.split(right)
  if (parts.length !== 2) {
    throw new Error(`defect "${name}": its line is ${parts.length - 1} times in src/${file}`)
  }
  return parts.join(wrong)
}
