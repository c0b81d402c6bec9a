// Beside uWSGI: a flood of its datagrams, and memory per session with the configuration of its documentation,
// both programs in one run.

import { type ChildProcess, fork, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseHostAddress } from '../src/base/address.ts'
import { freeAddresses } from '../test/support/free-ports.ts'
import { endWithUs } from './children.ts'
import { type Row, rowOf } from './table.ts'
import { benchUwsgiApi } from './uwsgi-api.ts'
import type { UwsgiOrder, UwsgiReport } from './uwsgi-receiver.ts'
import { sendSessions } from './uwsgi-sender.ts'
import { medianOf } from './versus.ts'

const RECEIVER = fileURLToPath(new URL('./uwsgi-receiver.ts', import.meta.url))
const PROGRAM = 'uwsgi_python3'
const RATE_PER_SEC = 40_000
/** `cache = 20000` and `cache-blocksize = 4096`; uWSGI holds one less than it is told. */
const ITEMS = 20_000
const FILL_PER_SEC = 20_000
const SETTLE_MS = 1000
/** DESIGN.md section 8: a tenth of uWSGI's. */
const GOAL_RATIO = 0.1

export async function benchUwsgi(isQuick: boolean): Promise<Row[]> {
  const rows = [...(await flood(isQuick ? 1 : 10)), ...(await benchUwsgiApi(isQuick))]
  // A few pages more or less are a tenth of what so few sessions take, with huge pages one is.
  const growths: number[] = []
  for (let round = 0; round < (isQuick ? 1 : 5); round += 1) growths.push(await ourMemory())
  const ours = medianOf(growths)
  rows.push(rowOf(`memory per session, ${ITEMS} items`, 'B', growths))
  const theirs = await theirMemory()
  if (theirs === undefined) {
    console.error(`${PROGRAM} is not installed: its memory was not measured`)
    return rows
  }
  rows.push({ what: 'the same, uWSGI', value: theirs, unit: 'B' })
  rows.push({ what: 'ours to theirs', value: ours / theirs, unit: '', goal: GOAL_RATIO })
  return rows
}

/** What of a steady flood from one sender is missing at the end. */
async function flood(seconds: number): Promise<Row[]> {
  const count = RATE_PER_SEC * seconds
  return withReceiver(async (order) => {
    const { address } = await order({ kind: 'start', items: count })
    const perSec = await sendSessions(address, count, RATE_PER_SEC)
    await delay(SETTLE_MS)
    const { items } = await order({ kind: 'report' })
    return [
      { what: 'cache-udp: datagrams sent', value: perSec, unit: '/s' },
      { what: `cache-udp: missing of ${count}`, value: count - items, unit: '', goal: 0 },
    ]
  })
}

/** Growth by a second cache, so that what the first one warmed up is not counted as sessions. */
async function ourMemory(): Promise<number> {
  return withReceiver(async (order) => {
    const warm = await order({ kind: 'start', items: ITEMS })
    const itemsNow = async () => (await order({ kind: 'report' })).items
    await fill(warm.address, itemsNow)
    const before = await order({ kind: 'report' })
    const { address } = await order({ kind: 'start', items: ITEMS })
    await fill(address, itemsNow)
    const full = await order({ kind: 'report' })
    return (full.rssBytes - before.rssBytes) / ITEMS
  })
}

/** Sends the same sessions again until none is missing: here it is not loss that is measured. */
async function fill(address: string, itemsNow: () => Promise<number>): Promise<void> {
  const series = randomBytes(32)
  for (let attempt = 0; attempt < 20; attempt += 1) {
    await sendSessions(address, ITEMS, FILL_PER_SEC, series)
    await delay(SETTLE_MS)
    if ((await itemsNow()) === ITEMS) return
  }
  throw new Error(`${address} does not take ${ITEMS} sessions`)
}

async function withReceiver<Result>(
  run: (order: (what: UwsgiOrder) => Promise<UwsgiReport>) => Promise<Result>,
): Promise<Result> {
  const child = fork(RECEIVER, { stdio: 'inherit', execArgv: [...process.execArgv, '--expose-gc'] })
  try {
    return await run(async (what) => {
      const answer = once(child, 'message')
      child.send(what)
      const [report]: UwsgiReport[] = await answer
      if (report === undefined) throw new Error('no answer')
      return report
    })
  } finally {
    child.disconnect()
  }
}

/** Of the shared memory that its caches are, resident when full; undefined without the program. */
async function theirMemory(): Promise<number | undefined> {
  const [udp = '', stats = '', socket = ''] = await freeAddresses(3)
  const options = {
    socket,
    stats,
    cache: String(ITEMS + 1),
    'cache-blocksize': '4096',
    'cache-udp-server': udp,
  }
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value])
  const child = spawn(PROGRAM, ['--master', ...args], { stdio: 'ignore' })
  endWithUs(child, 'SIGINT')
  const missing = once(child, 'error').then(() => true)
  const isMissing = await Promise.race([missing, once(child, 'spawn').then(() => false)])
  if (isMissing) return undefined
  try {
    await untilAnswers(stats)
    await fill(udp, () => itemsOf(stats))
    return sharedBytesOf(child) / ITEMS
  } finally {
    child.kill('SIGINT')
    await once(child, 'exit')
  }
}

async function untilAnswers(stats: string): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const isThere = await itemsOf(stats).then(
      () => true,
      () => false,
    )
    if (isThere) return
    await delay(50)
  }
  throw new Error('uWSGI does not answer')
}

async function itemsOf(stats: string): Promise<number> {
  const socket = connect(parseHostAddress(stats))
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  const { caches }: { caches: readonly { items: number }[] } = JSON.parse(text)
  return caches[0]?.items ?? 0
}

function sharedBytesOf({ pid }: ChildProcess): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^RssShmem:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
}
