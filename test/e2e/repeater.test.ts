// Three nodes that know only the addresses of repeaters: real processes, some of which are killed.

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { formatAddress, parseHostAddress } from '../../src/base/address.ts'
import { zeros } from '../../src/base/counters.ts'
import { systemRandom } from '../../src/base/world.ts'
import { askPeers } from '../../src/cli/stats.ts'
import { REPLICATION_COUNTERS } from '../../src/replication/stats.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import { freeAddresses } from '../support/free-ports.ts'
import { ask } from '../support/http.ts'
import { until as untilWithin } from '../support/latch.ts'
import {
  type NodeProcess,
  runCli,
  type Spawner,
  startRepeat,
  startServe,
  stopProcess,
  untilAllKnowEachOther,
} from '../support/node-processes.ts'
import { countItems, hasSession, PutLoad, putSession } from '../support/stored-sessions.ts'

const NAMES = ['a', 'b', 'c']
/** Five processes under load, on a machine that may do much else. */
const FAILSAFE_MS = 60_000

const until = (what: string, isTrue: () => boolean | Promise<boolean>) =>
  untilWithin(what, isTrue, FAILSAFE_MS)

/** Repeaters and nodes of one test. */
class Cluster {
  readonly folder = mkdtempSync(join(tmpdir(), 'tlscached-repeat-'))
  readonly repeaterAddresses: readonly string[]
  readonly #keysFile = join(this.folder, 'cluster.keys')
  readonly #children: ChildProcess[] = []
  /** Notes who has to be stopped, also when it never becomes ready. */
  readonly #spawn: Spawner = (args) => {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] })
    this.#children.push(child)
    return child
  }

  private constructor(repeaterAddresses: readonly string[]) {
    this.repeaterAddresses = repeaterAddresses
    writeFileSync(this.#keysFile, generateKey(systemRandom), { mode: 0o600 })
  }

  static async create(t: TestContext, repeaters: number): Promise<Cluster> {
    const cluster = new Cluster(await freeAddresses(repeaters))
    t.after(async () => {
      await Promise.all(cluster.#children.map(stopProcess))
      rmSync(cluster.folder, { recursive: true })
    })
    return cluster
  }

  async repeater(index: number): Promise<NodeProcess> {
    const listen = this.repeaterAddresses[index] ?? ''
    const options = ['--listen', listen, '--keys-file', this.#keysFile]
    return await startRepeat(this.folder, `repeater-${index}`, options, this.#spawn)
  }

  /** Unless told otherwise, nothing that is missing comes by comparing. */
  async node(name: string, digestInterval = '1h'): Promise<NodeProcess> {
    const replication = {
      listen: '127.0.0.1:0',
      repeaters: this.repeaterAddresses,
      keys_file: this.#keysFile,
      digest_interval: digestInterval,
    }
    const caches = [{ name: 'ssl', items: 100_000 }]
    const config = { node: { name }, caches, replication }
    return await startServe(this.folder, config, this.#spawn)
  }

  async nodes(): Promise<NodeProcess[]> {
    const nodes: NodeProcess[] = []
    for (const name of NAMES) nodes.push(await this.node(name))
    await untilAllKnowEachOther(nodes)
    return nodes
  }
}

async function kill({ child }: NodeProcess): Promise<void> {
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}

async function subscribersOf(repeater: NodeProcess): Promise<string[]> {
  const { peers } = await askPeers(repeater.http)
  return peers.map(({ name }) => name).sort()
}

async function metricOf({ http }: NodeProcess, name: string): Promise<number> {
  const { body } = await ask(http, { path: '/metrics' })
  const line = body
    .toString()
    .split('\n')
    .find((one) => one.startsWith(`${name} `))
  return Number(line?.slice(name.length + 1))
}

async function untilEverywhere(nodes: readonly NodeProcess[], items: number): Promise<void> {
  await until(`every node has ${items} sessions`, async () => {
    const counts = await Promise.all(nodes.map(countItems))
    return counts.every((count) => count === items)
  })
}

function at(nodes: readonly NodeProcess[], index: number): NodeProcess {
  const node = nodes[index]
  assert.ok(node !== undefined)
  return node
}

describe('one repeater', () => {
  test('three nodes that know only the address of the repeater share sessions', async (t) => {
    const cluster = await Cluster.create(t, 1)
    const repeater = await cluster.repeater(0)
    const nodes = await cluster.nodes()
    await until('all subscribed', async () => (await subscribersOf(repeater)).length === 3)
    assert.deepEqual(await subscribersOf(repeater), NAMES)
    const passedBefore = await metricOf(
      repeater,
      'tlscached_repeater_datagrams_total{direction="passed"}',
    )
    const sessions = await Promise.all(
      Array.from({ length: 60 }, (_, number) => putSession(at(nodes, number % 3))),
    )
    await untilEverywhere(nodes, 60)
    for (const node of nodes) {
      for (const session of sessions) assert.ok(await hasSession(node, session))
    }
    const passed = await metricOf(
      repeater,
      'tlscached_repeater_datagrams_total{direction="passed"}',
    )
    assert.ok(passed > passedBefore, 'nothing came through the repeater')

    const { stdout } = await runCli(['peers', '--http', formatAddress(at(nodes, 0).http)])
    assert.match(stdout, /repeater-0 .*│ repeater, up │/)
    assert.match(stdout, /│ b +│ .*│ up +│/)
    assert.match(stdout, /│ sync +│/)
    assert.match(stdout, /^this node is ready: (replicating with|hears) /m)

    // A node that ends is gone at once, one that was killed and comes back copies the others.
    const [first, second, third] = nodes
    assert.ok(first !== undefined && second !== undefined && third !== undefined)
    await kill(third)
    // A copy that breaks off, for want of time, is followed by a comparison.
    const back = await cluster.node('c', '1s')
    await untilEverywhere([back], 60)
    await until('it says so', async () => {
      const { sync, peers } = await askPeers(back.http)
      return sync?.state === 'synced' && peers.some((peer) => peer.sync?.state === 'synced')
    })
    await stopProcess(second.child)
    assert.equal(second.child.exitCode, 0)
    await until('b left', async () => (await subscribersOf(repeater)).join() === 'a,c')
    await putSession(first)
    await untilEverywhere([first, back], 61)

    await stopProcess(repeater.child)
    assert.equal(repeater.child.exitCode, 0)
  })

  test('a client without the key gets nothing from it', async (t) => {
    const cluster = await Cluster.create(t, 1)
    const repeater = await cluster.repeater(0)
    const node = await cluster.node('a')
    await until('a subscribed', async () => (await subscribersOf(repeater)).length === 1)
    const stranger = createSocket('udp4')
    t.after(() => stranger.close())
    let received = 0
    stranger.on('message', () => {
      received += 1
    })
    const { host, port } = parseHostAddress(cluster.repeaterAddresses[0] ?? '')
    const name = 'tlscached_repeater_dropped_total'
    for (let time = 0; time < 100; time += 1) {
      // A datagram in form, of a key that nobody has.
      const datagram = systemRandom(448)
      datagram.set([0x54, 0x43, 1, time % 2])
      datagram.fill(0, 24, 30)
      stranger.send(datagram, port, host)
      stranger.send(systemRandom(448), port, host)
      if (time % 10 === 0) await putSession(node)
    }
    await until('all was counted', async () => {
      const unauthenticated = await metricOf(repeater, `${name}{reason="unauthenticated"}`)
      const malformed = await metricOf(repeater, `${name}{reason="malformed"}`)
      return unauthenticated === 100 && malformed === 100
    })
    // What the repeater sent before it was asked for its metrics is here.
    assert.equal(received, 0)
    assert.deepEqual(await subscribersOf(repeater), ['a'])
  })
})

describe('two repeaters', () => {
  test('one is killed, then the other, then one comes back: no session is missed', async (t) => {
    const cluster = await Cluster.create(t, 2)
    const repeaters = [await cluster.repeater(0), await cluster.repeater(1)]
    const nodes = await cluster.nodes()
    for (const repeater of repeaters) {
      await until('all subscribed', async () => (await subscribersOf(repeater)).length === 3)
    }
    const load = new PutLoad(nodes)
    const untilMorePuts = async (more: number) => {
      const enough = load.sessions.length + more
      await until('more puts', () => load.sessions.length >= enough)
    }
    await untilMorePuts(300)
    await kill(at(repeaters, 0))
    await untilMorePuts(300)
    await kill(at(repeaters, 1))
    await untilMorePuts(300)
    const back = await cluster.repeater(0)
    await until('all subscribed again', async () => (await subscribersOf(back)).length === 3)
    await untilMorePuts(300)
    const sessions = await load.stop()
    t.diagnostic(`${sessions.length} sessions`)
    await untilEverywhere(nodes, sessions.length)
    for (const { http } of nodes) {
      const { replication } = await askPeers(http)
      assert.equal(replication?.lost, 0)
      assert.deepEqual(
        { ...replication?.dropped, queue_full: 0 },
        zeros(REPLICATION_COUNTERS).dropped,
      )
    }
    const passed = 'tlscached_repeater_datagrams_total{direction="passed"}'
    assert.ok((await metricOf(back, passed)) > 0)
  })
})
