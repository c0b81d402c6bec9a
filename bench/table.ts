// How results are printed: one row a measurement, with the goal of DESIGN.md section 8 where it has one.

import { formatTable } from '../src/cli/stats.ts'

export interface Row {
  readonly what: string
  readonly value: number
  readonly unit: string
  /** Smallest and largest of the rounds. */
  readonly spread?: readonly [number, number]
  readonly goal?: number
  /** Whether a larger value is the better one. */
  readonly isMoreBetter?: boolean
}

export const HEAD = ['what', 'median', 'min .. max', 'goal', '']

export function cellsOf(row: Row): string[] {
  const { spread, goal, unit } = row
  return [
    row.what,
    `${format(row.value)} ${unit}`,
    spread === undefined ? '' : `${format(spread[0])} .. ${format(spread[1])}`,
    goal === undefined ? '' : `${row.isMoreBetter ? '>=' : '<='} ${format(goal)} ${unit}`,
    verdict(row),
  ]
}

export function printTable(title: string, rows: readonly Row[]): void {
  console.log(
    formatTable(
      [title, ...HEAD.slice(1)],
      rows.map((row) => cellsOf(row)),
    ),
  )
}

/** The row of a measurement repeated over several rounds. */
export function rowOf(what: string, unit: string, rounds: readonly number[], goal?: number): Row {
  const sorted = [...rounds].sort((a, b) => a - b)
  const median = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
  return {
    what,
    unit,
    value: median,
    spread: [sorted[0] ?? Number.NaN, sorted.at(-1) ?? Number.NaN],
    ...(goal !== undefined && { goal, isMoreBetter: true }),
  }
}

function verdict(row: Row): string {
  if (row.goal === undefined) return ''
  const isReached = row.isMoreBetter ? row.value >= row.goal : row.value <= row.goal
  return isReached ? 'reached' : 'MISSED'
}

function format(value: number): string {
  const digits = Math.abs(value) < 10 ? 2 : 0
  return value.toLocaleString('en', { maximumFractionDigits: digits })
}
