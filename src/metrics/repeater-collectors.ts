// The metrics of a repeater, read from its counters when scraped.

import type { Registry } from 'prom-client'
import type { RepeaterStats } from '../replication/repeater/stats.ts'
import { addCounter, addGauge } from './stats-metrics.ts'

export interface RepeaterSource {
  readonly stats: RepeaterStats
  readonly subscribersLimit: number
  subscribers(): number
  /** Seconds since the keyring file was written; undefined without a file. */
  keyAgeSec(): number | undefined
}

export function collectRepeater(registry: Registry, source: RepeaterSource): void {
  const { stats } = source
  addCounter(registry, {
    name: 'repeater_datagrams_total',
    help: 'Datagrams received; passed on, once however many subscribers there are; and sent.',
    labelNames: ['direction'],
    read: () => [
      { labels: { direction: 'received' }, value: stats.datagramsReceived },
      { labels: { direction: 'passed' }, value: stats.datagramsPassed },
      { labels: { direction: 'sent' }, value: stats.datagramsSent },
    ],
  })
  addCounter(registry, {
    name: 'repeater_dropped_total',
    help: 'Datagrams that went no further, by reason.',
    labelNames: ['reason'],
    read: () =>
      Object.entries(stats.dropped).map(([reason, value]) => ({ labels: { reason }, value })),
  })
  addGauge(registry, {
    name: 'repeater_subscribers',
    help: 'Nodes that get what the others send.',
    read: () => [{ value: source.subscribers() }],
  })
  addGauge(registry, {
    name: 'repeater_subscribers_limit',
    help: 'Most nodes that can subscribe.',
    read: () => [{ value: source.subscribersLimit }],
  })
  addGauge(registry, {
    name: 'key_age_seconds',
    help: 'Time since the keyring file was written.',
    read: () => {
      const value = source.keyAgeSec()
      return value === undefined ? [] : [{ value }]
    },
  })
}
