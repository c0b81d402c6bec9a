// Replication over loopback, encrypted, each node a process: latency when idle, sustained rate with nothing
// missing at the end, and puts with two peers.

import { type ChildProcess, fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { systemRandom } from '../src/base/world.ts'
import { type CacheNode, createNode } from '../src/node/node.ts'
import { MAX_DATAGRAM_BYTES } from '../src/wire/datagram.ts'
import { generateKey } from '../src/wire/keyring.ts'
import { GENERATOR_CPU, pin } from './pinned.ts'
import type { ReceiverOrder, ReceiverReport } from './replication-receiver.ts'
import { type Row, rowOf } from './table.ts'
import { quantileOf } from './versus.ts'

const RECEIVER = fileURLToPath(new URL('./replication-receiver.ts', import.meta.url))
const CONTEXT = Buffer.from('shop.example')
const SESSION = randomBytes(130)
const GOAL_PER_SEC = 200_000
/** A little more than the goal, so that pacing alone does not miss it. */
const TARGET_PER_SEC = 210_000
const MODERATE_PER_SEC = 100_000
const ROUNDS = 5
/** After each turn of puts, for the peers to take their share of the processors outside the measurement. */
export const PEERS_TURN_MS = 6
/** Puts before anything is measured, of those there is room for: a node that has been running is compiled. */
const WARM_UP_SHARE = 1 / 40
const WARM_UP_PER_TURN = 50
/** The default crosses every network, jumbo frames carry more, and loopback all that UDP has. */
const DATAGRAM_SIZES = [1400, 8192, MAX_DATAGRAM_BYTES] as const
const ID_BYTES = 32
/** Puts in one turn of the event loop, at most: what a busy terminator does between two looks at I/O. */
export const PUTS_PER_TURN = 500
const SETTLE_MS = 5000
const MEET_TIMEOUT_MS = 30_000
const MEET_PERIOD_MS = 20
/** While nothing else is to do. */
export const BETWEEN_PUTS_MS = 3

export async function benchReplication(isQuick: boolean): Promise<Row[]> {
  const rows: Row[] = []
  for (const datagramBytes of DATAGRAM_SIZES) {
    const measured = await benchWith(datagramBytes, isQuick)
    rows.push(...measured.map((row) => ({ ...row, what: `${row.what}, ${datagramBytes} B` })))
  }
  return rows
}

async function benchWith(datagramBytes: number, isQuick: boolean): Promise<Row[]> {
  const seconds = isQuick ? 0.5 : 10
  const rounds = isQuick ? 1 : ROUNDS
  // Room for what is put, and some.
  const items = TARGET_PER_SEC * seconds * 1.5
  const shared = { key: generateKey(systemRandom), items, datagramBytes }
  const between = <Result>(
    name: string,
    measure: (sender: CacheNode, b: ChildProcess) => Promise<Result>,
  ) =>
    withReceivers(shared, [name], ([receiver]) => {
      if (receiver === undefined) throw new Error('no receiver')
      return withSender(shared, [receiver], (sender) => measure(sender, receiver.child))
    })
  const rows = await between('b', async (sender, b) => [
    ...(await latency(sender, b, isQuick ? 100 : 2000)),
    ...sustainedRows(MODERATE_PER_SEC, [await sustained(sender, b, seconds, MODERATE_PER_SEC)]),
  ])
  // Each of these with nodes that hold nothing yet: the next sessions find the memory as the first ones did.
  const all: Sustained[] = []
  for (let round = 0; round < rounds; round += 1) {
    all.push(await between('c', (sender, c) => sustained(sender, c, seconds, TARGET_PER_SEC)))
  }
  rows.push(...sustainedRows(TARGET_PER_SEC, all))
  const puts = await withReceivers(shared, ['d', 'e'], (receivers) => {
    // What a put takes of its caller's time: on machines of their own peers would take none of it.
    for (const { child } of receivers) pin(GENERATOR_CPU, child.pid)
    return withSender(shared, receivers, (sender) =>
      putRate(sender, rounds, isQuick ? 20_000 : 200_000),
    )
  })
  return [...rows, puts]
}

export interface SenderWithPeers {
  visibleAfterMs(count: number): Promise<number[]>
  /** A multiple of PUTS_PER_TURN. */
  putsPerSec(count: number): Promise<number>
}

/** Runs with a node that has two peers, each in a process of its own. */
export function withTwoPeers<Result>(
  items: number,
  run: (sender: SenderWithPeers) => Promise<Result>,
): Promise<Result> {
  const shared = { key: generateKey(systemRandom), items, datagramBytes: DATAGRAM_SIZES[0] }
  return withReceivers(shared, ['b', 'c'], (receivers) =>
    withSender(shared, receivers, (sender) => {
      const [first] = receivers
      if (first === undefined) throw new Error('no receiver')
      return run({
        visibleAfterMs: (count) => visibleAfterMs(sender, first.child, count),
        putsPerSec: (count) => putsPerSec(sender, count),
      })
    }),
  )
}

async function withReceivers<Result>(
  shared: Shared,
  names: readonly string[],
  run: (receivers: readonly Receiver[]) => Promise<Result>,
): Promise<Result> {
  const receivers = await Promise.all(names.map((name) => startReceiver(name, shared)))
  try {
    return await run(receivers)
  } finally {
    for (const { child } of receivers) child.disconnect()
  }
}

interface Shared {
  readonly key: string
  readonly items: number
  readonly datagramBytes: number
}

interface Receiver {
  readonly child: ChildProcess
  readonly address: string
}

async function startReceiver(name: string, shared: Shared): Promise<Receiver> {
  const child = fork(RECEIVER, { stdio: 'inherit' })
  const { address } = await order(child, { kind: 'start', setup: { name, ...shared } })
  return { child, address }
}

async function order(child: ChildProcess, what: ReceiverOrder): Promise<ReceiverReport> {
  const answer = once(child, 'message')
  child.send(what)
  const [report]: ReceiverReport[] = await answer
  if (report === undefined) throw new Error('no answer')
  return report
}

async function withSender<Result>(
  { key, items, datagramBytes }: Shared,
  receivers: readonly Receiver[],
  run: (sender: CacheNode) => Promise<Result>,
): Promise<Result> {
  const sender = createNode({
    node: { name: `a${receivers.length}` },
    caches: [{ name: 'ssl', items, timeout: '1h' }],
    replication: {
      listen: '127.0.0.1:0',
      peers: receivers.map(({ address }) => address),
      keys: [key],
      max_datagram: datagramBytes,
    },
    log: { level: 'error' },
  })
  await sender.start()
  try {
    await untilTaken(sender, receivers)
    await warmUp(sender, items * WARM_UP_SHARE)
    return await run(sender)
  } finally {
    await sender.stop()
  }
}

/** Until the receivers take our changes, as they do once we answered them. */
async function untilTaken(sender: CacheNode, receivers: readonly Receiver[]): Promise<void> {
  const untilMs = performance.now() + MEET_TIMEOUT_MS
  for (;;) {
    const reports = await Promise.all(
      receivers.map(({ child }) => order(child, { kind: 'report', numbers: 0 })),
    )
    const isTaken = reports.every(({ verifiedPeers }) => verifiedPeers > 0)
    if (isTaken && sender.readiness().isReady) return
    if (performance.now() > untilMs) throw new Error('the receivers do not find the sender')
    await delay(MEET_PERIOD_MS)
  }
}

function putter(sender: CacheNode): (number: number) => void {
  const hooks = sender.hooks('ssl')
  const id = randomBytes(ID_BYTES)
  return (number) => {
    id.writeUInt32LE(number)
    hooks.put({ context: CONTEXT, id, session: SESSION })
  }
}

/** As busy as a large terminator, so that nothing is lost. */
async function warmUp(sender: CacheNode, puts: number): Promise<void> {
  const put = putter(sender)
  for (let made = 0; made < puts; made += WARM_UP_PER_TURN) {
    for (let count = 0; count < WARM_UP_PER_TURN; count += 1) put(made + count)
    await delay(1)
  }
}

async function latency(sender: CacheNode, receiver: ChildProcess, count: number): Promise<Row[]> {
  const took = await visibleAfterMs(sender, receiver, count)
  const at = (share: number) => quantileOf(took, share)
  return [
    { what: 'put on A visible on B, idle, p50', value: at(0.5), unit: 'ms', goal: 0.2 },
    { what: 'put on A visible on B, idle, p99', value: at(0.99), unit: 'ms', goal: 2 },
  ]
}

/** One put after the other: how long until the receiver had it, of those that it got. */
async function visibleAfterMs(
  sender: CacheNode,
  receiver: ChildProcess,
  count: number,
): Promise<number[]> {
  await order(receiver, { kind: 'clear' })
  const put = putter(sender)
  const putMs: number[] = []
  for (let number = 0; number < count; number += 1) {
    putMs.push(Number(process.hrtime.bigint()) / 1e6)
    put(number)
    await delay(BETWEEN_PUTS_MS)
  }
  await delay(100)
  const { arrivedMs } = await order(receiver, { kind: 'report', numbers: count })
  return arrivedMs.map((ms, number) => ms - (putMs[number] ?? 0)).filter((ms) => ms > 0)
}

interface Sustained {
  readonly perSec: number
  readonly missing: number
}

async function sustained(
  sender: CacheNode,
  receiver: ChildProcess,
  seconds: number,
  perSec: number,
): Promise<Sustained> {
  await order(receiver, { kind: 'clear' })
  const put = putter(sender)
  const startMs = performance.now()
  const total = perSec * seconds
  let made = 0
  while (made < total) {
    const due = Math.min(total, ((performance.now() - startMs) / 1000) * perSec)
    for (let count = 0; count < PUTS_PER_TURN && made < due; count += 1) {
      put(made)
      made += 1
    }
    await nextTurn()
  }
  const tookSec = (performance.now() - startMs) / 1000
  const untilMs = performance.now() + SETTLE_MS
  let { received } = await order(receiver, { kind: 'report', numbers: 0 })
  while (received < total && performance.now() < untilMs) {
    await delay(50)
    received = (await order(receiver, { kind: 'report', numbers: 0 })).received
  }
  return { perSec: made / tookSec, missing: total - received }
}

/** Missing is the worst round's. */
function sustainedRows(perSec: number, rounds: readonly Sustained[]): Row[] {
  const what = `sustained, ${perSec}/s wanted`
  const goal = perSec >= GOAL_PER_SEC ? GOAL_PER_SEC : undefined
  const rates = rounds.map((round) => round.perSec)
  const missing = Math.max(...rounds.map((round) => round.missing))
  return [
    rowOf(what, 'sessions/s', rates, goal),
    { what: `${what}: missing at the end`, value: missing, unit: '', goal: 0 },
  ]
}

async function putRate(sender: CacheNode, rounds: number, count: number): Promise<Row> {
  const rates: number[] = []
  for (let round = 0; round < rounds; round += 1) rates.push(await putsPerSec(sender, count))
  return rowOf(
    'put with 2 peers, in process, sealing and sending included',
    '/s',
    rates,
    GOAL_PER_SEC,
  )
}

async function putsPerSec(sender: CacheNode, count: number): Promise<number> {
  const put = putter(sender)
  let putMs = 0
  for (let made = 0; made < count; made += PUTS_PER_TURN) {
    const startMs = performance.now()
    for (let number = made; number < made + PUTS_PER_TURN; number += 1) put(number)
    putMs += performance.now() - startMs
    await delay(PEERS_TURN_MS)
  }
  return (count / putMs) * 1000
}
