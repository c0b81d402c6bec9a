// Ten thousand connections to a running node that never prove to have the key: each is counted, none stays,
// and all the while the node serves, takes changes of its peer, and is copied by one that starts.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseHostAddress } from '../../src/base/address.ts'
import { systemRandom } from '../../src/base/world.ts'
import { askCaches } from '../../src/cli/stats.ts'
import { MAX_CONNECTIONS, MAX_HANDSHAKES } from '../../src/replication/sync/server.ts'
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

const CONNECTIONS = 10_000
/** Opened at once: fewer than the kernel keeps waiting for the node. */
const BURST = 250
/** What the garbage collector may leave lying about. */
const MEMORY_SLACK_BYTES = 48 * 1024 * 1024
const READY_WITHIN_MS = 20_000

const newPath = () => `/v1/caches/ssl/sessions/${randomBytes(32).toString('hex')}?context=shop`

async function metricsOf(node: NodeProcess): Promise<string> {
  return (await ask(node.http, { path: '/metrics' })).body.toString()
}

/** Connections that were turned away without proof, by reason. */
async function refusals(node: NodeProcess): Promise<{ handshake: number; flood: number }> {
  const text = await metricsOf(node)
  const count = (reason: string) =>
    Number(
      new RegExp(`^tlscached_sync_failures_total\\{reason="${reason}"\\} (\\d+)$`, 'm').exec(
        text,
      )?.[1],
    )
  return { handshake: count('handshake'), flood: count('flood') }
}

async function memoryOf(node: NodeProcess): Promise<number> {
  return Number(/^process_resident_memory_bytes (\S+)$/m.exec(await metricsOf(node))?.[1])
}

test('ten thousand half-open connections leave a running node as it was', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-half-open-'))
  const peers = await freeAddresses(3)
  const keys = [generateKey(systemRandom)]
  const nodes: NodeProcess[] = []
  t.after(async () => {
    await Promise.all(nodes.map(({ child }) => stopProcess(child)))
    rmSync(folder, { recursive: true })
  })
  const start = async (number: number) => {
    const replication = { listen: peers[number], peers, keys }
    const config = { node: { name: `node-${number}` }, replication, log: { level: 'error' } }
    const node = await startServe(folder, config)
    nodes.push(node)
    return node
  }
  const target = await start(0)
  let peer = await start(1)
  await untilAllKnowEachOther(nodes)
  const passes = async (from: NodeProcess, to: NodeProcess, when: string) => {
    const path = newPath()
    const body = randomBytes(130)
    assert.equal((await ask(from.http, { method: 'PUT', path, body })).status, 201)
    await until(`a session passes ${when}`, async () => {
      return (await ask(to.http, { path })).body.equals(body)
    })
  }

  const { host, port } = parseHostAddress(peers[0] ?? '')
  let open = 0
  const openOne = async (number: number) => {
    const socket = connect(port, host)
    socket.on('error', () => {})
    socket.on('close', () => {
      open -= 1
    })
    open += 1
    await once(socket, 'connect')
    // A part of a handshake, or nothing at all.
    if (number % 2 === 0) socket.write(Buffer.from('1603010200010001fc0303', 'hex'))
    socket.resume()
  }
  const openMany = async (from: number, count: number) => {
    for (let begun = 0; begun < count; begun += BURST) {
      await Promise.all(Array.from({ length: BURST }, (_, index) => openOne(from + begun + index)))
    }
  }
  const tenth = CONNECTIONS / 10
  await openMany(0, tenth)
  let memoryBefore = 0
  for (let part = 1; part < 10; part += 1) {
    await openMany(part * tenth, tenth)
    await passes(peer, target, `to it after ${part} thousand`)
    await passes(target, peer, `from it after ${part} thousand`)
    // Closed by the node when more came; this side hears of it a moment later.
    await until('the oldest gave way', () => open <= MAX_HANDSHAKES + MAX_CONNECTIONS)
    if (part !== 5) continue
    // In the middle of it somebody starts who has nobody else to copy.
    await stopProcess(peer.child)
    peer = await start(2)
    const { caches } = await askCaches(peer.http)
    assert.equal(caches[0]?.items, 2 * part)
    assert.match(
      JSON.parse((await ask(peer.http, { path: '/readyz' })).body.toString()).reason,
      /synchronized with node-0/,
    )
    // What the node allocates once, it has allocated by now.
    memoryBefore = await memoryOf(target)
  }
  await until(
    'every one is counted, and none is left',
    async () => {
      const { handshake, flood } = await refusals(target)
      return handshake + flood === CONNECTIONS && open === 0
    },
    READY_WITHIN_MS,
  )
  const { flood } = await refusals(target)
  assert.ok(flood > CONNECTIONS / 2, `${flood} gave way`)
  const grownBytes = (await memoryOf(target)) - memoryBefore
  assert.ok(grownBytes < MEMORY_SLACK_BYTES, `memory grew by ${grownBytes} bytes`)
})
