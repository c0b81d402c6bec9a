// One node of a replication test: a replicator over a map instead of the store.

import type { HostAddress } from '../../src/base/address.ts'
import { type Clock, type Logger, silentLogger } from '../../src/base/world.ts'
import type { Sender } from '../../src/replication/live/senders.ts'
import type { Transport } from '../../src/replication/live/transport.ts'
import type { Resolver } from '../../src/replication/peers/discovery.ts'
import type { GreetedRings } from '../../src/replication/peers/greeter.ts'
import { Replicator } from '../../src/replication/replicator.ts'
import type { CacheLimits } from '../../src/store/limits.ts'
import { type Change, compareVersions, type PutChange } from '../../src/store/versions.ts'
import { createIdentity, type Identity } from '../../src/wire/identity.ts'
import { Keyring, type KeySource } from '../../src/wire/keyring.ts'
import { seededBytes } from './seeded-random.ts'

export const TEST_KEYRING = new Keyring([seededBytes('cluster key')(32)])

/** The source of TEST_KEYRING, for code that asks for the current keyring again and again. */
export const TEST_KEYS: KeySource = { current: TEST_KEYRING }

export interface TestNodeOptions {
  readonly name: string
  readonly transport: Transport
  readonly clock: Clock
  readonly peers?: readonly HostAddress[]
  readonly repeaters?: readonly HostAddress[]
  readonly keyring?: Keyring
  readonly maxDatagramBytes?: number
  /** Distinguishes boots of one node. */
  readonly boot?: number
  readonly resendLogBytes?: number
  readonly resolver?: Resolver
  readonly caches?: readonly CacheLimits[]
  readonly minimumVersion?: number
  readonly rings?: GreetedRings
  readonly logger?: Logger
}

export class TestNode {
  readonly identity: Identity
  /** Its keys, which a test replaces. */
  readonly keys: { current: Keyring }
  readonly replicator: Replicator
  /** Every change applied, in order, with its own copy of the bytes. */
  readonly applied: Change[] = []
  /** The newest change by session ID in hex. */
  readonly newest = new Map<string, Change>()
  /** The newest of its own changes, likewise. */
  readonly made = new Map<string, Change>()
  /** Names of the peers that proved to be alive, in order. */
  readonly verified: string[] = []
  /** Names of the peers that were heard again after a silence, in order. */
  readonly returned: string[] = []
  readonly #greeted = new Set<Sender>()
  /** How often it was told that nobody is heard. */
  aloneCount = 0
  /** Names of the senders, each time some of their changes were lost for good. */
  readonly unrepairable: string[] = []

  constructor(options: TestNodeOptions) {
    const random = seededBytes(`${options.name} boot ${options.boot ?? 1}`)
    this.identity = createIdentity(options.name, random)
    this.keys = { current: options.keyring ?? TEST_KEYRING }
    this.replicator = new Replicator({
      transport: options.transport,
      identity: this.identity,
      keys: this.keys,
      peers: options.peers ?? [],
      repeaters: options.repeaters,
      maxDatagramBytes: options.maxDatagramBytes,
      clock: options.clock,
      random,
      logger: options.logger ?? silentLogger,
      caches: options.caches,
      minimumVersion: options.minimumVersion,
      rings: options.rings,
      apply: (change) => this.#apply(change),
      sync: {
        listen: async () => 0,
        greet: (sender) => {
          const isBack = this.#greeted.has(sender)
          this.#greeted.add(sender)
          if (isBack) this.returned.push(sender.nodeName)
          else this.verified.push(sender.nodeName)
        },
        lose: () => {
          this.aloneCount += 1
        },
        requestSync: (sender) => this.unrepairable.push(sender.nodeName),
        statusOf: () => undefined,
      },
      resendLogBytes: options.resendLogBytes,
      resolver: options.resolver ?? (() => Promise.reject(new Error('this test has no names'))),
      interfaceAddresses: () => [],
    })
  }

  /** Makes a change of this node, as the store would. */
  put(id: string, clock: number, options: Partial<PutChange> = {}): void {
    this.#make({
      kind: 'put',
      cache: 'ssl',
      id: Buffer.from(id),
      context: Buffer.from('shop.example'),
      serverName: 'shop.example',
      session: Buffer.from(`session of ${id}`),
      ttlMs: 300_000,
      version: { clock, origin: this.identity.origin },
      ...options,
    })
  }

  remove(id: string, clock: number): void {
    this.#make({
      kind: 'remove',
      cache: 'ssl',
      id: Buffer.from(id),
      ttlMs: 300_000,
      version: { clock, origin: this.identity.origin },
    })
  }

  get ids(): string[] {
    return this.applied.map((change) => Buffer.from(change.id).toString())
  }

  #make(change: Change): void {
    this.made.set(Buffer.from(change.id).toString('hex'), change)
    this.replicator.publish(change)
  }

  #apply(change: Change): 'applied' | 'outdated' {
    const copy = copyOf(change)
    this.applied.push(copy)
    const id = Buffer.from(copy.id).toString('hex')
    const known = this.newest.get(id)
    if (known !== undefined && compareVersions(copy.version, known.version) <= 0) return 'outdated'
    this.newest.set(id, copy)
    return 'applied'
  }
}

function copyOf(change: Change): Change {
  return change.kind === 'put'
    ? {
        ...change,
        id: Buffer.from(change.id),
        context: Buffer.from(change.context),
        session: Buffer.from(change.session),
      }
    : { ...change, id: Buffer.from(change.id) }
}
