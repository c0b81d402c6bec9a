// A running node under 100,000 random and mutated datagrams: nothing is stored, nothing answered, every
// one is counted by reason, its memory stays as it is, and it still serves.

import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseHostAddress } from '../../src/base/address.ts'
import { systemRandom } from '../../src/base/world.ts'
import { askCaches } from '../../src/cli/stats.ts'
import { ChangeBatch } from '../../src/wire/changes.ts'
import { createIdentity } from '../../src/wire/identity.ts'
import { generateKey, parseKeyring } from '../../src/wire/keyring.ts'
import { Sealer } from '../../src/wire/seal.ts'
import { freeAddresses } from '../support/free-ports.ts'
import { ask } from '../support/http.ts'
import { until } from '../support/latch.ts'
import { type NodeProcess, startServe, stopProcess } from '../support/node-processes.ts'
import { seededBytes, seededNumbers } from '../support/seeded-random.ts'

const DATAGRAMS = 100_000
/** So many at once never overrun the receive buffer of a socket. */
const BURST = 100
/** What a garbage collector may leave lying about; 100,000 datagrams have 50 MB. */
const MEMORY_SLACK_BYTES = 24 * 1024 * 1024
const SESSION_PATH = `/v1/caches/ssl/sessions/${'5e'.repeat(32)}?context=shop`

const bytes = seededBytes('flood bytes')
const number = seededNumbers('flood numbers')
const below = (limit: number) => Math.floor(number() * limit)

test('100,000 datagrams of garbage leave a running node as it was', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-flood-'))
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const [listen = ''] = await freeAddresses(1)
  const key = generateKey(systemRandom)
  const node = await startServe(folder, {
    node: { name: 'flooded' },
    replication: { listen, keys: [key] },
    log: { level: 'error' },
  })
  t.after(async () => {
    socket.close()
    await stopProcess(node.child)
    rmSync(folder, { recursive: true })
  })
  let answers = 0
  socket.on('message', () => {
    answers += 1
  })
  const body = bytes(130)
  assert.equal((await ask(node.http, { method: 'PUT', path: SESSION_PATH, body })).status, 201)

  const samples = sealedSamples(key)
  const { host, port } = parseHostAddress(listen)
  let sent = 0
  const flood = async (count: number) => {
    for (const end = sent + count; sent < end; ) {
      for (let burst = 0; burst < BURST; burst += 1) socket.send(garbage(samples), port, host)
      sent += BURST
      await until(
        `${sent} datagrams are counted`,
        async () => (await readDrops(node)).total === sent,
      )
    }
  }
  // What the node allocates once, it allocates for the first tenth.
  await flood(DATAGRAMS / 10)
  const memoryBefore = await readMemory(node)
  await flood((DATAGRAMS / 10) * 9)

  const drops = await readDrops(node)
  assert.equal(drops.total, DATAGRAMS)
  assert.equal(drops.byReason.get('malformed') ?? 0, DATAGRAMS - unauthenticatedOf(drops))
  assert.ok(unauthenticatedOf(drops) > DATAGRAMS / 10)
  assert.ok(DATAGRAMS - unauthenticatedOf(drops) > DATAGRAMS / 10)
  const grownBytes = (await readMemory(node)) - memoryBefore
  assert.ok(grownBytes < MEMORY_SLACK_BYTES, `memory grew by ${grownBytes} bytes`)
  assert.equal(answers, 0)
  const { caches } = await askCaches(node.http)
  assert.equal(caches[0]?.items, 1)
  assert.deepEqual((await ask(node.http, { path: SESSION_PATH })).body, body)
})

/** Authentic datagrams of a stranger who has the key. */
function sealedSamples(key: string): Buffer[] {
  const identity = createIdentity('stranger', systemRandom)
  const sealer = new Sealer(identity, { current: parseKeyring(key) })
  return Array.from({ length: 100 }, (_, index) => {
    const batch = new ChangeBatch(1352, identity.origin)
    const id = bytes(32)
    const session = bytes(1 + below(1000))
    const version = { clock: index + 1, origin: identity.origin }
    const common = { cache: 'ssl', id, ttlMs: 60_000, version }
    batch.add({ kind: 'put', ...common, context: bytes(4), serverName: '', session })
    return sealer.seal('changes', Buffer.from(batch.take(1)))
  })
}

function garbage(samples: readonly Buffer[]): Buffer {
  const datagram = Buffer.from(samples[below(samples.length)] ?? [])
  switch (below(4)) {
    case 0:
      return bytes(below(1400))
    case 1:
      return datagram.subarray(0, below(datagram.length))
    case 2:
      return Buffer.concat([datagram, bytes(1 + below(40))])
    default: {
      const at = below(datagram.length)
      datagram[at] = (datagram[at] ?? 0) ^ (1 + below(255))
      return datagram
    }
  }
}

interface Drops {
  readonly byReason: ReadonlyMap<string, number>
  readonly total: number
}

async function readDrops(node: NodeProcess): Promise<Drops> {
  const text = await readMetrics(node)
  const lines = text.matchAll(/^tlscached_replication_dropped_total\{reason="(\w+)"\} (\d+)$/gm)
  const byReason = new Map([...lines].map(([, reason = '', count]) => [reason, Number(count)]))
  return { byReason, total: [...byReason.values()].reduce((sum, count) => sum + count, 0) }
}

function unauthenticatedOf(drops: Drops): number {
  const { byReason } = drops
  return (byReason.get('unauthenticated') ?? 0) + (byReason.get('throttled') ?? 0)
}

async function readMemory(node: NodeProcess): Promise<number> {
  const match = /^process_resident_memory_bytes (\S+)$/m.exec(await readMetrics(node))
  return Number(match?.[1])
}

async function readMetrics(node: NodeProcess): Promise<string> {
  return (await ask(node.http, { path: '/metrics' })).body.toString()
}
