// Nodes that know nothing but repeaters, over a memory network.

import type { HostAddress } from '../../src/base/address.ts'
import { type Logger, silentLogger } from '../../src/base/world.ts'
import { Repeater } from '../../src/replication/repeater/repeater.ts'
import { createIdentity } from '../../src/wire/identity.ts'
import type { Keyring } from '../../src/wire/keyring.ts'
import { type Member, MemoryCluster } from './memory-cluster.ts'
import type { MemoryTransport } from './memory-network.ts'
import { TEST_KEYRING, type TestNodeOptions } from './replication-node.ts'
import { seededBytes } from './seeded-random.ts'

export interface MemoryRepeater {
  readonly repeater: Repeater
  readonly transport: MemoryTransport
  /** Its keys, which a test replaces. */
  readonly keys: { current: Keyring }
}

export interface RepeaterChoice {
  /** Distinguishes boots of one repeater. */
  readonly boot?: number
  readonly keyring?: Keyring
  readonly logger?: Logger
}

export function repeaterAddressOf(number: number): HostAddress {
  return { host: `10.0.1.${number}`, port: 7272 }
}

export class RepeatedCluster extends MemoryCluster {
  /** A repeater at `repeaterAddressOf(number)`, started. */
  async repeater(number: number, choice: RepeaterChoice = {}): Promise<MemoryRepeater> {
    const transport = this.network.transport(repeaterAddressOf(number))
    const random = seededBytes(`repeater ${number} boot ${choice.boot ?? 1}`)
    const keys = { current: choice.keyring ?? TEST_KEYRING }
    const repeater = new Repeater({
      transport,
      identity: createIdentity(`repeater-${number}`, random),
      keys,
      clock: this.clock,
      random,
      logger: choice.logger ?? silentLogger,
    })
    await repeater.start()
    return { repeater, transport, keys }
  }

  /** A node at `addressOf(number)` behind the repeaters 1 to `repeaters`. Not started. */
  subscriber(number: number, repeaters: number, options: Partial<TestNodeOptions> = {}): Member {
    return this.member(number, 0, {
      repeaters: Array.from({ length: repeaters }, (_, index) => repeaterAddressOf(index + 1)),
      ...options,
    })
  }

  /** Nodes 1 to `size` behind the repeaters, started and acquainted. */
  async startBehind(
    size: number,
    repeaters: number,
    options: Partial<TestNodeOptions> = {},
  ): Promise<Member[]> {
    const members: Member[] = []
    for (let number = 1; number <= size; number += 1) {
      const member = this.subscriber(number, repeaters, options)
      await member.replicator.start()
      members.push(member)
    }
    for (let second = 0; second < 60 && !isReady(members, repeaters); second += 1) {
      this.clock.advance(1000)
    }
    if (!isReady(members, repeaters)) throw new Error('the nodes did not find each other')
    return members
  }
}

function isReady(members: readonly Member[], repeaters: number): boolean {
  return members.every(({ replicator }) => {
    const others = replicator.verifiedSenders().length
    const known = replicator.peers().filter((peer) => peer.isVerified).length
    return others === members.length - 1 && known === others + repeaters
  })
}
