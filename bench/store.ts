// The store: rates of get and put, memory per session, longest pause. Each figure comes from a process of
// its own, so that no measurement sees the garbage of another.

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Row, rowOf } from './table.ts'

const run = promisify(execFile)
const WORKER = fileURLToPath(new URL('./store-worker.ts', import.meta.url))

export interface RatesResult {
  readonly putsPerSec: number[]
  readonly getsInOrderPerSec: number[]
  readonly getsAtRandomPerSec: number[]
}

/** Both of sessions that are there, uniformly at random. */
export interface RandomRatesResult {
  readonly putsPerSec: number[]
  readonly getsPerSec: number[]
}

export interface MemoryResult {
  readonly bytesPerSession: number
}

export interface PauseResult {
  readonly longestPauseMs: number
  readonly expiredPerSec: number
  readonly items: number
}

export async function benchStore(isQuick: boolean): Promise<Row[]> {
  const large = isQuick ? 50_000 : 1_000_000
  const rounds = isQuick ? 1 : 5
  const rows: Row[] = []
  for (const [items, goal] of [
    [20_000, 1_500_000],
    [large, 800_000],
  ] as const) {
    const rates = await storeRates(items, rounds)
    const { getsInOrderPerSec, getsAtRandomPerSec } = rates
    rows.push(rowOf(`get, ${items} items, uniformly at random`, '/s', getsAtRandomPerSec, goal))
    rows.push(rowOf(`get, ${items} items, in the order of the puts`, '/s', getsInOrderPerSec, goal))
    rows.push(rowOf(`put, ${items} items, no peers`, '/s', rates.putsPerSec))
  }
  const memory: MemoryResult = await work('memory', large, 1)
  rows.push({
    what: `memory per 130-byte session, ${large} items, all included`,
    value: memory.bytesPerSession,
    unit: 'B',
    goal: 400,
  })
  const pause: PauseResult = await work('pause', large, isQuick ? 1 : 15)
  rows.push({
    what: `longest pause, ${pause.items} items, ${Math.round(pause.expiredPerSec)} expiring a second`,
    value: pause.longestPauseMs,
    unit: 'ms',
    goal: 20,
  })
  return rows
}

/** Rates of a store with so many sessions, in a fresh process. */
export function storeRates(items: number, rounds: number): Promise<RatesResult> {
  return work('rates', items, rounds)
}

/** One measurement in a process of its own. */
export async function work<Result>(task: string, items: number, amount: number): Promise<Result> {
  const args = ['--expose-gc', '--import', 'tsx', WORKER, task, String(items), String(amount)]
  const { stdout } = await run(process.execPath, args)
  return JSON.parse(stdout)
}
