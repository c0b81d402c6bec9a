// Three nodes, two of them with a clock that is an hour wrong (libfaketime), one each way: nothing is lost
// and nothing removed comes back, also when nodes are killed, start again and copy each other.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemRandom } from '../../src/base/world.ts'
import { askPeers } from '../../src/cli/stats.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import { freeAddresses } from '../support/free-ports.ts'
import { ask } from '../support/http.ts'
import { until } from '../support/latch.ts'
import {
  type NodeProcess,
  startServe,
  stopProcess,
  untilAllKnowEachOther,
} from '../support/node-processes.ts'
import { whyWithout } from '../support/programs.ts'
import { encodeSession } from '../support/session-encoder.ts'
import { clockEnvironment } from '../support/wrong-clock.ts'

const HOUR_MS = 3_600_000
/** How wrong each node's clock is. */
const SKEWS_MS = [0, HOUR_MS, -HOUR_MS] as const
const NODES = SKEWS_MS.length
/**
 * Sessions of each kind for each pair of a node that puts them and a node that changes them afterwards. Clocks that are
 * wrong by years, under all other faults, are in test/simulation.
 */
const SESSIONS = 1
const COMPARISONS = 4
const MAX_DIFFERENCE_ERROR_MS = 60_000

/** All nodes of one cluster, in their order. */
class SkewedCluster {
  readonly nodes: NodeProcess[] = []
  readonly #folder: string
  readonly #peers: readonly string[]
  readonly #keys = [generateKey(systemRandom)]

  constructor(folder: string, peers: readonly string[]) {
    this.#folder = folder
    this.#peers = peers
  }

  async start(number: number): Promise<void> {
    const skewMs = SKEWS_MS[number] ?? 0
    const config = {
      node: { name: `node-${number}` },
      caches: [{ name: 'ssl', items: 10_000, timeout: '10m' }],
      replication: {
        listen: this.#peers[number],
        peers: this.#peers,
        keys: this.#keys,
        digest_interval: '200ms',
      },
      // That a node is killed while another copies from it is part of this test.
      log: { level: 'error' },
    }
    this.nodes[number] = await startServe(this.#folder, config, (args) =>
      spawn(process.execPath, args, {
        stdio: ['ignore', 'ignore', 'inherit'],
        env: { ...process.env, ...clockEnvironment(skewMs) },
      }),
    )
  }

  async put(number: number, label: string, session: string | Buffer): Promise<void> {
    const body = Buffer.from(session)
    const answer = await this.#ask(number, label, 'PUT', body)
    assert.equal(answer.status, 201)
  }

