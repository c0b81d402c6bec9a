// A node that starts again, over real sockets: it has what the others have before it says it is ready.

import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { silentLogger } from '../../src/base/world.ts'
import { type CacheNode, createNode } from '../../src/node/node.ts'
import { freeAddresses } from '../support/free-ports.ts'
import { until } from '../support/latch.ts'
import { seededBytes } from '../support/seeded-random.ts'

const KEY = seededBytes('node sync key')(32).toString('base64')
const SESSIONS = 20_000
const nodes: CacheNode[] = []

afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.stop()))
})

async function start(name: string, listen: string, peers: string[]): Promise<CacheNode> {
  const node = createNode(
    {
      node: { name },
      caches: [{ name: 'ssl', items: 50_000 }],
      replication: { listen, peers, keys: [KEY], digest_interval: '100ms' },
    },
    { logger: silentLogger },
  )
  nodes.push(node)
  await node.start()
  return node
}

const storeOf = (node: CacheNode) => {
  const store = node.caches.get('ssl')?.store
  assert.ok(store !== undefined)
  return store
}

const idOf = (index: number) => Buffer.from(`session ${index}`.padEnd(32, '.'))

function put(node: CacheNode, index: number): void {
  const context = Buffer.from('ctx')
  const session = Buffer.alloc(130, index)
  storeOf(node).put({ id: idOf(index), context, serverName: '', session, ttlMs: 200_000 })
}

test('a node that starts answers for the sessions of the others', async (context) => {
  const [one = '', two = ''] = await freeAddresses(2)
  const a = await start('a', one, [two])
  for (let index = 0; index < SESSIONS; index += 1) put(a, index)
  await until('a found nobody', () => a.readiness().isReady)
  assert.equal(a.syncStatus()?.state, 'alone')
  const b = await start('b', two, [one])
  const startedMs = performance.now()
  assert.equal(b.readiness().isReady, false)
  await until('b is ready', () => b.readiness().isReady)
  context.diagnostic(
    `${SESSIONS} sessions ${Math.round(performance.now() - startedMs)} ms after start`,
  )
  assert.equal(b.readiness().reason, 'replicating with a, synchronized with a 0 s ago')
  assert.equal(b.readiness().isStrictlyReady, true)
  assert.equal(storeOf(b).stats.items, SESSIONS)
  assert.ok((await b.metrics()).text.includes('tlscached_sync_state{state="synced"} 1'))
})

test('what never arrived is there after a comparison, and what was removed stays removed', async () => {
  const [one = '', two = ''] = await freeAddresses(2)
  const a = await start('a', one, [two])
  const b = await start('b', two, [one])
  await until('both are synchronized', () =>
    [a, b].every((node) => node.syncStatus()?.state === 'synced'),
  )
  put(a, 1)
  await until('b has it', () => storeOf(b).stats.items === 1)
  // Nobody hears of these changes, as if their datagrams were lost.
  const told = storeOf(a).onChange
  storeOf(a).onChange = () => {}
  put(a, 2)
  storeOf(a).remove(idOf(1), Buffer.from('ctx'))
  storeOf(a).onChange = told
  await until('b has what was lost', () => storeOf(b).contextless.peek(idOf(2)) !== undefined)
  assert.equal(storeOf(b).contextless.peek(idOf(1)), undefined)
  assert.equal(storeOf(a).contextless.peek(idOf(1)), undefined)
  for (const node of [a, b]) {
    const failed = /^tlscached_sync_failures_total.* [1-9]/m.exec((await node.metrics()).text)
    assert.equal(failed, null, failed?.[0])
  }
})
