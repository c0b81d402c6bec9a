// A live uWSGI and a node share a cache in uWSGI's own datagrams, by unicast and by multicast, and its Python
// API reads and writes the node over TCP.

import assert from 'node:assert/strict'
import type { ChildProcess, SpawnOptions } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { parseHostAddress } from '../../src/base/address.ts'
import { askCaches } from '../../src/cli/stats.ts'
import { formatDictionary, parseDictionary } from '../../src/uwsgi/datagram.ts'
import { freeAddresses } from '../support/free-ports.ts'
import { ask } from '../support/http.ts'
import { until } from '../support/latch.ts'
import {
  type LiveUwsgi,
  startUwsgi,
  stopUwsgi,
  UWSGI,
  type UwsgiCall,
} from '../support/live-uwsgi.ts'
import { INTERFACE, NetworkNamespaces, whyNoNamespaces } from '../support/network-namespaces.ts'
import { type NodeProcess, startServe, stopProcess } from '../support/node-processes.ts'
import { whyWithout } from '../support/programs.ts'

const COUNT = 200
const LIFETIME_SEC = 300
const SPEC = 'name=ssl,items=1000,keysize=128,blocksize=4096'
const CACHES = [{ name: 'ssl', items: 1000, timeout: '1h' }]
const QUIET: SpawnOptions = { stdio: ['ignore', 'ignore', 'inherit'] }

interface Pair {
  readonly uwsgi: LiveUwsgi
  readonly node: NodeProcess
}

function makeEntries() {
  return Array.from({ length: COUNT }, () => ({ id: randomBytes(32), value: randomBytes(130) }))
}

function pathOf(id: Buffer): string {
  return `/v1/caches/ssl/sessions/${id.toString('hex')}`
}

async function onUnicast(t: TestContext): Promise<Pair & { readonly uwsgiSocket: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-uwsgi-'))
  const [ours = '', theirs = '', uwsgiSocket = ''] = await freeAddresses(3)
  const uwsgi = await startUwsgi(folder, 'uwsgi', [
    `socket = ${uwsgiSocket}`,
    `cache2 = ${SPEC},udp=${theirs},node=${ours}`,
  ])
  t.after(async () => {
    await stopUwsgi(uwsgi)
    rmSync(folder, { recursive: true })
  })
  const node = await startServe(folder, {
    node: { name: 'node' },
    caches: CACHES,
    replication: { listeners: [{ wire: 'uwsgi', listen: ours, peers: [theirs] }] },
  })
  t.after(() => stopProcess(node.child))
  return { uwsgi, node, uwsgiSocket }
}

async function onMulticast(t: TestContext): Promise<Pair> {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-uwsgi-'))
  const network = new NetworkNamespaces('tlscu', 2)
  t.after(() => {
    network.remove()
    rmSync(folder, { recursive: true })
  })
  const [here, there] = network.hosts
  assert.ok(here !== undefined && there !== undefined)
  for (const { name } of network.hosts) {
    // uWSGI leaves the interface to the routing table.
    await run(network.spawn(name, 'ip', ['route', 'add', '224.0.0.0/4', 'dev', INTERFACE], QUIET))
  }
  const group = '225.1.1.1:7171'
  const uwsgi = await startUwsgi(
    folder,
    'uwsgi',
    [`cache2 = ${SPEC},udp=${group},node=${group}`],
    (command, args) => network.spawn(there.name, command, args, { stdio: 'ignore' }),
  )
  t.after(() => stopUwsgi(uwsgi))
  const listener = { wire: 'uwsgi', listen: group, interface: INTERFACE, insecure: true }
  const config = { node: { name: 'node' }, caches: CACHES, replication: { listeners: [listener] } }
  const node = await startServe(folder, config, (args) =>
    network.spawn(here.name, process.execPath, args, QUIET),
  )
  t.after(() => stopProcess(node.child))
  return { uwsgi, node }
}

async function run(child: ChildProcess): Promise<void> {
  const code = await new Promise((resolve) => child.once('exit', resolve))
  assert.equal(code, 0)
}

/** Both ways, 200 of 200, byte for byte; then a delete here is one there. */
async function exchange({ uwsgi, node }: Pair): Promise<void> {
  const there = makeEntries()
  const set = there.map(({ id, value }) => ['cache_set', id, value, LIFETIME_SEC, 'ssl'] as const)
  assert.deepEqual(
    await uwsgi.call(...set),
    there.map(() => true),
  )
  await until('the node has what uWSGI stored', async () => {
    const [cache] = (await askCaches(node.http)).caches
    return cache?.items === COUNT
  })
  for (const { id, value } of there) {
    const answer = await ask(node.http, { path: pathOf(id) })
    assert.deepEqual([answer.status, answer.body], [200, value])
  }

  const here = makeEntries()
  for (const { id, value } of here) {
    const path = `${pathOf(id)}?ttl=${LIFETIME_SEC}`
    assert.equal((await ask(node.http, { method: 'PUT', path, body: value })).status, 201)
  }
  const get = here.map(({ id }) => ['cache_get', id, 'ssl'] as const)
  await until('uWSGI has what the node stored', async () =>
    (await uwsgi.call(...get)).every((value) => value !== null),
  )
  assert.deepEqual(
    await uwsgi.call(...get),
    here.map(({ value }) => value),
  )

  for (const { id } of [...here, ...there]) {
    assert.equal((await ask(node.http, { method: 'DELETE', path: pathOf(id) })).status, 204)
  }
  const exists = [...here, ...there].map(({ id }) => ['cache_exists', id, 'ssl'] as const)
  await until('what the node deleted is gone there', async () =>
    (await uwsgi.call(...exists)).every((value) => value === null),
  )
  const metrics = (await ask(node.http, { path: '/metrics' })).body.toString()
  // Nothing that went out came back and was taken for something new.
  assert.match(metrics, new RegExp(`uwsgi_applied_total{cache="ssl",kind="set"} ${COUNT}\n`))
  assert.doesNotMatch(metrics, /uwsgi_dropped_total\{[^}]*\} [1-9]/)
}