  async remove(number: number, label: string): Promise<void> {
    assert.equal((await this.#ask(number, label, 'DELETE')).status, 204)
  }

  /** What each node holds. */
  async sessions(label: string): Promise<(string | undefined)[]> {
    const answers = await Promise.all(this.nodes.map((_, number) => this.#ask(number, label)))
    return answers.map(({ status, body }) => (status === 200 ? body.toString('latin1') : undefined))
  }

  /** Waits until all nodes hold exactly this. */
  async untilAll(wanted: ReadonlyMap<string, string | undefined>, when: string): Promise<void> {
    for (const [label, session] of wanted) {
      await until(`${label} is the same everywhere ${when}`, async () => {
        return (await this.sessions(label)).every((held) => held === session)
      })
    }
  }

  /** Waits until every node compared itself with each other one, and more. */
  async compareAll(): Promise<void> {
    const before = await this.#comparisons()
    await until('every node compared itself with the others', async () => {
      const now = await this.#comparisons()
      return now.every((count, number) => count >= (before[number] ?? 0) + COMPARISONS)
    })
  }

  async #comparisons(): Promise<number[]> {
    return Promise.all(
      this.nodes.map(async ({ http }) => {
        const metrics = (await ask(http, { path: '/metrics' })).body.toString()
        return Number(/^tlscached_sync_total\{kind="comparison"\} (\d+)$/m.exec(metrics)?.[1])
      }),
    )
  }

  #ask(number: number, label: string, method: 'GET' | 'PUT' | 'DELETE' = 'GET', body?: Buffer) {
    const node = this.nodes[number]
    assert.ok(node !== undefined)
    const path = `/v1/caches/ssl/sessions/${idOf(label).toString('hex')}?context=shop`
    return ask(node.http, { method, path, ...(body && { body }) })
  }
}

function idOf(label: string): Buffer {
  return createHash('sha256').update(label).digest()
}

/** Every two nodes, also a node and itself. */
const PAIRS = SKEWS_MS.flatMap((_, first) => SKEWS_MS.map((_, second) => [first, second] as const))

test('clocks an hour wrong lose nothing and resurrect nothing', {
  skip: whyWithout('faketime'),
}, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-clock-'))
  const cluster = new SkewedCluster(folder, await freeAddresses(NODES))
  t.after(async () => {
    await Promise.all(cluster.nodes.map(({ child }) => stopProcess(child)))
    rmSync(folder, { recursive: true })
  })
  await Promise.all(SKEWS_MS.map((_, number) => cluster.start(number)))
  await untilAllKnowEachOther(cluster.nodes)

  // Otherwise this test proves nothing.
  for (const [number, { http }] of cluster.nodes.entries()) {
    for (const peer of (await askPeers(http)).peers) {
      // A node is known by its own greeting before it answered at its address, which is a line of its own until then.
      if (!peer.verified) continue
      const skewMs = SKEWS_MS[Number(peer.name.split('-')[1])] ?? 0
      const error = (peer.clock_difference_ms ?? 0) - (skewMs - (SKEWS_MS[number] ?? 0))
      assert.ok(Math.abs(error) < MAX_DIFFERENCE_ERROR_MS, `${number} sees ${peer.name}: ${error}`)
    }
  }

  const wanted = new Map<string, string | undefined>()
  for (const [first, second] of PAIRS) {
    for (let index = 0; index < SESSIONS; index += 1) {
      const label = `${first} ${second} ${index}`
      for (const kind of ['kept', 'removed', 'replaced', 'returned']) {
        await cluster.put(first, `${kind} ${label}`, `${kind} first`)
        wanted.set(`${kind} ${label}`, `${kind} first`)
      }
    }
  }
  // A terminator beside the node encodes its session by the same wrong clock.
  for (const [number, skewMs] of SKEWS_MS.entries()) {
    const label = `encoded ${number}`
    const timeSec = Math.floor((Date.now() + skewMs) / 1000)
    const context = Buffer.from('shop')
    const session = encodeSession({ id: idOf(label), context, timeSec, timeoutSec: 300 })
    await cluster.put(number, label, session)
    wanted.set(label, session.toString('latin1'))
  }
  await cluster.untilAll(wanted, 'after the puts')

  const change = async (kind: string, how: (node: number, label: string) => Promise<void>) => {
    for (const [first, second] of PAIRS) {
      for (let index = 0; index < SESSIONS; index += 1) {
        await how(second, `${kind} ${first} ${second} ${index}`)
      }
    }
  }
  await change('removed', (node, label) => {
    wanted.set(label, undefined)
    return cluster.remove(node, label)
  })
  await change('replaced', (node, label) => {
    wanted.set(label, 'replaced later')
    return cluster.put(node, label, 'replaced later')
  })
  await change('returned', async (node, label) => {
    wanted.set(label, undefined)
    await cluster.remove(node, label)
  })
  await cluster.untilAll(wanted, 'after the changes')
  // Removed by a clock that may be two hours ahead of the one that puts it again.
  await change('returned', (node, label) => {
    wanted.set(label, 'returned later')
    return cluster.put((node + 1) % NODES, label, 'returned later')
  })
  await cluster.untilAll(wanted, 'after some were put again')

  for (const number of SKEWS_MS.keys()) {
    const { child } = cluster.nodes[number] ?? {}
    child?.kill('SIGKILL')
    await until('it ended', () => child?.signalCode !== null || child.exitCode !== null)
    await cluster.start(number)
    await cluster.untilAll(wanted, `after node ${number} started again`)
    // What a node that forgot its own clock does now is newer than all before.
    const label = `kept 0 ${number} 0`
    await cluster.put(number, label, `after the restart of ${number}`)
    wanted.set(label, `after the restart of ${number}`)
    await cluster.untilAll(wanted, `after node ${number} put again`)
  }
  await untilAllKnowEachOther(cluster.nodes)
  await cluster.compareAll()
  await cluster.untilAll(wanted, 'after comparisons')
})
