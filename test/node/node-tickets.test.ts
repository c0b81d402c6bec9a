// The ticket keys of nodes in one process, over real sockets: made on one, known on the others, ready only with them.

import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, test } from 'node:test'
import { type CacheNode, createNode } from '../../src/node/node.ts'
import { openedKeys } from '../../src/tickets/rule.ts'
import { freeAddresses } from '../support/free-ports.ts'
import { until } from '../support/latch.ts'
import { seededBytes } from '../support/seeded-random.ts'

const KEY = seededBytes('node tickets key')(32).toString('base64')
const nodes: CacheNode[] = []

afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.stop()))
})

async function start(name: string, listen?: string, peers: string[] = []): Promise<CacheNode> {
  const node = createNode({
    node: { name },
    tickets: { groups: [{ name: 'www' }] },
    ...(listen !== undefined && { replication: { listen, peers, keys: [KEY] } }),
  })
  nodes.push(node)
  await node.start()
  return node
}

function names(node: CacheNode): string[] {
  return openedKeys(node.ticketKeys('www').view()).map(({ key }) => key.hexName)
}

test('a node without peers makes a key at its start and is ready', async () => {
  const node = await start('a')
  assert.equal(names(node).length, 1)
  await node.ticketsGiven()
  assert.deepEqual(node.readiness().isReady, true)
  assert.equal(node.caches.size, 0)
  assert.throws(() => node.ticketKeys('api'), { code: 'ERR_GROUP' })
  const { current } = node.ticketKeys('www').view()
  await node.stop()
  assert.ok(current?.key.secret.every((byte) => byte === 0))
})

test('a terminator without a probe is given its keys, and the summary of the node says so', async () => {
  // /dev/shm is in memory, where keys may lie.
  const folder = mkdtempSync('/dev/shm/tlscached-node-tickets-')
  const file = join(folder, 'www.keys')
  const node = createNode({
    node: { name: 'a' },
    tickets: { groups: [{ name: 'www' }], targets: [{ kind: 'file', group: 'www', file }] },
  })
  nodes.push(node)
  try {
    await node.start()
    await node.ticketsGiven()
    const { tickets, problems } = node.summary()
    assert.deepEqual(problems, [])
    assert.deepEqual(
      tickets?.groups.map(({ group, keys }) => [group, keys.map(({ state }) => state)]),
      [['www', ['current']]],
    )
    assert.deepEqual(
      tickets?.targets.map(({ name, current, problem }) => [name, current, problem]),
      [['www-file', null, null]],
    )
    assert.ok((tickets?.targets[0]?.given_ms ?? Number.NaN) >= 0)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a node that is started again, with peers that do not answer or none, has the keys of its terminators', async () => {
  const folder = mkdtempSync('/dev/shm/tlscached-node-tickets-')
  const [listen = '', away = ''] = await freeAddresses(2)
  const config = {
    node: { name: 'a' },
    tickets: {
      groups: [{ name: 'www' }],
      targets: [{ kind: 'file' as const, group: 'www', file: join(folder, 'www.keys') }],
    },
  }
  const startNode = async (replication?: { listen: string; peers: string[]; keys: string[] }) => {
    const node = createNode({ ...config, ...(replication && { replication }) })
    nodes.push(node)
    await node.start()
    await until('it has keys', () => names(node).length > 0)
    await node.ticketsGiven()
    return node
  }
  try {
    const first = await startNode()
    const made = names(first)
    const held = readFileSync(join(folder, 'www.keys'))
    await first.stop()
    const alone = await startNode()
    assert.deepEqual(names(alone), made)
    await alone.stop()
    const cutOff = await startNode({ listen, peers: [away], keys: [KEY] })
    assert.deepEqual(names(cutOff), made)
    assert.deepEqual(readFileSync(join(folder, 'www.keys')), held)
    await cutOff.stop()
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a node that starts has the ring of its peer before it is ready, and a new key within 4 s', async () => {
  const [one = '', two = ''] = await freeAddresses(2)
  const a = await start('a', one, [two])
  assert.equal(a.readiness().isReady, false)
  await until('a made its own key', () => a.readiness().isReady)
  const b = await start('b', two, [one])
  assert.deepEqual(names(b), [])
  assert.equal(b.readiness().isReady, false)
  await until('b is ready', () => b.readiness().isReady)
  assert.deepEqual(names(b), names(a))
  const startedMs = performance.now()
  a.rotateTickets('www', { isImmediate: true, isRevoking: true })
  const [made] = names(a)
  await until('b has the key that a made, and no other', () => names(b).join() === made)
  assert.ok(performance.now() - startedMs < 4000)
})
