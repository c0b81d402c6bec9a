// Two contestants in turn, A B A B: each pair of runs gives a ratio, and the median of the ratios counts, as
// a machine that slows down slows down both.

import type { Row } from './table.ts'

export interface Run {
  readonly perSec: number
  /** Processor time of the server for one operation. */
  readonly cpuUs: number
  /** Share of its processor that the load generator used. */
  readonly generatorShare: number
}

export type Contestant = () => Promise<Run>

export async function versus(
  what: string,
  ours: Contestant,
  reference: Contestant,
  options: { readonly rounds: number; readonly goal?: number },
): Promise<Row[]> {
  const ourRuns: Run[] = []
  const referenceRuns: Run[] = []
  for (let round = 0; round < options.rounds; round += 1) {
    ourRuns.push(await ours())
    referenceRuns.push(await reference())
  }
  const ratios = ourRuns.map((run, round) => run.perSec / (referenceRuns[round]?.perSec ?? 0))
  return [
    {
      what,
      value: medianOf(ratios),
      unit: 'x',
      spread: [Math.min(...ratios), Math.max(...ratios)],
      ...(options.goal !== undefined && { goal: options.goal, isMoreBetter: true }),
    },
    ...rowsOf('ours', ourRuns),
    ...rowsOf('reference', referenceRuns),
  ]
}

function rowsOf(who: string, runs: readonly Run[]): Row[] {
  const rates = runs.map((run) => run.perSec)
  const cpuUs = medianOf(runs.map((run) => run.cpuUs))
  const busy = medianOf(runs.map((run) => run.generatorShare)) * 100
  const detail = `${cpuUs.toFixed(1)} us CPU each, generator ${busy.toFixed(0)} % busy`
  return [
    {
      what: `  ${who}: ${detail}`,
      value: medianOf(rates),
      unit: '/s',
      spread: [Math.min(...rates), Math.max(...rates)],
    },
  ]
}

export function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}
