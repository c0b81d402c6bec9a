// Runs simulations: seeds that once failed, then fresh ones, on all processors. A failure is made shorter and told.
// Usage: npm run test:simulation [-- --seed N --from N --minutes M --nodes K --faults LIST --brief]

import { type ChildProcess, fork } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { FAULT_KINDS, type FaultKind } from './fault-kinds.ts'
import { minimise } from './minimise.ts'
import { drawPlan, type PlanOptions } from './plan.ts'
import { run } from './run.ts'
import { Summary, timeLine } from './summary.ts'
import { inMacrotask } from './timeline.ts'
import type { Job, Report } from './worker.ts'

const DEFAULT_MINUTES = 5
const MINIMISE_MS = 60_000
const PROGRESS_MS = 10_000
const MAX_SEED = 2 ** 47
/**
 * A rule that is broken in a callback of process.nextTick is thrown past it (see `Timeline`). Node.js would end the
 * process for that, before the failure is told, if it checked its own stack of callbacks.
 */
const NODE_FLAGS = ['--no-force-async-hooks-checks']
/** Lines of the time line that a failure shows. */
const SHOWN_LINES = 80
/** Memory that a worker may take before another one takes its place. */
const JOBS_PER_WORKER = 400

/** A seed that once failed, and why. */
interface OldSeed {
  readonly seed: number
  readonly nodes?: number
  readonly note: string
}

const print = (text: string) => void process.stdout.write(`${text}\n`)

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    from: { type: 'string' },
    minutes: { type: 'string' },
    nodes: { type: 'string' },
    faults: { type: 'string' },
    workers: { type: 'string' },
    brief: { type: 'boolean' },
  },
})

function numberOf(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const number = Number(text)
  if (!(number >= 0)) throw new Error(`--${name} ${text}: not a number`)
  return number
}

function faultsOf(text: string | undefined): FaultKind[] | undefined {
  if (text === undefined) return undefined
  const names = text.split(',').filter((name) => name !== '')
  return names.map((name) => {
    const kind = FAULT_KINDS.find((known) => known === name)
    if (kind === undefined) throw new Error(`--faults ${name}: one of ${FAULT_KINDS.join(', ')}`)
    return kind
  })
}

const options: PlanOptions = {
  nodes: numberOf('nodes', values.nodes),
  faults: faultsOf(values.faults),
}
const seed = numberOf('seed', values.seed)
const minutes = numberOf('minutes', values.minutes) ?? DEFAULT_MINUTES

/** Shows a failure: the shortest schedule that still fails, what happened, and how to see it again. */
async function tellFailure(job: Job, violation: string): Promise<void> {
  print(`\nFAILED  seed ${job.seed}: ${violation}`)
  if (values.brief === true) return
  const plan = drawPlan(job.seed, job.options)
  const shortest = await inMacrotask(() => minimise(plan, run(plan), MINIMISE_MS))
  const { actions } = shortest.plan
  print(
    `shortest schedule: ${actions.length} of ${plan.actions.length} actions (${shortest.tries} tries)`,
  )
  for (const action of actions) print(`  ${JSON.stringify(action)}`)
  print(`time line:\n${timeLine(shortest.outcome.lines, SHOWN_LINES)}`)
  if (shortest.outcome.stack !== undefined) print(shortest.outcome.stack)
  const { nodes, faults } = job.options
  const more = [
    ...(nodes === undefined ? [] : [`--nodes ${nodes}`]),
    ...(faults === undefined ? [] : [`--faults ${faults.join(',')}`]),
  ]
  print(`replay: npm run test:simulation -- ${[`--seed ${job.seed}`, ...more].join(' ')}`)
}

/** Runs jobs until there are none, or one fails; resolves with the reports of those that failed. */
function runJobs(next: () => Job | undefined, summary: Summary): Promise<Report[]> {
  const failed: Report[] = []
  const script = fileURLToPath(new URL('worker.ts', import.meta.url))
  const work = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const worker: ChildProcess = fork(script, {
        execArgv: ['--max-semi-space-size=32', ...NODE_FLAGS, '--import', 'tsx'],
      })
      let jobs = 0
      const give = () => {
        jobs += 1
        const job = failed.length > 0 || jobs > JOBS_PER_WORKER ? undefined : next()
        if (job === undefined) worker.disconnect()
        else worker.send(job)
      }
      worker.on('message', (report: Report) => {
        summary.add(report)
        if (report.violation !== undefined) failed.push(report)
        give()
      })
      worker.on('exit', (code) => {
        if (code !== 0) reject(new Error(`a worker ended with ${code}`))
        else if (jobs > JOBS_PER_WORKER) work().then(resolve, reject)
        else resolve()
      })
      give()
    })
  const count = numberOf('workers', values.workers) ?? availableParallelism()
  return Promise.all(Array.from({ length: count }, work)).then(() => failed)
}

async function main(): Promise<number> {
  if (seed !== undefined) {
    const plan = drawPlan(seed, options)
    const outcome = await inMacrotask(() => run(plan))
    print(`seed ${seed}: ${plan.nodes.length} nodes, ${plan.topology}, hash ${outcome.hash}`)
    if (outcome.violation === undefined) return 0
    await tellFailure({ seed, options }, outcome.violation)
    return 1
  }
  const path = new URL('seeds.json', import.meta.url)
  const old: OldSeed[] = JSON.parse(readFileSync(path, 'utf8'))
  const first = numberOf('from', values.from) ?? randomInt(MAX_SEED)
  print(
    `${old.length} seeds that once failed, then fresh ones from ${first} on, for ${minutes} min`,
  )
  const endMs = performance.now() + minutes * 60_000
  const waiting: Job[] = old.map(({ seed, nodes }) => ({ seed, options: { nodes } }))
  let fresh = first
  const next = (): Job | undefined => {
    const job = waiting.shift()
    if (job !== undefined) return job
    if (performance.now() > endMs) return undefined
    fresh += 1
    return { seed: fresh - 1, options }
  }
  const summary = new Summary()
  const progress = setInterval(() => print(summary.progress()), PROGRESS_MS)
  const failed = await runJobs(next, summary).finally(() => clearInterval(progress))
  print(`\n${summary.text()}`)
  for (const { job, violation } of failed) await tellFailure(job, violation ?? '')
  return failed.length === 0 ? 0 : 1
}

process.exitCode = await main()
