// `tlscached demo`: proves on this machine that a TLS session made on one node resumes on every other.

import { setTimeout as delay } from 'node:timers/promises'
import { Command, InvalidArgumentError } from 'commander'
import { messageOf } from '../base/errors.ts'
import { systemClock } from '../base/world.ts'
import { createClient } from '../tls-client/handshake.ts'
import { DemoCluster, type DemoNodeHandle } from './demo-cluster.ts'
import { type DemoCounts, formatReport, isAllResumed, toDocument } from './demo-report.ts'
import { FAILED } from './exit-codes.ts'
import { askCaches, askPeers } from './stats.ts'
import { Progress } from './terminal.ts'

const LIMIT_MS = 60_000
const HANDSHAKE_MS = 5000
/** Sessions made one after the other before they are offered to the other nodes. */
const BATCH = 10
/** Time that replication has, once per batch; no offer is ever repeated. */
const REPLICATION_MS = 20

const shakeHands = createClient(systemClock, {
  serverName: 'localhost',
  timeoutMs: HANDSHAKE_MS,
})
const REQUEST = { version: '1.2', takesTickets: true } as const

interface DemoOptions {
  readonly nodes: number
  readonly sessions: number
  readonly json?: boolean
}

interface MadeSession {
  /** Index of the node that made it. */
  readonly madeOn: number
  readonly session: Buffer
}

interface CountsSoFar {
  readonly resumed: number[][]
  readonly offered: number[][]
  readonly fullMs: number[]
  readonly resumedMs: number[]
}

export function demoCommand(): Command {
  return new Command('demo')
    .description('Start nodes with TLS terminators here, and resume sessions between them.')
    .option('--nodes <count>', 'number of nodes, each a process', between(2, 16), 3)
    .option('--sessions <count>', 'number of sessions to make', between(1, 100_000), 200)
    .option('--json', 'print one JSON document')
    .action(demo)
}

async function demo(options: DemoOptions): Promise<void> {
  const stopping = new AbortController()
  const onSignal = (signal: NodeJS.Signals) => stopping.abort(new Error(`stopped by ${signal}`))
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  const limit = AbortSignal.timeout(LIMIT_MS)
  const signal = AbortSignal.any([stopping.signal, limit])
  const cluster = new DemoCluster(signal)
  const progress = new Progress()
  try {
    await run(cluster, options, signal, progress)
  } catch (error) {
    const reason = limit.aborted ? `not done within ${LIMIT_MS / 1000} s` : messageOf(error)
    throw new Error(`demo: ${reason}`, { cause: error })
  } finally {
    progress.clear()
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
    await cluster.stop()
  }
}

async function run(
  cluster: DemoCluster,
  options: DemoOptions,
  signal: AbortSignal,
  progress: Progress,
): Promise<void> {
  progress.show(`starting ${options.nodes} nodes`)
  const nodes = await cluster.start(options.nodes, options.sessions)
  progress.clear()
  if (!options.json) {
    console.log(
      `${nodes.length} nodes with encrypted replication, each with its own TLS terminator:`,
      nodes.map((node) => node.name).join(', '),
    )
  }
  const onDone = (done: number) => progress.show('sessions offered:', done, options.sessions)
  const counts = await resumeEverywhere(nodes, options.sessions, signal, onDone)
  progress.clear()
  const answers = await Promise.all(
    nodes.map(async ({ name, http }) => ({
      name,
      caches: await askCaches(http),
      peers: await askPeers(http),
    })),
  )
  console.log(options.json ? toDocument(counts, answers) : formatReport(counts, answers))
  if (!isAllResumed(counts)) process.exitCode = FAILED
}

/** Makes sessions on the nodes in turn, and offers each to all the other nodes. */
async function resumeEverywhere(
  nodes: readonly DemoNodeHandle[],
  sessions: number,
  signal: AbortSignal,
  onDone: (sessions: number) => void,
): Promise<DemoCounts> {
  const matrix = () => nodes.map(() => nodes.map(() => 0))
  const counts = { resumed: matrix(), offered: matrix(), fullMs: [], resumedMs: [], sessions }
  for (let first = 0; first < sessions; first += BATCH) {
    const batch = await makeSessions(nodes, first, Math.min(first + BATCH, sessions), counts)
    await delay(REPLICATION_MS, undefined, { signal })
    for (const session of batch) {
      signal.throwIfAborted()
      await offerToOthers(nodes, session, counts)
    }
    onDone(first + batch.length)
  }
  return counts
}

async function makeSessions(
  nodes: readonly DemoNodeHandle[],
  first: number,
  end: number,
  counts: CountsSoFar,
): Promise<readonly MadeSession[]> {
  const batch: MadeSession[] = []
  for (let index = first; index < end; index += 1) {
    const madeOn = index % nodes.length
    const node = nodes[madeOn]
    if (node === undefined) continue
    const { durationMs, isResumed, session } = await shakeHands(node.tls, REQUEST)
    if (session === undefined) throw new Error(`${node.name} made no session`)
    if (!isResumed) counts.fullMs.push(durationMs)
    batch.push({ madeOn, session: session.bytes })
  }
  return batch
}

async function offerToOthers(
  nodes: readonly DemoNodeHandle[],
  { madeOn, session }: MadeSession,
  counts: CountsSoFar,
): Promise<void> {
  for (const [other, { tls }] of nodes.entries()) {
    if (other === madeOn) continue
    const { durationMs, isResumed } = await shakeHands(tls, { ...REQUEST, session })
    increment(counts.offered, madeOn, other)
    if (!isResumed) continue
    increment(counts.resumed, madeOn, other)
    counts.resumedMs.push(durationMs)
  }
}

function increment(matrix: number[][], row: number, column: number): void {
  const counts = matrix[row]
  if (counts !== undefined) counts[column] = (counts[column] ?? 0) + 1
}

function between(min: number, max: number): (text: string) => number {
  return (text) => {
    const count = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
    if (count >= min && count <= max) return count
    throw new InvalidArgumentError(`must be a whole number, ${min}..${max}`)
  }
}
