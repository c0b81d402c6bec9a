// What a node knows of the summaries of its peers: whom it asks and how often, and what it says when they do not answer.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PeerStatus } from '../../src/replication/peers/presence.ts'
import { ClusterView } from '../../src/status/cluster.ts'
import { encodeSummary, type Summary } from '../../src/status/summary.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { Latch } from '../support/latch.ts'
import { peerStatus } from '../support/peer-status.ts'

interface Peer {
  readonly name: string
  readonly bootId: Buffer
  readonly isRepeater: boolean
  readonly version: number
}

function peerOf(name: string, version = 3, isRepeater = false): Peer {
  return { name, bootId: Buffer.from(name), isRepeater, version }
}

function summaryOf(node: string, samples: number): Summary {
  const counts = Array.from({ length: samples }, (_, index) => index)
  return {
    node,
    boot: Buffer.from(node).toString('hex'),
    release: '1.2.3',
    uptime_ms: 1000,
    ready: true,
    strictly_ready: true,
    reason: 'replicating',
    caches: [],
    more_caches: 0,
    peers: [],
    more_peers: 0,
    problems: [],
    more_problems: 0,
    rates: {
      period_ms: 10_000,
      last: samples,
      age_ms: 1,
      gets: counts,
      hits: counts,
      puts: counts,
      refused: counts,
      evicted: counts,
      received: counts,
    },
    tickets: null,
  }
}

/** A view of node `a` on these peers, which all answer unless `ask` is given. */
function setUp(peers: Peer[], ask = async ({ name }: Peer) => encodeSummary(summaryOf(name, 5))) {
  const clock = new FakeClock()
  const asked: string[] = []
  const silent = new Set<string>()
  const statusOf = ({ name, bootId, isRepeater }: Peer): PeerStatus =>
    peerStatus(name, silent.has(name) ? 42 : 1, {
      role: isRepeater ? 'repeater' : 'node',
      boot: silent.has(name) ? undefined : bootId.toString('hex'),
    })
  const view = new ClusterView<Peer>({
    own: (samples = 360) => summaryOf('a', samples),
    peers: () => peers.map(statusOf),
    senders: () => peers.filter(({ name }) => !silent.has(name)),
    ask: (peer) => {
      asked.push(peer.name)
      return ask(peer)
    },
    clock,
  })
  const states = async () => (await view.look()).nodes.map(({ node, state }) => `${node} ${state}`)
  return { clock, view, asked, silent, states }
}

test('peers are asked when somebody looks, and not again within five seconds', async () => {
  const { clock, view, asked, states } = setUp([peerOf('b'), peerOf('c')])
  assert.deepEqual(
    view.changes(0).nodes.map(({ node, state }) => `${node} ${state}`),
    ['a self', 'b pending', 'c pending'],
  )
  clock.advance(60_000)
  assert.deepEqual(asked, [])
  assert.deepEqual(await states(), ['a self', 'b told', 'c told'])
  clock.advance(4999)
  await view.look()
  assert.deepEqual(asked, ['b', 'c'])
  clock.advance(1)
  const { nodes } = await view.look()
  assert.deepEqual(asked, ['b', 'c', 'b', 'c'])
  assert.equal(nodes[1]?.summary?.rates.gets.length, 5)
  assert.equal(clock.pendingCount, 0)
})

test('in a large cluster each is asked less often, and never more than eight at once', async () => {
  const names = Array.from({ length: 40 }, (_, index) => `n${index}`)
  let atOnce = 0
  let most = 0
  const { clock, view, asked } = setUp(
    names.map((name) => peerOf(name)),
    async ({ name }) => {
      atOnce += 1
      most = Math.max(most, atOnce)
      await Promise.resolve()
      atOnce -= 1
      return encodeSummary(summaryOf(name, 1))
    },
  )
  await view.look()
  assert.deepEqual([asked.length, most], [40, 8])
  clock.advance(19_999)
  await view.ask()
  assert.equal(asked.length, 40)
  clock.advance(1)
  await view.ask()
  assert.equal(asked.length, 80)
})

test('repeaters and nodes of releases that do not tell are never asked', async () => {
  const { asked, states } = setUp([peerOf('old', 2), peerOf('r', 3, true), peerOf('b')])
  assert.deepEqual(await states(), ['a self', 'old older', 'b told'])
  assert.deepEqual(asked, ['b'])
})

test('a silent node keeps the summary that it told last', async () => {
  const { clock, view, silent } = setUp([peerOf('b')])
  await view.look()
  silent.add('b')
  clock.advance(42_000)
  const { nodes } = await view.look()
  assert.deepEqual(
    nodes.map(({ node, boot, state, age_ms, summary }) => [
      node,
      boot,
      state,
      age_ms,
      summary?.node,
    ]),
    [
      ['a', '61', 'self', 0, 'a'],
      ['b', null, 'silent', 42_000, 'b'],
    ],
  )
})

test('a peer that fails or sends what is no summary does not answer', async () => {
  const { states } = setUp([peerOf('b'), peerOf('c')], async ({ name }) => {
    if (name === 'b') throw new Error('refused')
    return Buffer.from('{}')
  })
  assert.deepEqual(await states(), ['a self', 'b no_answer', 'c no_answer'])
})

test('a look waits two seconds at most for a peer that hangs', async () => {
  const begun = new Latch()
  const { clock, states, asked } = setUp([peerOf('b')], () => {
    begun.arrive()
    return new Promise(() => {})
  })
  const looking = states()
  await begun.done
  clock.advance(2000)
  assert.deepEqual(await looking, ['a self', 'b no_answer'])
  assert.deepEqual(asked, ['b'])
})

test('changes have the summaries that are new, with their newest samples', async () => {
  const { clock, view } = setUp([peerOf('b')])
  const beforeMs = clock.monotonicMs()
  await view.ask()
  clock.advance(2000)
  const told = view.changes(beforeMs).nodes
  assert.deepEqual(
    told.map(({ summary }) => [summary?.node, summary?.rates.gets]),
    [
      ['a', [0, 1]],
      ['b', [3, 4]],
    ],
  )
  const later = view.changes(clock.monotonicMs()).nodes[1]
  assert.deepEqual([later?.state, later?.summary, later?.age_ms], ['told', null, 2000])
})
