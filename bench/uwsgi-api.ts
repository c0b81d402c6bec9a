// In process beside uWSGI's Python API: gets and puts alone, puts with two peers, and how soon a put on one node is
// visible on another. Three real uWSGI nodes, and three of ours; ours encrypt.

import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freeAddresses } from '../test/support/free-ports.ts'
import { type LiveUwsgi, startUwsgi, stopUwsgi, UWSGI } from '../test/support/live-uwsgi.ts'
import { whyWithout } from '../test/support/programs.ts'
import {
  BETWEEN_PUTS_MS,
  PEERS_TURN_MS,
  PUTS_PER_TURN,
  type SenderWithPeers,
  withTwoPeers,
} from './replication.ts'
import { storeRates } from './store.ts'
import type { Row } from './table.ts'
import { medianOf, pairRows, quantileOf } from './versus.ts'

const HERE = fileURLToPath(new URL('.', import.meta.url))
/** Without peers, as section 8 of the design has it. */
const ITEMS = 20_000
/** For the puts of all rounds, as uWSGI refuses what does not fit; about 4 KiB each. */
const SHARED_ITEMS = 60_000
/** In one round, with peers. */
const PUTS = 10_000
/** The other one is looking by then. */
const WATCH_MS = 200

export async function benchUwsgiApi(isQuick: boolean): Promise<Row[]> {
  const missing = whyWithout(UWSGI)
  if (missing !== false) {
    console.error(`uWSGI's API: not measured: ${missing}`)
    return []
  }
  const rounds = isQuick ? 1 : 5
  const watched = isQuick ? 200 : 1000
  return withUwsgis((sender, receiver) =>
    withTwoPeers(10 * SHARED_ITEMS, async (ours) => {
      const firstPutsPerSec = await warmUp(sender, rounds * (watched + PUTS))
      return [
        ...(await visibility(ours, sender, receiver, rounds, watched)),
        ...(await rates(sender, rounds)),
        { what: '  uWSGI, into memory that is new to it', value: firstPutsPerSec, unit: '/s' },
        ...(await putsWithPeers(ours, sender, rounds)),
      ]
    }),
  )
}

/**
 * Writes once to all memory that uWSGI will use: it is slow the first time, and a node runs for long. Returns the
 * rate of the first puts, per second.
 */
async function warmUp(uwsgi: LiveUwsgi, puts: number): Promise<number> {
  const [measured] = await uwsgi.call(
    ['bench_rates', ITEMS, 'alone'],
    ['bench_puts', puts, PUTS_PER_TURN, PEERS_TURN_MS, 'shared'],
    ['cache_clear', 'shared'],
  )
  return numbersOf(measured)[0] ?? Number.NaN
}

async function visibility(
  ours: SenderWithPeers,
  sender: LiveUwsgi,
  receiver: LiveUwsgi,
  rounds: number,
  count: number,
): Promise<Row[]> {
  const ourMs: number[][] = []
  const theirMs: number[][] = []
  for (let round = 0; round < rounds; round += 1) {
    ourMs.push(await ours.visibleAfterMs(count))
    theirMs.push(await theirVisibleAfterMs(sender, receiver, count))
  }
  const rowsAt = (name: string, share: number) =>
    pairRows(
      `put on A visible on B, idle, ${name}`,
      'ms',
      ourMs.map((took) => quantileOf(took, share)),
      {
        name: 'uWSGI, B looking all the time',
        values: theirMs.map((took) => quantileOf(took, share)),
      },
    )
  const missing = (all: readonly number[][]) => rounds * count - all.flat().length
  return [
    ...rowsAt('p50', 0.5),
    ...rowsAt('p99', 0.99),
    { what: `of ${rounds * count}, not seen on B: ours`, value: missing(ourMs), unit: '' },
    { what: `of ${rounds * count}, not seen on B: uWSGI`, value: missing(theirMs), unit: '' },
  ]
}

