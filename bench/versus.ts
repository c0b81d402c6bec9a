// Contestants in turn, A B A B: each pair of runs gives a ratio, and the median of the ratios counts, as a
// machine that slows down slows down both.

import { type Row, rowOf } from './table.ts'

/** Of its processor, from which on a load generator counts as the limit. */
const SATURATED_SHARE = 0.95

export interface Run {
  readonly perSec: number
  /** Processor time of the server for one operation. */
  readonly cpuUs: number
  /** The same of the store that it asks. */
  readonly storeCpuUs?: number
  /** Share of its processor that the load generator used. */
  readonly generatorShare: number
  /** Of handshakes: share that resumed a session. */
  readonly resumedShare?: number
  /** Operations that failed, besides those counted. */
  readonly failed?: number
}

export type Contestant = () => Promise<Run>

export interface Rival {
  readonly name: string
  readonly run: Contestant
}

export interface InTurnOptions {
  readonly rounds: number
  /** Of the first one's rate to that of the second. */
  readonly goal?: number
  /** Whether there is a row for the ratio of processor times, too. */
  readonly comparesCpu?: boolean
}

/**
 * All of them in turn, A B C A B C: the first one's rate and processor time to those of each other one, then
 * everybody's own figures.
 */
export async function allInTurn(
  what: string,
  [ours, ...others]: readonly Rival[],
  { rounds, goal, comparesCpu = true }: InTurnOptions,
): Promise<Row[]> {
  if (ours === undefined) return []
  const ourRuns: Run[] = []
  const otherRuns = others.map((): Run[] => [])
  for (let round = 0; round < rounds; round += 1) {
    ourRuns.push(await ours.run())
    for (const [index, { run }] of others.entries()) otherRuns[index]?.push(await run())
  }
  return [
    ...others.flatMap(({ name }, index) => {
      const runs = otherRuns[index] ?? []
      const between = `${ours.name} to ${name}`
      const rate = `${what}: rate, ${between}${limitOf(runs)}`
      const rateRow = ratioRow(rate, ourRuns, runs, ({ perSec }) => perSec)
      const isJudged = goal !== undefined && index === 0
      return [
        isJudged ? { ...rateRow, goal, isMoreBetter: true } : rateRow,
        ...(comparesCpu
          ? [ratioRow(`${what}: CPU time each, ${between}`, ourRuns, runs, ({ cpuUs }) => cpuUs)]
          : []),
      ]
    }),
    ...rowsOf(ours.name, ourRuns),
    ...others.flatMap(({ name }, index) => rowsOf(name, otherRuns[index] ?? [])),
  ]
}

/** A generator that has no time left hides how much more a server could do. */
function limitOf(runs: readonly Run[]): string {
  const share = medianOf(runs.map(({ generatorShare }) => generatorShare))
  return share >= SATURATED_SHARE ? ' (which the generator holds back)' : ''
}

function ratioRow(
  what: string,
  ours: readonly Run[],
  theirs: readonly Run[],
  of: (run: Run) => number,
): Row {
  const ratios = ours.map((run, round) => of(run) / of(theirs[round] ?? run))
  const spread = [Math.min(...ratios), Math.max(...ratios)] as const
  return { what, value: medianOf(ratios), unit: 'x', spread }
}

function rowsOf(who: string, runs: readonly Run[]): Row[] {
  const rates = runs.map((run) => run.perSec)
  const cpuUs = medianOf(runs.map((run) => run.cpuUs))
  const busy = medianOf(runs.map((run) => run.generatorShare)) * 100
  const details = [`${cpuUs.toFixed(1)} us CPU each`]
  const stores = runs.flatMap(({ storeCpuUs }) => storeCpuUs ?? [])
  if (stores.length > 0) details.push(`its store ${medianOf(stores).toFixed(1)} us`)
  details.push(`generator ${busy.toFixed(0)} % busy`)
  const resumed = runs.flatMap(({ resumedShare }) => resumedShare ?? [])
  if (resumed.length > 0) details.push(`${(medianOf(resumed) * 100).toFixed(0)} % resumed`)
  const failed = runs.reduce((sum, run) => sum + (run.failed ?? 0), 0)
  if (failed > 0) details.push(`${failed} FAILED`)
  return [
    {
      what: `  ${who}: ${details.join(', ')}`,
      value: medianOf(rates),
      unit: '/s',
      spread: [Math.min(...rates), Math.max(...rates)],
    },
  ]
}

export function quantileOf(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length * share)] ?? Number.NaN
}

export function medianOf(values: readonly number[]): number {
  return quantileOf(values, 0.5)
}

/** The same figure of two, round by round: its ratio, then both. */
export function pairRows(
  what: string,
  unit: string,
  ours: readonly number[],
  theirs: { readonly name: string; readonly values: readonly number[] },
): Row[] {
  const ratios = ours.map((value, round) => value / (theirs.values[round] ?? Number.NaN))
  return [
    rowOf(`${what}: ours to ${theirs.name}`, 'x', ratios),
    rowOf('  ours', unit, ours),
    rowOf(`  ${theirs.name}`, unit, theirs.values),
  ]
}
