// A node as a whole, in this process: what it joins, how it starts and stops, what a reload changes.

import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, describe, test } from 'node:test'
import { silentLogger, systemRandom } from '../../src/base/world.ts'
import type { ConfigInput } from '../../src/node/config-schema.ts'
import { type CacheNode, createNode, nodeConfig } from '../../src/node/node.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import { until } from '../support/latch.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

const KEY = generateKey(systemRandom)
const CONTEXT = Buffer.from('shop')
const ID = Buffer.from('a1b2c3', 'hex')
const SESSION = Buffer.from('opaque session')

const folder = mkdtempSync(join(tmpdir(), 'tlscached-node-'))
after(() => rmSync(folder, { recursive: true }))

const running: CacheNode[] = []
afterEach(async () => {
  await Promise.all(running.splice(0).map((node) => node.stop()))
})

async function startNode(config: ConfigInput, logger = new RecordingLogger()): Promise<CacheNode> {
  const node = createNode(config, { logger })
  running.push(node)
  await node.start()
  return node
}

function replicating(name: string, more: ConfigInput = {}): ConfigInput {
  const replication = { listen: '127.0.0.1:0', keys: [KEY] }
  return { node: { name }, ...more, replication: { ...replication, ...more.replication } }
}

function addressOf(node: CacheNode, name: string): string {
  return node.listening().find((one) => one.name === name)?.address ?? ''
}

/** Tells each of the nodes where the others are, as a reload of their configuration would. */
async function connect(nodes: readonly { node: CacheNode; config: ConfigInput }[]): Promise<void> {
  for (const { node, config } of nodes) {
    const peers = nodes
      .filter((one) => one.node !== node)
      .map((one) => addressOf(one.node, 'replication'))
    const replication = { listen: '127.0.0.1:0', keys: [KEY], ...config.replication, peers }
    await node.reload(nodeConfig({ ...config, replication }))
  }
  await until('the nodes know each other', () =>
    nodes.every(
      ({ node }) => node.peers().filter((peer) => peer.isVerified).length === nodes.length - 1,
    ),
  )
}

describe('alone', () => {
  test('a node of the defaults listens nowhere and is ready', async () => {
    const node = await startNode({})
    assert.deepEqual(node.listening(), [])
    assert.deepEqual(node.readiness(), {
      isReady: true,
      isStrictlyReady: true,
      reason: 'no replication',
    })
    assert.equal(node.replicationStats(), undefined)
    assert.deepEqual([...node.caches.keys()], ['ssl'])
  })

  test('says of itself what it counted since its start', async () => {
    const node = await startNode({ node: { name: 'a' }, caches: [{ name: 'ssl', items: 1 }] })
    const hooks = node.hooks('ssl')
    for (const id of ['aa', 'bb']) {
      await hooks.put({ context: CONTEXT, id: Buffer.from(id), session: SESSION })
    }
    const { ready, caches, problems, rates } = node.summary()
    assert.deepEqual([ready, caches[0]?.items, caches[0]?.recent.stored], [true, 1, 2])
    assert.deepEqual(
      problems.map(({ code, subject }) => [code, subject]),
      [['evicting', 'ssl']],
    )
    assert.deepEqual([rates.last, rates.gets], [0, []])
  })

  test('hooks put, get and remove in the cache they are of', async () => {
    const node = await startNode({ caches: [{ name: 'a' }, { name: 'b' }] })
    assert.equal(node.hooks('a').put({ context: CONTEXT, id: ID, session: SESSION }), 'stored')
    assert.deepEqual(node.hooks('a').get(CONTEXT, ID)?.session, SESSION)
    assert.equal(node.hooks('b').get(CONTEXT, ID), undefined)
    assert.equal(node.hooks('a').remove(CONTEXT, ID), true)
    assert.throws(() => node.hooks('c'), { code: 'ERR_CACHE' })
  })

  test('start and stop are idempotent, and a stopped node starts again', async () => {
    const node = await startNode({ frontends: { http: '127.0.0.1:0' } })
    await node.start()
    await Promise.all([node.stop(), node.stop()])
    await node.stop()
    assert.deepEqual(node.readiness(), {
      isReady: false,
      isStrictlyReady: false,
      reason: 'not started',
    })
    assert.deepEqual(node.listening(), [])
    await node.start()
    assert.equal(node.listening().length, 1)
  })

  test('stop during the start leaves nothing open', async () => {
    const node = createNode({ frontends: { http: '127.0.0.1:0' } }, { logger: silentLogger })
    const started = node.start()
    await node.stop()
    await started
    assert.deepEqual(node.listening(), [])
  })

  test('an address in use fails the start in one line and closes what was open', async () => {
    const socket = join(folder, 'taken.sock')
    const server = createServer().listen(socket)
    const config = replicating('a', { frontends: { http: `unix:${socket}` } })
    const node = createNode(config, { logger: silentLogger })
    await assert.rejects(node.start(), {
      code: 'ERR_LISTEN',
      message: `frontends.http: cannot listen on unix:${socket}: address already in use`,
    })
    assert.equal(node.peers().length, 0)
    server.close()
    // Nothing is left: the same node can be started now.
    await new Promise((resolve) => server.once('close', resolve))
    await node.start()
    await node.stop()
  })

  test('a wrong configuration is refused before anything is opened', () => {
    assert.throws(() => createNode({ caches: [{ name: 'a', items: 0 }] }), { code: 'ERR_CONFIG' })
    assert.throws(() => createNode({ replication: { listen: '0.0.0.0:0' } }), {
      code: 'ERR_INSECURE',
    })
  })
})

