// Counters and gauges over plain numbers that somebody else keeps: read when scraped.

import { Counter, Gauge, type Registry } from 'prom-client'
import { PREFIX } from './registry.ts'

export interface Reading {
  readonly labels?: Readonly<Record<string, string>>
  readonly value: number
}

export interface StatsMetricOptions {
  /** Without the prefix. */
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
      // Without labels, a reset leaves a 0 that nobody measured.
      if (options.labelNames === undefined) this.remove()
      for (const { labels = {}, value } of options.read()) this.set({ ...labels }, value)
    },
  })
}

function nameAndLabels({ name, help, labelNames = [] }: StatsMetricOptions) {
  return { name: `${PREFIX}${name}`, help, labelNames }
}
