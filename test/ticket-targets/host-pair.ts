// Two hosts of the fault tests whose nodes are peers, and clients that come back to the terminators of either. A look
// every half second finds which keys there have been, and which of them both nodes mint.

import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { formatTable } from '../../src/cli/stats.ts'
import { until } from '../support/latch.ts'
import { seededNumbers } from '../support/seeded-random.ts'
import { ReturningClients } from './clients.ts'
import { type Host, namesOf, timesOf } from './hosts.ts'

/** For what takes an interval or a look at the files, on a busy machine. */
export const PATIENCE_MS = 120_000
/** Time between two looks at a node. */
const LOOK_MS = 500
/** Terminators that look for keys do so within this time, and what failed before they ran is tried again. */
const FIRST_LOOK_MS = 12_000
/**
 * A last ticket of a key is offered again so long after it was made. The first key of nginx is minted until it is 45 s old,
 * ends at 96.5 s, and nginx forgets it at the next reload, at 130 s. In the other groups it is less.
 */
const GONE_MS = 95_000
/** Clients come for so long after the last fault at least. */
const LAST_MS = 20_000
const ONE_KEY_RESUMED = 10
const RESUMED = 100

const COUNTS = ['full', 'resumed', 'refused', 'excused', 'again'] as const

/** For clients of one kind. */
interface Clients {
  readonly kind: string
  readonly keysHeld: number
  readonly returning: ReturningClients
}

function countsOf({ returning: { tally } }: Clients): number[] {
  return [...COUNTS.map((count) => tally[count]), tally.faults.length]
}

export class HostPair {
  readonly hosts: readonly [Host, Host]
  readonly #clients: readonly Clients[]
  /** By host, then by group: the key that it mints as far as it has said. */
  readonly #current: readonly Map<string, string>[] = [new Map(), new Map()]
  readonly #agreed = new Map<string, { readonly name: string; readonly sinceMs: number }>()
  readonly #known = new Set<string>()
  /** Each fault with the counts at its beginning. */
  readonly #faults: { readonly fault: string; readonly counts: readonly number[][] }[] = []
  #isOver = false
  #running: Promise<unknown> = Promise.resolve()

