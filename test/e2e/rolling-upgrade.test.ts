// A cluster is upgraded node by node: processes of commit ed8347b, which know version 1 of the protocol only, and of
// this one replicate in both directions, live, by copies, by comparisons, and through repeaters of either.

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, type TestContext, test } from 'node:test'
import { systemRandom } from '../../src/base/world.ts'
import { askPeers } from '../../src/cli/stats.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import { freeAddresses } from '../support/free-ports.ts'
import { ask } from '../support/http.ts'
import { until as untilWithin } from '../support/latch.ts'
import {
  type NodeProcess,
  type Spawner,
  startRepeat,
  startServe,
  stopProcess,
  untilAllKnowEachOther,
} from '../support/node-processes.ts'
import { buildOldProgram, createOldSpawner, whyWithoutOldProgram } from '../support/old-program.ts'
import {
  countItems,
  hasSession,
  putSession,
  type StoredSession,
} from '../support/stored-sessions.ts'

const skip = whyWithoutOldProgram()
const oldFolder = mkdtempSync(join(tmpdir(), 'tlscached-old-'))
after(() => rmSync(oldFolder, { recursive: true }))
const oldMain = skip === false ? buildOldProgram(oldFolder) : ''
const FAILSAFE_MS = 60_000
type Age = 'old' | 'new'

const until = (what: string, isTrue: () => boolean | Promise<boolean>) =>
  untilWithin(what, isTrue, FAILSAFE_MS)

class Cluster {
  readonly folder = mkdtempSync(join(tmpdir(), 'tlscached-upgrade-'))
  readonly keysFile = join(this.folder, 'cluster.keys')
  readonly #children: ChildProcess[] = []
  readonly #spawners: Record<Age, Spawner>

