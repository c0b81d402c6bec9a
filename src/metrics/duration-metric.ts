// Exports the project's own histograms through prom-client: they are read when scraped, and nothing is observed into
// prom-client.
//
// A registry of prom-client asks each metric for its name and, when scraped, for its values by `get`. An object with
// these two is enough; prom-client's own Histogram is not used, because its buckets cannot be set.

import type { Metric, Registry } from 'prom-client'
import { DURATION_BOUNDS_SEC, type DurationHistogram } from '../base/histogram.ts'

export interface DurationSeries {
  readonly labels: Readonly<Record<string, string>>
  readonly durations: DurationHistogram
}

export interface DurationMetricOptions {
  readonly name: string
  readonly help: string
  readonly registry: Registry
  /** Returns the current histograms; called at each scrape. */
  readonly read: () => readonly DurationSeries[]
}

interface Sample {
  readonly metricName: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export function addDurations({ name, help, registry, read }: DurationMetricOptions): void {
  const metric = {
    name,
    get: async () => ({
      name,
      help,
      type: 'histogram',
      aggregator: 'sum',
      values: read().flatMap((series) => samplesOf(name, series)),
    }),
  }
  // The type declarations accept prom-client's own classes only.
  registry.registerMetric(metric as unknown as Metric)
}

function samplesOf(name: string, { labels, durations }: DurationSeries): Sample[] {
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
