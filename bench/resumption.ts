// Three nodes, each a process that ends TLS as well: clients whom a balancer sends to any of them at random
// resume while datagrams are lost, and a node that was killed answers for what was made on the others.

import { setTimeout as delay } from 'node:timers/promises'
import { createSecureContext, type SecureContext, type SecureVersion } from 'node:tls'
import { handshake } from '../test/support/tls-client.ts'
import { type ClusterNode, untilMet, withCluster } from './cluster.ts'
import type { NodeReport } from './cluster-node.ts'
import { GENERATOR_CPU, SERVER_CPU } from './pinned.ts'
import type { Row } from './table.ts'
import { medianOf } from './versus.ts'

const NODES = 3
const VERSIONS: readonly SecureVersion[] = ['TLSv1.2', 'TLSv1.3']
/** Share of the datagrams that each node loses of those it sends, and percent that may fail to resume. */
const LOSSES: readonly (readonly [loss: number, goal: number])[] = [
  [0, 0],
  [0.01, 0.1],
  [0.1, 0.5],
]
/** How often a client comes back, each time with the session it got last. */
const RETURNS = 4
/** From one visit of a client to its next. */
const AWAY_MS = 50
const CLIENTS_AT_ONCE = 32
const RESTART_SESSIONS = 20_000
const PUTS_PER_SEC = 20_000
const PUTS_PER_TURN = 50
const AWAIT_MS = 10_000
const RESTART_GOAL_SEC = 1

export async function benchResumption(isQuick: boolean): Promise<Row[]> {
  return [...(await resumption(isQuick ? 20 : 2500)), ...(await restart(isQuick ? 1 : 5))]
}

function resumption(clients: number): Promise<Row[]> {
  const sessions = LOSSES.length * clients * (1 + RETURNS)
  return withTrio(4 * sessions, async (nodes) => {
    const ports: number[] = []
    for (const node of nodes) ports.push((await node.order({ kind: 'terminate' })).tlsPort)
    const rows: Row[] = []
    const offered = clients * RETURNS
    for (const [loss, goal] of LOSSES) {
      for (const node of nodes) await node.order({ kind: 'lose', share: loss })
      const before = await repairedBy(nodes)
      const failed = offered - (await visitAll(ports, clients))
      const repaired = (await repairedBy(nodes)) - before
      rows.push(
        {
          what: `${NODES} nodes, any at random, ${loss * 100} % of datagrams lost: not resumed, ${failed} of ${offered}`,
          value: (failed / offered) * 100,
          unit: '%',
          goal,
        },
        { what: '  changes that were lost and asked for again', value: repaired, unit: '' },
      )
    }
    return rows
  })
}

async function repairedBy(nodes: readonly ClusterNode[]): Promise<number> {
  const reports = await Promise.all(nodes.map((node) => node.order({ kind: 'report' })))
  return reports.reduce((sum, { repaired }) => sum + repaired, 0)
}

/** So many clients, half of them with each version; how many of their handshakes resumed. */
async function visitAll(ports: readonly number[], clients: number): Promise<number> {
  const contexts = VERSIONS.map((version) =>
    createSecureContext({ minVersion: version, maxVersion: version }),
  )
  let resumed = 0
  let begun = 0
  const work = async () => {
    while (begun < clients) {
      const context = contexts[begun % contexts.length]
      begun += 1
      const times = await visit(ports, context)
      resumed += times
    }
  }
  await Promise.all(Array.from({ length: CLIENTS_AT_ONCE }, work))
  return resumed
}

/** A client that comes, and comes back, each time to any of the nodes; how often it resumed. */
async function visit(
  ports: readonly number[],
  secureContext: SecureContext | undefined,
): Promise<number> {
  let resumed = 0
  let session: Buffer | undefined
  for (let time = 0; time <= RETURNS; time += 1) {
    if (time > 0) await delay(AWAY_MS)
    const port = ports[Math.floor(Math.random() * ports.length)] ?? 0
    const made = await handshake(port, {
      rejectUnauthorized: false,
      // The answer comes behind the sessions of TLS 1.3.
      request: 'x',
      ...(secureContext !== undefined && { secureContext }),
      ...(session !== undefined && { session }),
    })
    if (made.received !== 'x') throw new Error('a connection ended before its answer')
    if (made.isReused) resumed += 1
    session = made.session
  }
  return resumed
}

/** One of three nodes is killed and begins again, without a session. */
function restart(rounds: number): Promise<Row[]> {
  return withTrio(RESTART_SESSIONS, async ([first, second, third], start) => {
    if (first === undefined || second === undefined || third === undefined)
      throw new Error('three nodes are needed')
    const each = RESTART_SESSIONS / 2
    for (const node of [first, second]) {
      await node.order({ kind: 'put', count: each, perSec: PUTS_PER_SEC, perTurn: PUTS_PER_TURN })
    }
    const everything = { kind: 'await', items: RESTART_SESSIONS, timeoutMs: AWAIT_MS } as const
    for (const node of [first, second, third]) await node.order(everything)
    const tookSec: number[] = []
    let missing = 0
    for (let round = 0; round < rounds; round += 1) {
      await third.crash()
      const { tookMs } = await start(2)
      tookSec.push(tookMs / 1000)
      for (const of of [0, 1]) {
        missing += each - (await third.order({ kind: 'find', of, count: each })).found
      }
    }
    const sessions = RESTART_SESSIONS.toLocaleString('en')
    return [
      {
        what: `a killed node answers again for ${sessions} sessions of two others, from before it listens`,
        value: medianOf(tookSec),
        unit: 's',
        spread: [Math.min(...tookSec), Math.max(...tookSec)],
        goal: RESTART_GOAL_SEC,
      },
      {
        what: `  of ${RESTART_SESSIONS * rounds} looked for on it then, missing`,
        value: missing,
        unit: '',
        goal: 0,
      },
    ]
  })
}

function withTrio(
  items: number,
  run: (
    nodes: readonly ClusterNode[],
    start: (number: number) => Promise<NodeReport>,
  ) => Promise<Row[]>,
): Promise<Row[]> {
  // One on the other processor, which has the clients, too.
  const cpus = [SERVER_CPU, SERVER_CPU, GENERATOR_CPU]
  return withCluster({ items, cpus }, async (nodes, start) => {
    await Promise.all(nodes.map((_, number) => start(number)))
    await untilMet(nodes)
    return run(nodes, start)
  })
}
