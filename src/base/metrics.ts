// The registry of one node's metrics, which reads counts when it is scraped; nothing in it is shared between nodes.
//
// A registry of prom-client asks each metric for its name and, when scraped, for its values by `get`. An object with
// these two is enough, so that nothing is kept twice.

import { collectDefaultMetrics, type Metric as LibraryMetric, Registry } from 'prom-client'
import {
  counter,
  type Declaration,
  gauge,
  type Labels,
  type Metric,
  metricsOf,
  type Reading,
  readingsOf,
} from './counters.ts'
import { DURATION_BOUNDS_SEC, type DurationHistogram } from './histogram.ts'

const PREFIX = 'tlscached_'

export const PROCESS_METRICS = {
  buildInfo: gauge(
    'build_info',
    'Always 1; what runs is in the labels.',
    'version',
    'node_version',
  ),
  droppedLogLines: counter(
    'log_lines_dropped_total',
    'Log lines dropped, as the reader of the log does not keep up or its disk is full.',
  ),
  watchdogKills: counter(
    'watchdog_kills_total',
    'Kills by the watchdog since the machine started; only under systemd, where a file counts them.',
  ),
}

/**
 * Default metrics of prom-client whose names break Prometheus' rules (a gauge must not end in `_total`). Each has a
 * twin with a correct name.
 */
const MISNAMED = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
]

/** Counts with their declaration, and the labels that tell them from others of the same declaration. */
export interface CountsSource {
  readonly declaration: Declaration
  readonly counts: Readonly<Record<string, unknown>>
  readonly labels?: Labels
}

export function createRegistry(version: string): Registry {
  const registry = new Registry()
  const labels = { version, node_version: process.version }
  addMetric(registry, PROCESS_METRICS.buildInfo, () => [{ labels, value: 1 }])
  return registry
}

/**
 * Adds the metrics of the process: CPU, memory, event loop, garbage collection. To be called once per process, because
 * prom-client never removes its observers.
 */
export function collectProcess(registry: Registry): void {
  collectDefaultMetrics({ register: registry })
  for (const name of MISNAMED) registry.removeSingleMetric(name)
}

/** Adds all metrics of the declarations; `read` returns what is counted now, at each scrape. */
export function addCounters(
  registry: Registry,
  declarations: readonly Declaration[],
  read: () => readonly CountsSource[],
): void {
  for (const metric of new Set(declarations.flatMap((one) => [...metricsOf(one)]))) {
    addMetric(registry, metric, () =>
      read().flatMap(({ declaration, counts, labels = {} }) =>
        readingsOf(declaration, metric, counts, labels),
      ),
    )
  }
}

/** Adds one metric. Readings with equal labels are added up; a metric without readings has no sample. */
export function addMetric(
  registry: Registry,
  metric: Metric,
  read: () => readonly Reading[],
): void {
  const name = `${PREFIX}${metric.name}`
  const { help, type } = metric
  const get = async () => ({ name, help, type, aggregator: 'sum', values: samplesOf(name, read()) })
  // The type declarations accept prom-client's own classes only.
  registry.registerMetric({ name, get } as unknown as LibraryMetric)
}

interface Sample {
  readonly metricName: string
  readonly labels: Labels
  value: number
}

function samplesOf(name: string, readings: readonly Reading[]): Sample[] {
  const samples = new Map<string, Sample>()
  for (const { labels = {}, value } of readings) {
    const ofReading =
      typeof value === 'number'
        ? [{ metricName: name, labels, value }]
        : bucketsOf(name, labels, value)
    for (const sample of ofReading) {
      const key = JSON.stringify([sample.metricName, sample.labels])
      const known = samples.get(key)
      if (known === undefined) samples.set(key, sample)
      else known.value += sample.value
    }
  }
  return [...samples.values()]
}

function bucketsOf(name: string, labels: Labels, durations: DurationHistogram): Sample[] {
  let cumulated = 0
  const buckets = [...durations.counts].map((count, index) => {
    cumulated += count
    const bound = DURATION_BOUNDS_SEC[index]
    const le = bound === undefined ? '+Inf' : String(bound)
    return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: cumulated }
  })
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels, value: durations.sumSec },
    { metricName: `${name}_count`, labels, value: durations.count },
  ]
}

/** Adds the counter of kills by the watchdog, which outlives the processes that were killed. */
export function collectKills(registry: Registry, kills: number): void {
  addMetric(registry, PROCESS_METRICS.watchdogKills, () => [{ value: kills }])
}

/** Adds the counter of log lines that were dropped because the reader of the log did not keep up. */
export function collectLog(registry: Registry, droppedLines: () => number): void {
  addMetric(registry, PROCESS_METRICS.droppedLogLines, () => [{ value: droppedLines() }])
}