  constructor(t: TestContext) {
    const note = (child: ChildProcess) => this.#children.push(child)
    this.#spawners = {
      old: createOldSpawner(oldMain, note),
      new: (args) => {
        const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] })
        note(child)
        return child
      },
    }
    writeFileSync(this.keysFile, generateKey(systemRandom), { mode: 0o600 })
    t.after(async () => {
      await Promise.all(this.#children.map(stopProcess))
      rmSync(this.folder, { recursive: true })
    })
  }

  configOf(name: string, replication: Record<string, unknown>) {
    const shared = { keys_file: this.keysFile, digest_interval: '1h', ...replication }
    return { node: { name }, caches: [{ name: 'ssl', items: 1000 }], replication: shared }
  }

  node(age: Age, name: string, replication: Record<string, unknown>): Promise<NodeProcess> {
    return startServe(this.folder, this.configOf(name, replication), this.#spawners[age])
  }

  repeater(age: Age, listen: string): Promise<NodeProcess> {
    const options = ['--listen', listen, '--keys-file', this.keysFile]
    return startRepeat(this.folder, `repeater-${age}`, options, this.#spawners[age])
  }
}

async function putLarge({ http }: NodeProcess): Promise<StoredSession> {
  const id = randomBytes(32).toString('hex')
  const session = { path: `/v1/caches/ssl/sessions/${id}?context=shop`, body: randomBytes(4000) }
  const { status } = await ask(http, { ...session, method: 'PUT' })
  assert.equal(status, 201)
  return session
}

async function untilHeld(nodes: readonly NodeProcess[], sessions: readonly StoredSession[]) {
  await until(`every node has ${sessions.length} sessions`, async () => {
    for (const node of nodes) {
      for (const session of sessions) if (!(await hasSession(node, session))) return false
    }
    return true
  })
}

/** Puts, a put in fragments and a removal on each node reach all others. */
async function assertReplicate(nodes: readonly NodeProcess[]): Promise<void> {
  const sessions: StoredSession[] = []
  for (const node of nodes) sessions.push(await putSession(node), await putLarge(node))
  await untilHeld(nodes, sessions)
  for (const [index, node] of nodes.entries()) {
    const session = sessions[2 * index]
    assert.ok(session !== undefined)
    const { status } = await ask(node.http, { path: session.path, method: 'DELETE' })
    assert.equal(status, 204)
    await until('the removal is everywhere', async () => {
      const held = await Promise.all(nodes.map((other) => hasSession(other, session)))
      return !held.includes(true)
    })
  }
}

test('three nodes are upgraded one after the other and lose no session', { skip }, async (t) => {
  const cluster = new Cluster(t)
  const addresses = await freeAddresses(3)
  const start = (age: Age, index: number) =>
    cluster.node(age, `node-${index}`, { listen: addresses[index], peers: addresses })
  const nodes = await Promise.all([0, 1, 2].map((index) => start('old', index)))
  await untilAllKnowEachOther(nodes)
  const kept = [await putSession(nodes[0] as NodeProcess), await putLarge(nodes[1] as NodeProcess)]
  await untilHeld(nodes, kept)
  for (const index of [0, 1, 2]) {
    const node = nodes[index]
    assert.ok(node !== undefined)
    await stopProcess(node.child)
    nodes[index] = await start('new', index)
    // What the new one copied, and what all of them tell each other from now on.
    await untilHeld(nodes, kept)
    await until('all know each other', async () => {
      const known = await Promise.all(nodes.map(({ http }) => askPeers(http)))
      return known.every(({ peers }) => peers.filter((peer) => peer.up).length === 2)
    })
    await assertReplicate(nodes)
  }
})

test('an old node copies a new one, and each of them what differs', { skip }, async (t) => {
  const cluster = new Cluster(t)
  const addresses = await freeAddresses(2)
  const [oldAddress, newAddress] = addresses
  const newNode = await cluster.node('new', 'new', { listen: newAddress, peers: [] })
  const first = await putLarge(newNode)
  const oldNode = await cluster.node('old', 'old', { listen: oldAddress, peers: [newAddress] })
  await untilHeld([oldNode], [first])

  // Apart, each has what the other lacks; then they are told of each other, and compare.
  const apart = await freeAddresses(2)
  const a = await cluster.node('old', 'apart-old', { listen: apart[0], peers: [] })
  const b = await cluster.node('new', 'apart-new', { listen: apart[1], peers: [] })
  const sessions = [await putSession(a), await putLarge(a), await putSession(b), await putLarge(b)]
  assert.deepEqual([await countItems(a), await countItems(b)], [2, 2])
  const reloaded = cluster.configOf('apart-old', { listen: apart[0], peers: [apart[1]] })
  const http = `unix:${join(cluster.folder, 'apart-old.sock')}`
  const whole = { frontends: { http }, log: { level: 'warn' }, ...reloaded }
  writeFileSync(join(cluster.folder, 'apart-old.json'), JSON.stringify(whole))
  a.child.kill('SIGHUP')
  await untilHeld([a, b], sessions)
})

for (const age of ['old', 'new'] as const) {
  test(`old and new nodes share sessions through an ${age} repeater`, { skip }, async (t) => {
    const cluster = new Cluster(t)
    const [listen = ''] = await freeAddresses(1)
    await cluster.repeater(age, listen)
    const replication = { listen: '127.0.0.1:0', repeaters: [listen] }
    const nodes = [
      await cluster.node('old', 'behind-old', replication),
      await cluster.node('new', 'behind-new', replication),
    ]
    await untilAllKnowEachOther(nodes)
    await assertReplicate(nodes)
  })
}

test('minimum_version ends it: nothing is taken from an old node, which is said', {
  skip,
}, async (t) => {
  const cluster = new Cluster(t)
  const addresses = await freeAddresses(2)
  const strict = await cluster.node('new', 'strict', {
    listen: addresses[0],
    peers: addresses,
    minimum_version: 2,
  })
  const old = await cluster.node('old', 'old', { listen: addresses[1], peers: addresses })
  await putSession(old)
  await until('greetings of the old node are dropped', async () => {
    const { body } = await ask(strict.http, { path: '/metrics' })
    return /^tlscached_replication_dropped_total\{reason="version"\} [1-9]/m.test(body.toString())
  })
  assert.equal(await countItems(strict), 0)
})