  /** `isExcused` says for a kind whether a ticket of this key may be a full handshake at this moment; default: never. */
  constructor(
    hosts: readonly [Host, Host],
    seed: string,
    isExcused: (kind: string, keyName: string) => boolean = () => false,
  ) {
    this.hosts = hosts
    const [a, b] = hosts
    this.#clients = a.terminators.map((first, index) => {
      const second = b.terminators[index] ?? assert.fail()
      const { name: kind, keysHeld } = first.kind
      const returning = new ReturningClients({
        pair: [first, second],
        lifetimeMs: 1000 * timesOf(first.kind).lifetimeSec,
        goneMs: GONE_MS,
        agreed: () => this.#agreed.get(a.groupOf(kind)),
        stateOf: async (member) => (await hosts[member]?.stateOf(kind)) ?? '',
        isExcused: (name) => name !== undefined && isExcused(kind, name),
        random: seededNumbers(`${seed} ${kind}`),
      })
      return { kind, keysHeld, returning }
    })
  }

  /** Whether a node has ever said that it has this key: Caddy makes some for itself. */
  isKnown(keyName: string): boolean {
    return this.#known.has(keyName)
  }

  /** Starts the nodes, the terminators, and the clients once all terminators have the same keys. */
  async start(): Promise<void> {
    for (const host of this.hosts) await host.startNode()
    for (const host of this.hosts) await host.startTerminators()
    await this.untilAgreed(1)
    await sleep(FIRST_LOOK_MS)
    this.begin('no fault')
    const following = this.hosts.map((host, index) => this.#follow(host, index))
    const coming = this.#clients.map(({ returning }) => returning.run(() => this.#isOver))
    this.#running = Promise.all([...following, ...coming])
  }

  /**
   * Resolves when both nodes have the same keys, at least `count` in each group, and nginx beside both was given them. A
   * node that starts from nothing on a busy machine may not find the other one in time, and then has a key of its own at
   * first.
   */
  async untilAgreed(count: number): Promise<void> {
    const isAgreed = async () => {
      const [ofA, ofB] = await Promise.all(this.hosts.map((host) => host.groups()))
      assert.ok(ofA !== undefined && ofB !== undefined)
      if (namesOf(ofA).join() !== namesOf(ofB).join()) return false
      if (ofA.some(({ keys }) => keys.length < count)) return false
      const nginx = ofA.find(({ targets }) => targets.some(({ name }) => name === 'nginx'))
      if (nginx === undefined) return true
      const given = await Promise.all(this.hosts.map((host) => host.heldNames('nginx')))
      const wanted = namesOf([nginx]).join()
      return given.every((names) => names?.sort().join() === wanted)
    }
    await until(`both hosts have ${count} keys`, isAgreed, PATIENCE_MS)
  }

  /**
   * Resolves when of each kind a ticket of a key that ended was a full handshake, and what the last fault did would have
   * been seen. Then no client comes any more.
   */
  async end(): Promise<void> {
    await sleep(LAST_MS)
    const isEnded = () => this.#clients.every(({ returning }) => returning.tally.refused > 0)
    await until('the tickets of a key that ended are full handshakes', isEnded, PATIENCE_MS)
    await this.#stopClients()
  }

  /** Throws unless every ticket resumed that had to, and every terminator is the one that was started. */
  check(): void {
    const faults = this.#clients.flatMap(({ kind, returning: { tally } }) =>
      tally.faults.map((fault) => `${kind}: ${fault}`),
    )
    assert.deepEqual(faults, [])
    for (const { kind, keysHeld, returning } of this.#clients) {
      const { tally } = returning
      assert.ok(tally.resumed > (keysHeld === 1 ? ONE_KEY_RESUMED : RESUMED), kind)
    }
    for (const one of this.hosts.flatMap(({ terminators }) => terminators)) {
      assert.ok(one.isRunning, one.kind.name)
    }
  }

  /** How many tickets of this kind were excused. */
  excused(kind: string): number {
    return this.#clients.find((one) => one.kind === kind)?.returning.tally.excused ?? 0
  }

  async stop(): Promise<void> {
    await this.#stopClients()
    await Promise.all(this.hosts.map((host) => host.stop()))
  }

  /** From here on tickets are counted for this fault; those of before are for the one before. */
  begin(fault: string): void {
    this.#faults.push({ fault, counts: this.#clients.map(countsOf) })
  }

  /** What became of the tickets of each kind under each fault. */
  table(): string {
    const ends = [...this.#faults.slice(1).map(({ counts }) => counts), this.#clients.map(countsOf)]
    const rows = this.#faults.flatMap(({ fault, counts }, index) =>
      this.#clients.map(({ kind }, column) => {
        const end = ends[index]?.[column] ?? []
        const since = end.map((count, place) => count - (counts[column]?.[place] ?? 0))
        return [fault, kind, ...since.map(String)]
      }),
    )
    return formatTable(['while', 'terminator', ...COUNTS, 'faults'], rows)
  }

  async #stopClients(): Promise<void> {
    this.#isOver = true
    await this.#running
  }

  /** Asks a node what it has. While it is away its terminators have what it said last. */
  async #follow(host: Host, index: number): Promise<void> {
    while (!this.#isOver) {
      const groups = await host.groups().catch(() => [])
      for (const { name: group, keys } of groups) {
        for (const { name } of keys) this.#known.add(name)
        const current = keys.find(({ state }) => state === 'current')
        if (current !== undefined) this.#current[index]?.set(group, current.name)
        this.#compare(group)
      }
      await sleep(LOOK_MS)
    }
  }

  #compare(group: string): void {
    const [name, other] = this.#current.map((names) => names.get(group))
    if (name === undefined || name !== other) this.#agreed.delete(group)
    else if (this.#agreed.get(group)?.name !== name) {
      this.#agreed.set(group, { name, sinceMs: performance.now() })
    }
  }
}
