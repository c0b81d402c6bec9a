// A repeater over real sockets: IPv6, keys, what it says about itself, and how it ends.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, test } from 'node:test'
import { formatAddress, parseHostAddress } from '../../src/base/address.ts'
import { systemRandom } from '../../src/base/world.ts'
import { type CacheNode, createNode, nodeConfig } from '../../src/node/node.ts'
import { type RepeaterConfig, RepeaterNode } from '../../src/node/repeater-node.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import { freeAddresses } from '../support/free-ports.ts'
import { ask } from '../support/http.ts'
import { until } from '../support/latch.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

const folder = mkdtempSync(join(tmpdir(), 'tlscached-repeater-'))
after(() => rmSync(folder, { recursive: true }))

const open: { stop(): Promise<void> }[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.stop()))
})

const LOOPBACK = { host: '::1', port: 0 }

function repeaterWith(config: Partial<RepeaterConfig>, logger = new RecordingLogger()) {
  const whole = { name: 'r', listen: LOOPBACK, keysFile: undefined, isInsecure: false }
  const repeater = new RepeaterNode({ ...whole, http: undefined, ...config }, { logger })
  open.push(repeater)
  return repeater
}

function addressOf(repeater: RepeaterNode): string {
  const { address } = repeater.listening()[0] ?? {}
  assert.ok(address !== undefined)
  return address
}

async function startNode(
  name: string,
  repeater: string,
  listen = '[::1]:0',
  logger = new RecordingLogger(),
) {
  const replication = { listen, repeaters: [repeater] }
  const node = createNode({ node: { name }, replication }, { logger })
  open.push(node)
  await node.start()
  return node
}

function storeOf(node: CacheNode) {
  const store = node.caches.get('ssl')?.store
  assert.ok(store !== undefined)
  return store
}

test('nodes behind it over IPv6 share sessions; it tells who they are', async () => {
  const http = { path: join(folder, 'r.sock') }
  const repeater = repeaterWith({ http })
  assert.deepEqual(repeater.readiness(), {
    isReady: false,
    isStrictlyReady: false,
    reason: 'not started',
  })
  await repeater.start()
  const nodes = [
    await startNode('a', addressOf(repeater)),
    await startNode('b', addressOf(repeater)),
  ] as const
  await until('both are told', () => repeater.peers().length === 2)
  await until('both know each other', () =>
    nodes.every((node) => node.peers().some((peer) => peer.role === 'node' && peer.isVerified)),
  )
  const [a, b] = nodes
  const id = Buffer.alloc(32, 1)
  const entry = { id, context: Buffer.from('ctx'), serverName: '', ttlMs: 200_000 }
  storeOf(a).put({ ...entry, session: Buffer.alloc(130, 1) })
  await until('b has it', () => storeOf(b).stats.items === 1)
  assert.deepEqual(repeater.readiness(), {
    isReady: true,
    isStrictlyReady: true,
    reason: '2 subscribers',
  })

  const get = async (path: string) => {
    const { status, body } = await ask(http, { path })
    return { status, body: body.toString() }
  }
  assert.equal((await get('/healthz')).status, 200)
  assert.match((await get('/metrics')).body, /^tlscached_repeater_subscribers 2$/m)
  const { replication, sync, peers } = JSON.parse((await get('/v1/peers')).body)
  assert.deepEqual([replication, sync], [null, null])
  assert.deepEqual(peers.map((peer: { name: string }) => peer.name).sort(), ['a', 'b'])
  assert.deepEqual(JSON.parse((await get('/v1/caches')).body).caches, [])
  assert.equal((await get('/v1/caches/ssl/sessions/00')).status, 404)
})

test('a repeater that comes later is subscribed to, and never copied', async () => {
  const [address = ''] = await freeAddresses(1)
  const node = await startNode('a', address, '127.0.0.1:0')
  await until('nobody is there', () => node.syncStatus()?.state === 'alone')
  const repeater = repeaterWith({ listen: parseHostAddress(address) })
  await repeater.start()
  await until('it is subscribed to', () => repeater.peers().length === 1)
  assert.equal(node.syncStatus()?.state, 'alone')
  const [peer] = node.peers()
  assert.deepEqual([peer?.role, peer?.isUp, peer?.sync], ['repeater', true, undefined])
  const failed = /^tlscached_sync_failures_total.* [1-9]/m.exec((await node.metrics()).text)
  assert.equal(failed, null)
})

test('a reload takes the repeaters over', async () => {
  const [old, next] = [repeaterWith({ name: 'old' }), repeaterWith({ name: 'next' })]
  await Promise.all([old.start(), next.start()])
  const node = await startNode('a', addressOf(old))
  await until('it subscribed', () => old.peers().length === 1)
  const replication = { listen: '[::1]:0', repeaters: [addressOf(next)] }
  await node.reload(nodeConfig({ node: { name: 'a' }, replication }))
  await until('it left', () => old.peers().length === 0 && next.peers().length === 1)
})

test('a node on the address of a repeater, and a repeater that is no repeater, are told', async () => {
  const node = await startNode('a', '[::1]:9')
  const [first] = node.listening()
  assert.ok(first !== undefined)
  const other = new RecordingLogger()
  const mistaken = await startNode('b', first.address, '[::1]:0', other)
  await until('it is verified', () => mistaken.peers().some((peer) => peer.isVerified))
  assert.ok(other.lines.some(({ message }) => message.includes('is no repeater')))
})

test('keys are read again; a file that is wrong changes nothing', async () => {
  const keysFile = join(folder, 'cluster.keys')
  writeFileSync(keysFile, generateKey(systemRandom), { mode: 0o600 })
  const repeater = repeaterWith({ keysFile })
  await repeater.start()
  repeater.reloadKeys()
  writeFileSync(keysFile, 'no key')
  assert.throws(() => repeater.reloadKeys(), { code: 'ERR_KEYRING' })
  assert.match((await repeater.metrics()).text, /^tlscached_key_age_seconds \d/m)
})

test('what it cannot do it refuses: no keys, a group, an address in use', async () => {
  assert.throws(() => repeaterWith({ listen: { host: '10.0.0.1', port: 1 } }), {
    code: 'ERR_INSECURE',
  })
  assert.throws(() => repeaterWith({ listen: { host: 'ff02::1', port: 1 } }), {
    code: 'ERR_ADDRESS',
  })
  const first = repeaterWith({ http: { path: join(folder, 'first.sock') } })
  await first.start()
  const address = addressOf(first)
  const port = Number(/\d+$/.exec(address)?.[0])
  const second = repeaterWith({ listen: { host: '::1', port } })
  await assert.rejects(second.start(), {
    code: 'ERR_LISTEN',
    message: `listen: cannot listen on ${address}: address already in use`,
  })
  const third = repeaterWith({ http: { path: join(folder, 'first.sock') } })
  await assert.rejects(third.start(), {
    code: 'ERR_LISTEN',
    message: `http: cannot listen on ${formatAddress({ path: join(folder, 'first.sock') })}: address already in use`,
  })
  assert.deepEqual(third.listening(), [])
})

test('without keys it says so', async () => {
  const logger = new RecordingLogger()
  await repeaterWith({}, logger).start()
  assert.ok(logger.lines.some(({ level, message }) => level === 'warn' && /in clear/.test(message)))
})
