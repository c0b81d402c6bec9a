// A process that runs one plan after the other for `main.ts`, and reports what each came to.

import { isFault } from './fault-kinds.ts'
import { drawPlan, type PlanOptions } from './plan.ts'
import { run } from './run.ts'
import { inMacrotask } from './timeline.ts'

/** A run that the worker is asked for. */
export interface Job {
  readonly seed: number
  readonly options: PlanOptions
}

export interface Report {
  readonly job: Job
  readonly violation: string | undefined
  readonly hash: string
  readonly density: number
  readonly simulatedMs: number
  readonly nodeMs: number
  /** Processor time that the run took. */
  readonly cpuMs: number
  readonly events: number
  readonly datagrams: number
  readonly visibleMs: readonly number[]
  readonly faults: Readonly<Record<string, number>>
  readonly reached: readonly (readonly [string, number])[]
}

/** Visible times that are reported of each run. */
const MAX_VISIBLE = 500

export async function reportOf(job: Job): Promise<Report> {
  const plan = drawPlan(job.seed, job.options)
  const before = process.cpuUsage()
  const outcome = await inMacrotask(() => run(plan))
  const { user, system } = process.cpuUsage(before)
  const faults: Record<string, number> = {}
  for (const action of plan.actions.filter(isFault)) {
    faults[action.kind] = (faults[action.kind] ?? 0) + 1
  }
  const { violation, hash, simulatedMs, nodeMs, events, datagrams, coverage } = outcome
  return {
    job,
    violation,
    hash,
    density: plan.density,
    simulatedMs,
    nodeMs,
    cpuMs: (user + system) / 1000,
    events,
    datagrams,
    visibleMs: outcome.visibleMs.slice(0, MAX_VISIBLE),
    faults,
    reached: [...coverage.counts],
  }
}

process.on('message', (job: Job) => {
  reportOf(job).then(
    (report) => process.send?.(report),
    (error: unknown) => {
      process.stderr.write(`${String(error)}\n`)
      process.exit(1)
    },
  )
})
