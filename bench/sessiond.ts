// Gets over stunnel's sessiond protocol at 10,000 a second, while a peer sends 2,000 new sessions a second:
// stunnel waits less than 5 ms for an answer.

import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { systemRandom } from '../src/base/random.ts'
import { createNode } from '../src/node/node.ts'
import { generateKey } from '../src/wire/keyring.ts'
import { freePorts } from '../test/support/free-ports.ts'
import { encodeSession } from '../test/support/session-encoder.ts'
import { compileLoad } from './load-programs.ts'
import { startNode } from './servers.ts'
import type { Row } from './table.ts'
import { medianOf } from './versus.ts'

const HOST = '127.0.0.1'
const GETS_PER_SEC = 10_000
const SESSIONS = 10_000
const PUTS_PER_TICK = 4
const TICK_MS = 2
const ITEMS = 200_000
/** The rest of each ID, after its number: as the load generator has it. */
const ID_FILL = 0x5a
const ID_BYTES = 32
const CONTEXT = Buffer.from('www')
const JOIN_MS = 1500

interface SessiondReport {
  readonly sent: number
  readonly answered: number
  readonly missed: number
  readonly p50Us: number
  readonly p99Us: number
  readonly p999Us: number
}

export async function benchSessiond(isQuick: boolean): Promise<Row[]> {
  const runLoad = await compileLoad<SessiondReport>('sessiond-load')
  const [sessiond = 0, http = 0, replication = 0] = await freePorts(3)
  const keys = [generateKey(systemRandom)]
  const caches = [{ name: 'ssl', items: ITEMS, timeout: '1h' }]
  const server = await startNode(http, {
    node: { name: 'bench' },
    caches,
    replication: { listen: `${HOST}:${replication}`, keys },
    frontends: { http: `${HOST}:${http}`, sessiond: `${HOST}:${sessiond}` },
    log: { level: 'warn' },
  } as { node: { name: string } })
  const peer = createNode({
    node: { name: 'peer' },
    caches,
    replication: { listen: `${HOST}:0`, peers: [`${HOST}:${replication}`], keys },
    log: { level: 'error' },
  })
  await peer.start()
  const hooks = peer.hooks('ssl')
  const session = randomBytes(130)
  await delay(JOIN_MS)
  for (let number = 0; number < SESSIONS; number += 1) {
    const id = Buffer.alloc(ID_BYTES, ID_FILL)
    id.writeUInt32LE(number)
    hooks.put(CONTEXT, id, encodeSession({ id, context: CONTEXT }))
    if (number % 100 === 0) await delay(1)
  }
  const putting = setInterval(() => {
    for (let count = 0; count < PUTS_PER_TICK; count += 1)
      hooks.put(Buffer.alloc(0), randomBytes(32), session)
  }, TICK_MS)
  try {
    await delay(JOIN_MS)
    const reports: SessiondReport[] = []
    for (let round = 0; round < (isQuick ? 1 : 5); round += 1) {
      reports.push(await runLoad([HOST, sessiond, GETS_PER_SEC, isQuick ? 1 : 4, SESSIONS]))
    }
    const sent = sum(reports.map((report) => report.sent))
    const unanswered = sent - sum(reports.map((report) => report.answered))
    const misses = sum(reports.map((report) => report.missed))
    return [
      latencyRow('p50', reports, (report) => report.p50Us),
      latencyRow('p99', reports, (report) => report.p99Us),
      { ...latencyRow('p99.9', reports, (report) => report.p999Us), goal: 4 },
      { what: `of ${sent} gets, not answered`, value: unanswered, unit: '', goal: 0 },
      { what: `of ${sent} gets, answered with a miss`, value: misses, unit: '', goal: 0 },
    ]
  } finally {
    clearInterval(putting)
    await peer.stop()
    await server.stop()
  }
}

function latencyRow(
  name: string,
  reports: readonly SessiondReport[],
  of: (report: SessiondReport) => number,
): Row {
  const values = reports.map((report) => of(report) / 1000)
  return {
    what: `sessiond get at ${GETS_PER_SEC} a second, ${name}`,
    value: medianOf(values),
    unit: 'ms',
    spread: [Math.min(...values), Math.max(...values)],
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