async function theirVisibleAfterMs(
  sender: LiveUwsgi,
  receiver: LiveUwsgi,
  count: number,
): Promise<number[]> {
  const series = randomBytes(32)
  const watching = receiver.call(['bench_watch', series, count, 'shared'])
  await delay(WATCH_MS)
  const [put] = await sender.call(['bench_paced_puts', series, count, BETWEEN_PUTS_MS, 'shared'])
  const [seen] = await watching
  const seenMs = numbersOf(seen)
  return numbersOf(put).flatMap((ms, number) => {
    const at = seenMs[number] ?? 0
    return at > 0 ? [at - ms] : []
  })
}

async function rates(uwsgi: LiveUwsgi, rounds: number): Promise<Row[]> {
  const our: Rates = { put: [], inOrder: [], atRandom: [] }
  const their: Rates = { put: [], inOrder: [], atRandom: [] }
  for (let round = 0; round < rounds; round += 1) {
    // Several in one process: a node that has been running is compiled.
    const result = await storeRates(ITEMS, rounds)
    our.put.push(medianOf(result.putsPerSec))
    our.inOrder.push(medianOf(result.getsInOrderPerSec))
    our.atRandom.push(medianOf(result.getsAtRandomPerSec))
    const [measured] = await uwsgi.call(['bench_rates', ITEMS, 'alone'])
    const [put = 0, inOrder = 0, atRandom = 0] = numbersOf(measured)
    their.put.push(put)
    their.inOrder.push(inOrder)
    their.atRandom.push(atRandom)
  }
  const rowsOf = (what: string, of: keyof Rates) =>
    pairRows(`${what}, ${ITEMS} items, in process`, '/s', our[of], {
      name: 'uWSGI',
      values: their[of],
    })
  return [
    ...rowsOf('get uniformly at random', 'atRandom'),
    ...rowsOf('get in the order of the puts', 'inOrder'),
    ...rowsOf('put without peers', 'put'),
  ]
}

interface Rates {
  readonly put: number[]
  readonly inOrder: number[]
  readonly atRandom: number[]
}

async function putsWithPeers(
  ours: SenderWithPeers,
  uwsgi: LiveUwsgi,
  rounds: number,
): Promise<Row[]> {
  const our: number[] = []
  const their: number[] = []
  for (let round = 0; round < rounds; round += 1) {
    our.push(await ours.putsPerSec(PUTS))
    const call = ['bench_puts', PUTS, PUTS_PER_TURN, PEERS_TURN_MS, 'shared'] as const
    const [measured] = await uwsgi.call(call)
    their.push(Number(measured))
  }
  const theirs = { name: 'uWSGI, in clear', values: their }
  return pairRows('put with 2 peers, in process', '/s', our, theirs)
}

/** A sender with two peers, and the first of these. */
async function withUwsgis<Result>(
  run: (sender: LiveUwsgi, receiver: LiveUwsgi) => Promise<Result>,
): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-bench-uwsgi-'))
  const [first = '', second = ''] = await freeAddresses(2)
  const shared = (items: number) => `cache2 = name=shared,items=${items},keysize=128,blocksize=4096`
  const started: LiveUwsgi[] = []
  const start = async (name: string, ...lines: readonly string[]) => {
    const loops = [`pythonpath = ${HERE}`, 'pyimport = uwsgi_loops']
    const uwsgi = await startUwsgi(folder, name, [...loops, ...lines])
    started.push(uwsgi)
    return uwsgi
  }
  try {
    // Peers keep what the sender clears after its warm-up.
    const receiver = await start('b', `${shared(2 * SHARED_ITEMS)},udp=${first}`)
    await start('c', `${shared(2 * SHARED_ITEMS)},udp=${second}`)
    const alone = `cache2 = name=alone,items=${ITEMS + 1},keysize=128,blocksize=4096`
    const sender = await start('a', alone, `${shared(SHARED_ITEMS)},node=${first};${second}`)
    return await run(sender, receiver)
  } finally {
    await Promise.all(started.map(stopUwsgi))
    rmSync(folder, { recursive: true })
  }
}

function numbersOf(answer: unknown): number[] {
  if (!Array.isArray(answer)) throw new Error('no list of numbers')
  return answer.map(Number)
}
