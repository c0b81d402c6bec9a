// A cluster of replicators in one process, over the network in memory.

import type { HostAddress } from '../../src/base/address.ts'
import { FakeClock } from './fake-clock.ts'
import { MemoryNetwork, type MemoryNetworkOptions, type MemoryTransport } from './memory-network.ts'
import { TestNode, type TestNodeOptions } from './replication-node.ts'

export interface Member extends TestNode {
  readonly transport: MemoryTransport
}

export function addressOf(number: number): HostAddress {
  return { host: `10.0.0.${number}`, port: 7171 }
}

export class MemoryCluster {
  readonly clock = new FakeClock()
  readonly network: MemoryNetwork

  constructor(options: Omit<MemoryNetworkOptions, 'clock'> = {}) {
    this.network = new MemoryNetwork({ clock: this.clock, ...options })
  }

  /** Creates a node at `addressOf(number)` whose peers are the nodes 1 to `size`, and does not start it. */
  member(number: number, size: number, options: Partial<TestNodeOptions> = {}): Member {
    const transport = this.network.transport(addressOf(number))
    const peers = Array.from({ length: size }, (_, index) => addressOf(index + 1))
    const name = `node-${number}`
    const node = new TestNode({ name, transport, clock: this.clock, peers, ...options })
    return Object.assign(node, { transport })
  }

  /** Starts the nodes 1 to `size` and resolves when all know each other. */
  async start(size: number, options: Partial<TestNodeOptions> = {}): Promise<Member[]> {
    const members: Member[] = []
    for (let number = 1; number <= size; number += 1) {
      const member = this.member(number, size, options)
      await member.replicator.start()
      members.push(member)
    }
    // Lost greetings are repeated every second.
    for (let second = 0; second < 30 && !isAcquainted(members); second += 1)
      this.clock.advance(1000)
    if (!isAcquainted(members)) throw new Error('the nodes did not find each other')
    return members
  }

  async stop(members: readonly TestNode[]): Promise<void> {
    await Promise.all(members.map((member) => member.replicator.stop()))
  }
}

function isAcquainted(members: readonly TestNode[]): boolean {
  return members.every((member) => {
    const verified = member.replicator.peers().filter((peer) => peer.isVerified)
    return verified.length === members.length - 1
  })
}

export function droppedTotal(node: TestNode): number {
  return Object.values(node.replicator.stats.dropped).reduce((sum, count) => sum + count, 0)
}
