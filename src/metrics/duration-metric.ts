// Our own histograms as prom-client exports them: read when scraped, never observed into.

import {
  Histogram,
  type MetricObjectWithValues,
  type MetricType,
  type MetricValueWithName,
  type Registry,
} from 'prom-client'
import { DURATION_BOUNDS_SEC, type DurationHistogram } from '../base/histogram.ts'

/** The declarations say enum, but there is none at run time: prom-client writes the word itself. */
const HISTOGRAM = 'histogram' as unknown as MetricType

export interface DurationSeries {
  readonly labels: Readonly<Record<string, string>>
  readonly durations: DurationHistogram
}

export interface DurationMetricOptions {
  readonly name: string
  readonly help: string
  readonly labelNames: string[]
  readonly registry: Registry
  readonly read: () => readonly DurationSeries[]
}

export class DurationMetric extends Histogram {
  readonly #read: () => readonly DurationSeries[]
  readonly #name: string
  readonly #help: string

  constructor({ name, help, labelNames, registry, read }: DurationMetricOptions) {
    super({ name, help, labelNames, buckets: [...DURATION_BOUNDS_SEC], registers: [registry] })
    this.#read = read
    this.#name = name
    this.#help = help
  }

  override async get(): Promise<MetricObjectWithValues<MetricValueWithName<string>>> {
    return {
      name: this.#name,
      help: this.#help,
      type: HISTOGRAM,
      aggregator: 'sum',
      collect: () => {},
      values: this.#read().flatMap((series) => this.#valuesOf(series)),
    }
  }

  /** What prom-client calls for the text format, in place of `get`. */
  getForPromString(): Promise<MetricObjectWithValues<MetricValueWithName<string>>> {
    return this.get()
  }

  #valuesOf({ labels, durations }: DurationSeries): MetricValueWithName<string>[] {
    let cumulated = 0
    const buckets = [...durations.counts].map((count, index) => {
      cumulated += count
      const bound = DURATION_BOUNDS_SEC[index]
      const le = bound === undefined ? '+Inf' : String(bound)
      return { metricName: `${this.#name}_bucket`, labels: { ...labels, le }, value: cumulated }
    })
    return [
      ...buckets,
      { metricName: `${this.#name}_sum`, labels, value: durations.sumSec },
      { metricName: `${this.#name}_count`, labels, value: durations.count },
    ]
  }
}
