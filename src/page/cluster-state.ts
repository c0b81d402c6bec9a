// What the page knows of the cluster: whole documents, and the changes that are added to them.

import type { ClusterDocument, ClusterNode } from '../status/cluster.ts'
import type { ProblemSummary, Summary } from '../status/summary.ts'
import type { RateName } from '../status/watch.ts'

export type { ClusterDocument, ClusterNode, Summary }

/** Samples that are kept: one hour. */
export const KEPT_SAMPLES = 360
const RATE_NAMES = [
  'gets',
  'hits',
  'puts',
  'refused',
  'evicted',
  'received',
] as const satisfies readonly RateName[]

type Rates = Summary['rates']

/**
 * Adds a change to what is known. `isWhole` is false when something is missing that only a whole document has: a node
 * that is new, or samples between the last ones and these.
 */
export function withChange(
  known: ClusterDocument,
  change: ClusterDocument,
): { readonly document: ClusterDocument; readonly isWhole: boolean } {
  let isWhole = true
  const nodes = change.nodes.map((node) => {
    const before = known.nodes.find((one) => isSame(one, node))
    if (node.summary === null) {
      if (before === undefined && node.age_ms !== null) isWhole = false
      return { ...node, summary: before?.summary ?? null }
    }
    const rates = joined(before?.summary?.rates, node.summary.rates)
    if (rates === undefined) isWhole = false
    return { ...node, summary: { ...node.summary, rates: rates ?? node.summary.rates } }
  })
  return { document: { ...change, nodes }, isWhole }
}

/** Whether both are one node; a silent one has no boot, and then its name tells. */
function isSame(one: ClusterNode, other: ClusterNode): boolean {
  return (
    one.node === other.node && (one.boot === other.boot || one.boot === null || other.boot === null)
  )
}

/** The samples of both; undefined when some between them are missing. */
function joined(before: Rates | undefined, newer: Rates): Rates | undefined {
  const told = newer.gets.length
  if (told === newer.last) return newer
  if (before === undefined) return undefined
  const added = newer.last - before.last
  // A node that was started anew counts from the beginning.
  if (added < 0 || added > told) return undefined
  const rates = { ...newer }
  for (const name of RATE_NAMES) {
    const samples = added === 0 ? before[name] : [...before[name], ...newer[name].slice(-added)]
    rates[name] = samples.slice(-KEPT_SAMPLES)
  }
  return rates
}

/** A problem, and what each node that has it says. */
export interface SharedProblem extends Omit<ProblemSummary, 'sentence'> {
  readonly said: readonly { readonly node: string; readonly sentence: string }[]
}

/** The problems of all nodes that are heard, errors first; one that several nodes have is listed once. */
export function problemsOf({ nodes }: ClusterDocument): SharedProblem[] {
  const shared = new Map<string, SharedProblem>()
  for (const { node, state, summary } of nodes) {
    // What a silent node said last is about a time that is over.
    if (summary === null || state === 'silent') continue
    for (const { sentence, ...problem } of summary.problems) {
      const { code, subject, remedy } = problem
      const key = `${code} ${subject} ${remedy}`
      const said = [...(shared.get(key)?.said ?? []), { node, sentence }]
      shared.set(key, { ...problem, said })
    }
  }
  const problems = [...shared.values()]
  return ['error', 'warning'].flatMap((severity) =>
    problems.filter((problem) => problem.severity === severity),
  )
}

/** Counts per second of these nodes together, the newest last; undefined where no node has a sample. */
export function ratePerSec(summaries: readonly Summary[], name: RateName): (number | undefined)[] {
  return Array.from({ length: KEPT_SAMPLES }, (_, index) => {
    const back = KEPT_SAMPLES - index
    const counts = summaries.flatMap(({ rates }) => rates[name].at(-back) ?? [])
    if (counts.length === 0) return undefined
    const periodSec = (summaries[0]?.rates.period_ms ?? 10_000) / 1000
    return counts.reduce((sum, count) => sum + count, 0) / periodSec
  })
}

/** The share of gets that were hits; undefined where there was no get. */
export function hitRatios(summaries: readonly Summary[]): (number | undefined)[] {
  const gets = ratePerSec(summaries, 'gets')
  const hits = ratePerSec(summaries, 'hits')
  return gets.map((all, index) =>
    all === undefined || all === 0 ? undefined : (hits[index] ?? 0) / all,
  )
}