test('uWSGI and a node by unicast', { skip: whyWithout(UWSGI) }, async (t) => {
  await exchange(await onUnicast(t))
})

test('uWSGI and a node by multicast', {
  skip: whyWithout(UWSGI) || whyNoNamespaces(),
}, async (t) => {
  await exchange(await onMulticast(t))
})

test('lifetimes are the same on both sides, and what came from there is swept here', {
  skip: whyWithout(UWSGI),
}, async (t) => {
  const { uwsgi, node, uwsgiSocket } = await onUnicast(t)
  const [fromThere, fromHere, short] = [randomBytes(32), randomBytes(32), randomBytes(32)]
  await uwsgi.call(['cache_set', fromThere, 'value', LIFETIME_SEC, 'ssl'])
  await until(
    'it is here',
    async () => (await ask(node.http, { path: pathOf(fromThere) })).status === 200,
  )
  const leftSec = (await ask(node.http, { path: pathOf(fromThere) })).headers['x-session-ttl']
  assert.ok(Math.abs(Number(leftSec) - LIFETIME_SEC) <= 1, `${leftSec}`)

  const path = `${pathOf(fromHere)}?ttl=${LIFETIME_SEC}`
  const putSec = Date.now() / 1000
  await ask(node.http, { method: 'PUT', path, body: Buffer.from('value') })
  await until(
    'it is there',
    async () => (await uwsgi.call(['cache_exists', fromHere, 'ssl']))[0] === true,
  )
  const expiresAtSec = await expiryOf(uwsgiSocket, fromHere)
  assert.ok(Math.abs(expiresAtSec - putSec - LIFETIME_SEC) <= 1, `${expiresAtSec - putSec}`)

  await uwsgi.call(['cache_set', short, 'value', 1, 'ssl'])
  await until('it was swept without being asked for', async () => {
    const [cache] = (await askCaches(node.http)).caches
    return cache?.expired === 1 && cache.items === 2
  })
})

/** What uWSGI's own command tells of an entry. */
function expiryOf(socket: string, key: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    const client = connect(parseHostAddress(socket))
    const chunks: Buffer[] = []
    const request = formatDictionary(17, [
      ['cmd', 'get'],
      ['key', key],
      ['cache', 'ssl'],
    ])
    client.end(request)
    client.on('data', (chunk) => chunks.push(chunk))
    client.on('error', reject)
    client.on('end', () => {
      const answer = Buffer.concat(chunks)
      const pairs = parseDictionary(answer.subarray(4, 4 + answer.readUInt16LE(1)))
      resolve(Number(pairs?.get('expires')?.toString()))
    })
  })
}

test("uWSGI's Python API on a node", { skip: whyWithout(UWSGI) }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-uwsgi-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const [commands = ''] = await freeAddresses(1)
  const uwsgi = await startUwsgi(folder, 'uwsgi', [`cache2 = ${SPEC}`])
  t.after(() => stopUwsgi(uwsgi))
  const node = await startServe(folder, {
    node: { name: 'node' },
    caches: CACHES,
    frontends: { http: `unix:${join(folder, 'node.sock')}`, uwsgi: commands },
  })
  t.after(() => stopProcess(node.child))
  const at = `ssl@${commands}`
  const [id, value, other] = [randomBytes(32), randomBytes(130), randomBytes(4000)]
  const steps: readonly [call: UwsgiCall, expected: unknown][] = [
    [['cache_get', id, at], null],
    [['cache_exists', id, at], null],
    [['cache_set', id, value, LIFETIME_SEC, at], true],
    [['cache_exists', id, at], true],
    [['cache_get', id, at], value],
    [['cache_set', id, other, LIFETIME_SEC, at], null],
    [['cache_update', id, other, LIFETIME_SEC, at], true],
    [['cache_get', id, at], other],
    [['cache_get', id, `@${commands}`], other],
    [['cache_get', id, `nosuch@${commands}`], null],
    [['cache_del', id, at], true],
    [['cache_del', id, at], null],
    [['cache_get', id, at], null],
    [['cache_update', id, value, 0, at], true],
    [['cache_clear', at], true],
    [['cache_exists', id, at], null],
    // Its own cache was never touched.
    [['cache_exists', id, 'ssl'], null],
  ]
  const answers = await uwsgi.call(...steps.map(([call]) => call))
  for (const [index, [call, expected]] of steps.entries()) {
    assert.deepEqual(answers[index], expected, `step ${index}: ${call[0]}`)
  }
})
