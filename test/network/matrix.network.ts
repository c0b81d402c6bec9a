// The network matrix: five nodes on five hosts over a network that loses, doubles, reorders and delays.
// MATRIX_SEC sets the seconds of load per row, MATRIX_ROWS the rows by their numbers.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import Table from 'cli-table3'
import { systemRandom } from '../../src/base/world.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import { until } from '../support/latch.ts'
import { NetworkNamespaces, whyNoNamespaces } from '../support/network-namespaces.ts'
import { askAll, HOST_STDIO, HostProcess } from './host-process.ts'
import { type Impairment, netemOf } from './impairment.ts'
import {
  type Command,
  type HostSetup,
  type HostStatus,
  type Load,
  type LoadResult,
  monotonicMs,
} from './matrix-commands.ts'

const HOSTS = 5
const SEC_PER_ROW = Number(process.env['MATRIX_SEC'] ?? 20)
const CHOSEN = process.env['MATRIX_ROWS']?.split(',').map(Number)
const PUTS_PER_SEC = 1000
const SESSION_BYTES = 130
/** So that six of them make a datagram that is too large for the tunnel of the last row. */
const BURST_SESSION_BYTES = 150
const WAIT_MS = 50
const COMPLETE_WITHIN_MS = 2000
const PROGRAM = fileURLToPath(new URL('matrix-host.ts', import.meta.url))
const TSX = import.meta.resolve('tsx')

type Host = HostProcess<Command>

interface Row {
  readonly name: string
  readonly impairment: Impairment
  /** Share of the sessions that a read on another host must find in time. */
  readonly bar: number
  /** So many sessions at once instead of a steady load. */
  readonly burst?: number
}

const ROWS: readonly Row[] = [
  { name: 'loss 0 %', impairment: {}, bar: 1 },
  { name: 'loss 1 %', impairment: { loss: 0.01 }, bar: 0.999 },
  { name: 'loss 5 %', impairment: { loss: 0.05 }, bar: 0.997 },
  { name: 'loss 10 %', impairment: { loss: 0.1 }, bar: 0.995 },
  { name: 'loss 30 %', impairment: { loss: 0.3 }, bar: 0.98 },
  { name: 'reordering 25 %', impairment: { reordering: 0.25, delayMs: 10 }, bar: 1 },
  { name: 'duplication 10 %', impairment: { duplication: 0.1 }, bar: 1 },
  { name: 'delay 20 ms +- 10 ms', impairment: { delayMs: 20, jitterMs: 10 }, bar: 1 },
  { name: 'burst through a tunnel', impairment: { maxBytes: 1232 }, bar: 0, burst: 400 },
]

async function missingNow(hosts: readonly Host[], load: Load): Promise<number> {
  const answers = await askAll<Command, { missing: number }>(hosts, { do: 'missing', load })
  return answers.reduce((sum, { missing }) => sum + missing, 0)
}

interface Late {
  readonly all: number
  /** While neither of the two hosts was stalled by the machine. */
  readonly awake: number
}

/** How many sessions were looked for in vain when they should have been there. */
function countLate(results: readonly LoadResult[], load: Load): Late {
  const putMs = new Map(results.flatMap((result) => result.putMs))
  assert.equal(putMs.size, load.sessions)
  let all = 0
  let awake = 0
  for (const reader of results) {
    for (const [session, missMs] of reader.missMs) {
      const fromMs = putMs.get(session) ?? 0
      if (missMs < fromMs + load.waitMs) continue
      all += 1
      const hosts = [reader, results[session % HOSTS]]
      const wasStalled = hosts.some((host) =>
        host?.stallsMs.some(([start, end]) => start < missMs && end > fromMs),
      )
      if (!wasStalled) awake += 1
    }
  }
  return { all, awake }
}

function sumOf(statuses: readonly HostStatus[], field: 'repaired' | 'lost' | 'datagramsSent') {
  return statuses.reduce((sum, status) => sum + status[field], 0)
}

