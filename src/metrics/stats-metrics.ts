// Counters and gauges of prom-client that read plain numbers when scraped.

import { Counter, Gauge, type Registry } from 'prom-client'
import { PREFIX } from './registry.ts'

export interface Reading {
  readonly labels?: Readonly<Record<string, string>>
  readonly value: number
}

export interface StatsMetricOptions {
  /** Name without the prefix `tlscached_`. */
  readonly name: string
  readonly help: string
  readonly labelNames?: string[]
  readonly read: () => readonly Reading[]
}

export function addCounter(registry: Registry, options: StatsMetricOptions): void {
  new Counter({
    ...nameAndLabels(options),
    registers: [registry],
    collect() {
      this.reset()
      for (const { labels = {}, value } of options.read()) this.inc({ ...labels }, value)
    },
  })
}

export function addGauge(registry: Registry, options: StatsMetricOptions): void {
  new Gauge({
    ...nameAndLabels(options),
    registers: [registry],
    collect() {
      this.reset()
      // A reset sets a gauge without labels to 0, which nobody measured.
      if (options.labelNames === undefined) this.remove()
      for (const { labels = {}, value } of options.read()) this.set({ ...labels }, value)
    },
  })
}

function nameAndLabels({ name, help, labelNames = [] }: StatsMetricOptions) {
  return { name: `${PREFIX}${name}`, help, labelNames }
}