describe('several', () => {
  test('what is put on one is on the others, and so is a removal', async () => {
    const nodes = await Promise.all(
      ['a', 'b', 'c'].map(async (name) => {
        const config = replicating(name)
        return { node: await startNode(config), config }
      }),
    )
    await connect(nodes)
    const [a, b, c] = nodes.map(({ node }) => node)
    assert.ok(a !== undefined && b !== undefined && c !== undefined)
    assert.equal(a.hooks('ssl').put({ context: CONTEXT, id: ID, session: SESSION }), 'stored')
    await until('b and c have it', () =>
      [b, c].every((node) => node.caches.get('ssl')?.stats.items === 1),
    )
    assert.deepEqual(b.hooks('ssl').get(CONTEXT, ID)?.session, SESSION)
    assert.equal(c.hooks('ssl').remove(CONTEXT, ID), true)
    await until('it is gone', () =>
      [a, b].every((node) => node.caches.get('ssl')?.stats.items === 0),
    )
    // What came from a peer is never sent on: one change each from a and c, none from b.
    assert.deepEqual(
      [a, b, c].map((node) => node.replicationStats()?.entriesSent),
      [1, 0, 1],
    )
    assert.equal(b.readiness().isReady, true)
  })

  test('a change for a cache that is not configured here is refused and counted', async () => {
    const logger = new RecordingLogger()
    const configs = [
      replicating('a', { caches: [{ name: 'only-a' }, { name: 'ssl' }] }),
      replicating('b'),
    ] as const
    const a = await startNode(configs[0])
    const b = await startNode(configs[1], logger)
    await connect([
      { node: a, config: configs[0] },
      { node: b, config: configs[1] },
    ])
    a.hooks('only-a').put({ context: CONTEXT, id: ID, session: SESSION })
    await until('it was counted', async () =>
      (await b.metrics()).text.includes('tlscached_replication_unknown_cache_total 1'),
    )
    assert.equal(b.caches.get('ssl')?.stats.items, 0)
    assert.ok(logger.lines.some(({ fields }) => fields['cache'] === 'only-a'))
  })

  test('each tells the summary of the other', async () => {
    const config = { a: replicating('a'), b: replicating('b') }
    const a = await startNode(config.a)
    const b = await startNode(config.b)
    await connect([
      { node: a, config: config.a },
      { node: b, config: config.b },
    ])
    await b.hooks('ssl').put({ context: CONTEXT, id: ID, session: SESSION })
    const { node, nodes } = await a.cluster.look()
    assert.deepEqual(
      [node, ...nodes.map((one) => `${one.node} ${one.state}`)],
      ['a', 'a self', 'b told'],
    )
    assert.equal(nodes[1]?.summary?.caches[0]?.puts['stored'], 1)
    assert.equal(nodes[1]?.boot, nodes[1]?.summary?.boot)
    const failed = /^tlscached_sync_failures_total.* [1-9]/m.exec((await b.metrics()).text)
    assert.equal(failed, null)
  })

  test('a node without peers within reach says so', async () => {
    const node = await startNode(
      replicating('a', {
        replication: { listen: '127.0.0.1:0', keys: [KEY], peers: ['127.0.0.1:9'] },
      }),
    )
    assert.deepEqual(node.readiness(), {
      isReady: false,
      isStrictlyReady: false,
      reason: 'looking for peers',
    })
    await until('it looked long enough', () => node.readiness().isReady)
    assert.deepEqual(node.readiness(), {
      isReady: true,
      isStrictlyReady: false,
      reason: 'serves alone: no peer found, nobody answers at 127.0.0.1:9',
    })
  })
})

