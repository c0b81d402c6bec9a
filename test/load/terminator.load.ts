// `npm run test:load [-- --seconds 30 --processes 8 --clients 200]`: many clients against the reference
// terminator, and again while its node starts twice. Prints a table; exit code 1 when a goal is missed. With `--alerts`
// there is the first run only, beside a Prometheus with the alerts of deploy/prometheus, none of which may fire.

import { parseArgs } from 'node:util'
import { formatTable } from '../../src/cli/stats.ts'
import { sumOf } from '../support/terminate-process.ts'
import { judge, type LoadResult, runLoad } from './terminator-load.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: process.env['LOAD_SECONDS'] ?? '30' },
    processes: { type: 'string', default: '8' },
    clients: { type: 'string', default: '200' },
    'pause-ms': { type: 'string', default: '0' },
    'deadline-ms': { type: 'string', default: '50' },
    alerts: { type: 'boolean', default: false },
  },
})

function wholeNumber(
  name: Exclude<keyof typeof values, 'alerts'>,
  min: number,
  max: number,
): number {
  const number = Number(values[name])
  if (Number.isInteger(number) && number >= min && number <= max) return number
  process.stderr.write(`--${name} must be a whole number, ${min}..${max}\n`)
  process.exit(2)
}

const options = {
  seconds: wholeNumber('seconds', 1, 600),
  processes: wholeNumber('processes', 1, 64),
  clients: wholeNumber('clients', 2, 5000),
  pauseMs: wholeNumber('pause-ms', 0, 60_000),
  deadlineMs: wholeNumber('deadline-ms', 1, 60_000),
  isWatched: values.alerts,
}
const RUNS = [
  ['steady', 0],
  ['node restarts twice', 2],
] as const

const HEAD = [
  ...['run', 'TLS', 'handshakes', 'per s', 'p50 ms', 'p99 ms', 'failed'],
  ...['offered', 'resumed', '%', 'while away', 'resumed', 'goal'],
]

function rowsOf(name: string, result: LoadResult): (string | number)[][] {
  return judge(result).map(({ version, failed, resumedShare, isReached }) => {
    const tally = result.tallies.get(version)
    const sorted = [...(tally?.durationsMs ?? [])].sort((a, b) => a - b)
    const quantile = (q: number) => (sorted[Math.floor(q * (sorted.length - 1))] ?? 0).toFixed(1)
    const { handshakes = 0, offered = 0, resumed = 0, away = 0, awayResumed = 0 } = tally ?? {}
    return [
      ...[name, version, handshakes, Math.round((1000 * handshakes) / result.elapsedMs)],
      ...[quantile(0.5), quantile(0.99), failed, offered, resumed],
      ...[(100 * resumedShare).toFixed(3), away, awayResumed, isReached ? 'reached' : 'missed'],
    ]
  })
}

const rows: (string | number)[][] = []
let isReached = true
for (const [name, restarts] of values.alerts ? RUNS.slice(0, 1) : RUNS) {
  const result = await runLoad({ ...options, restarts })
  rows.push(...rowsOf(name, result))
  isReached &&= judge(result).every((verdict) => verdict.isReached)
  for (const [version, { failures }] of result.tallies) {
    for (const [code, count] of failures) {
      process.stdout.write(`${name}, TLS ${version}: ${count} x ${code}\n`)
    }
  }
  const { metrics, awayMs, alerts } = result
  if (alerts !== undefined) {
    const [fired, pending] = [[...alerts.fired], [...alerts.pending]]
    isReached &&= fired.length === 0
    const said = `fired: ${fired.join(', ') || 'none'}; pending at times: ${pending.join(', ') || 'none'}`
    process.stdout.write(`${name}: alerts that ${said}\n`)
  }
  const calls = ['hit', 'miss', 'late', 'unreachable', 'overloaded', 'failed'].map(
    (one) => `${one} ${sumOf(metrics, 'cache_calls_total', `call="get",result="${one}"`)}`,
  )
  const perProcess = Array.from({ length: options.processes }, (_, index) =>
    sumOf(metrics, 'handshakes_total', `process="${index + 1}"`),
  )
  process.stdout.write(`${name}: gets: ${calls.join(', ')}; handshakes by process: ${perProcess}\n`)
  if (awayMs.length > 0) {
    const away = awayMs.map((ms) => `${(ms / 1000).toFixed(1)} s`).join(', ')
    process.stdout.write(`${name}: away for ${away}\n`)
  }
}
process.stdout.write(`${formatTable(HEAD, rows)}\n`)
process.exit(isReached ? 0 : 1)
