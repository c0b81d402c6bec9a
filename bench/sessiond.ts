// Gets over stunnel's sessiond protocol at 10,000 a second, while a peer sends 2,000 new sessions a second:
// stunnel waits less than 5 ms for an answer.

import { setTimeout as delay } from 'node:timers/promises'
import { systemRandom } from '../src/base/world.ts'
import { createNode } from '../src/node/node.ts'
import { generateKey } from '../src/wire/keyring.ts'
import { freePorts } from '../test/support/free-ports.ts'
import { encodeSession } from '../test/support/session-encoder.ts'
import { spawnNode } from './cluster.ts'
import { compileLoad } from './load-programs.ts'
import { GENERATOR_CPU } from './pinned.ts'
import { startNode } from './servers.ts'
import type { Row } from './table.ts'
import { medianOf } from './versus.ts'

const HOST = '127.0.0.1'
const GETS_PER_SEC = 10_000
const SESSIONS = 10_000
const PUTS_PER_SEC = 2000
const PUTS_PER_TURN = 4
const ITEMS = 200_000
const CACHES = [{ name: 'ssl', items: ITEMS, timeout: '1h' }]
/** The rest of each ID, after its number: as the load generator has it. */
const ID_FILL = 0x5a
const ID_BYTES = 32
const CONTEXT = Buffer.from('www')
const JOIN_MS = 1500
const ROUNDS = 9

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
  const [sessiond = 0, http = 0, replication = 0, peerPort = 0] = await freePorts(4)
  const key = generateKey(systemRandom)
  const address = `${HOST}:${replication}`
  const config = {
    node: { name: 'bench' },
    caches: CACHES,
    replication: { listen: address, keys: [key] },
    frontends: { http: `${HOST}:${http}`, sessiond: `${HOST}:${sessiond}` },
    log: { level: 'warn' },
  }
  // A huge page is zeroed as a whole when it is first written to, and gets wait meanwhile; installed, a node has none.
  const server = await startNode(http, config, { hasHugePages: false })
  // Not on the processor of the node that is asked, as a peer is another machine.
  const peer = spawnNode(GENERATOR_CPU)
  try {
    await fill(address, key)
    const listen = `${HOST}:${peerPort}`
    const setup = { number: 1, listen, peers: [address], key, items: ITEMS }
    await peer.order({ kind: 'start', setup })
    await delay(JOIN_MS)
    const reports: SessiondReport[] = []
    const seconds = isQuick ? 1 : 4
    const puts = { count: PUTS_PER_SEC * seconds, perSec: PUTS_PER_SEC, perTurn: PUTS_PER_TURN }
    const rounds = isQuick ? 1 : ROUNDS
    // The first one is of code that is not compiled yet, as no node runs for long.
    for (let round = isQuick ? 1 : 0; round <= rounds; round += 1) {
      const [report] = await Promise.all([
        runLoad([HOST, sessiond, GETS_PER_SEC, seconds, SESSIONS]),
        peer.order({ kind: 'put', ...puts }),
      ])
      if (round > 0) reports.push(report)
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
    await peer.stop()
    await server.stop()
  }
}

/** The sessions that are asked for, by replication. */
async function fill(address: string, key: string): Promise<void> {
  const node = createNode({
    node: { name: 'fill' },
    caches: CACHES,
    replication: { listen: `${HOST}:0`, peers: [address], keys: [key] },
    log: { level: 'error' },
  })
  await node.start()
  await delay(JOIN_MS)
  const hooks = node.hooks('ssl')
  for (let number = 0; number < SESSIONS; number += 1) {
    const id = Buffer.alloc(ID_BYTES, ID_FILL)
    id.writeUInt32LE(number)
    hooks.put({ context: CONTEXT, id, session: encodeSession({ id, context: CONTEXT }) })
    if (number % 100 === 0) await delay(1)
  }
  await delay(JOIN_MS)
  await node.stop()
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