describe('reload', () => {
  const keysFile = join(folder, 'keys')
  const config: ConfigInput = {
    node: { name: 'a' },
    replication: { listen: '127.0.0.1:0', keys_file: keysFile },
  }
  const writeKeys = (text: string, mode = 0o600) => {
    writeFileSync(keysFile, text, { mode })
    chmodSync(keysFile, mode)
  }

  test('reads the keys again, and keeps the old ones when the file is wrong', async () => {
    writeKeys(`${KEY}\n`)
    const node = await startNode(config)
    writeKeys('not a key\n')
    await assert.rejects(node.reload(nodeConfig(config)), { code: 'ERR_KEYRING' })
    writeKeys(`${KEY}\n`, 0o644)
    await assert.rejects(node.reload(nodeConfig(config)), { code: 'ERR_KEYRING' })
    assert.match((await node.metrics()).text, /^tlscached_key_age_seconds [\d.e-]+$/m)
    writeKeys(`${generateKey(systemRandom)}\n${KEY}\n`)
    await node.reload(nodeConfig(config))
  })

  test('a node that the network reaches keeps its keys, whatever its new address is', async () => {
    const replication = { listen: '0.0.0.0:0', keys: [KEY] }
    const node = await startNode({ node: { name: 'a' }, replication })
    const onLoopback = nodeConfig({ node: { name: 'a' }, replication: { listen: '127.0.0.1:0' } })
    await assert.rejects(node.reload(onLoopback), { code: 'ERR_INSECURE' })
  })

  test('an address may become a peer that was a repeater', async () => {
    const there = '127.0.0.1:9'
    const node = await startNode(replicating('a', { replication: { repeaters: [there] } }))
    await node.reload(nodeConfig(replicating('a', { replication: { peers: [there] } })))
    assert.deepEqual(
      node.peers().map(({ role, address }) => [role, address]),
      [['node', there]],
    )
  })

  test('says when something else changed, which needs a restart', async () => {
    writeKeys(`${KEY}\n`)
    const logger = new RecordingLogger()
    const node = await startNode(config, logger)
    await node.reload(nodeConfig(config))
    await node.reload(nodeConfig({ ...config, caches: [{ name: 'new' }] }))
    const reloads = logger.lines.filter(({ message }) => message.includes('read again'))
    assert.deepEqual(
      reloads.map(({ fields }) => fields['needsRestart']),
      [false, true],
    )
    assert.deepEqual([...node.caches.keys()], ['ssl'])
  })
})
