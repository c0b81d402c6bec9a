// How nodes come to send to each other: by lists, by greetings, and while names are still being resolved.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatAddress } from '../../src/base/address.ts'
import { addressOf, MemoryCluster } from '../support/memory-cluster.ts'

test('a node gets the changes of a peer that it lists, although the peer does not list it', async () => {
  const cluster = new MemoryCluster()
  const [unlisting, listing] = [cluster.member(1, 2, { peers: [] }), cluster.member(2, 2)]
  await unlisting.replicator.start()
  await listing.replicator.start()
  cluster.clock.advance(10)
  unlisting.put('a', 1)
  cluster.clock.advance(0)
  assert.deepEqual(listing.ids, ['a'])
  assert.equal(listing.replicator.stats.repaired, 0)
  assert.deepEqual(
    unlisting.replicator.peers().map(({ address, isUp }) => [address, isUp]),
    [[formatAddress(addressOf(2)), true]],
  )
  await cluster.stop([unlisting, listing])
})

test('a name server that does not answer holds no start up', async () => {
  const cluster = new MemoryCluster()
  const peers = [{ host: 'nodes.test', port: 7171 }]
  let answer: (addresses: readonly string[]) => void = () => {}
  const resolver = () => new Promise<readonly string[]>((resolve) => (answer = resolve))
  const [waiting, there] = [
    cluster.member(1, 2, { peers, resolver }),
    cluster.member(2, 2, { peers: [] }),
  ]
  await Promise.all([waiting.replicator.start(), there.replicator.start()])
  assert.equal(waiting.replicator.joinState(), 'joining')
  answer([addressOf(2).host])
  await new Promise((resolve) => setImmediate(resolve))
  cluster.clock.advance(10)
  assert.equal(waiting.replicator.joinState(), 'joined')
  await cluster.stop([waiting, there])
})