test('the network matrix', { skip: whyNoNamespaces() }, async (t) => {
  const network = new NetworkNamespaces('tlscm', HOSTS)
  const hosts: Host[] = []
  t.after(async () => {
    await Promise.all(hosts.map((host) => host.stop()))
    network.remove()
  })
  const addresses = network.hosts.map(({ address }) => `${address}:7171`)
  const keys = [generateKey(systemRandom)]
  for (const [number, { name }] of network.hosts.entries()) {
    const setup: HostSetup = { number, addresses, keys }
    const args = ['--import', TSX, PROGRAM, JSON.stringify(setup)]
    hosts.push(new HostProcess(network.spawn(name, process.execPath, args, HOST_STDIO)))
  }
  await until('all hosts know each other', async () => {
    const statuses = await askAll<Command, HostStatus>(hosts, { do: 'status' })
    return statuses.every(({ verifiedPeers }) => verifiedPeers === HOSTS - 1)
  })
  const hasNetem = network.hasNetem()
  const impair = async (impairment: Impairment) => {
    if (hasNetem && impairment.maxBytes === undefined)
      for (const { name } of network.hosts) network.setNetem(name, netemOf(impairment))
    else await askAll<Command, object>(hosts, { do: 'impair', impairment })
  }

  const table = new Table({
    style: { head: [], border: [] },
    head: [
      'network',
      'found in time',
      'with hosts awake',
      'bar',
      'all there after',
      'missing',
      'repaired',
      'lost',
      'datagrams',
    ],
  })
  // Unmeasured: the first second of a program is spent on compiling it.
  const warmUp = {
    row: 'warm-up',
    sessions: PUTS_PER_SEC,
    everyMs: 1000 / PUTS_PER_SEC,
    sessionBytes: SESSION_BYTES,
  }
  await askAll<Command, LoadResult>(hosts, {
    do: 'load',
    load: { ...warmUp, startMs: monotonicMs(), waitMs: WAIT_MS },
  })
  const rows = ROWS.filter((_, index) => CHOSEN === undefined || CHOSEN.includes(index + 1))
  for (const { name, impairment, bar, burst } of rows) {
    await t.test(`${name}: at least ${100 * bar} % in time, nothing missing`, async () => {
      await impair(impairment)
      const before = await askAll<Command, HostStatus>(hosts, { do: 'status' })
      const load: Load = {
        row: name,
        sessions: burst ?? SEC_PER_ROW * PUTS_PER_SEC,
        everyMs: burst === undefined ? 1000 / PUTS_PER_SEC : 0,
        sessionBytes: burst === undefined ? SESSION_BYTES : BURST_SESSION_BYTES,
        startMs: monotonicMs() + 100,
        waitMs: WAIT_MS + (impairment.delayMs ?? 0),
      }
      const results = await askAll<Command, LoadResult>(hosts, { do: 'load', load })
      const lastPutMs = Math.max(...results.map(({ putMs }) => putMs.at(-1)?.[1] ?? 0))
      const late = countLate(results, load)
      let missing = await missingNow(hosts, load)
      while (missing > 0 && monotonicMs() - lastPutMs < COMPLETE_WITHIN_MS) {
        missing = await missingNow(hosts, load)
      }
      const completeMs = monotonicMs() - lastPutMs
      const after = await askAll<Command, HostStatus>(hosts, { do: 'status' })
      const since = (field: Parameters<typeof sumOf>[1]) =>
        sumOf(after, field) - sumOf(before, field)
      const found = 1 - late.all / load.sessions
      const foundAwake = 1 - late.awake / load.sessions
      table.push([
        name,
        `${(100 * found).toFixed(2)} %`,
        `${(100 * foundAwake).toFixed(2)} %`,
        `${100 * bar} %`,
        `${completeMs.toFixed(0)} ms`,
        missing,
        since('repaired'),
        since('lost'),
        since('datagramsSent'),
      ])
      await impair({})
      assert.equal(missing, 0)
      assert.ok(foundAwake >= bar, `${(100 * foundAwake).toFixed(2)} % found in time`)
    })
  }
  const how = hasNetem ? 'by netem' : 'in the sockets, as this kernel has no netem'
  process.stdout.write(`impaired ${how}\n${table.toString()}\n`)
})
