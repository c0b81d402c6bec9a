// The metrics of frontends that keep their own counters: one metric for all events, with the event as a label.

import type { Registry } from 'prom-client'
import { addCounter, addGauge } from './stats-metrics.ts'

export interface FrontendSource {
  /** Name of the frontend in the configuration. */
  readonly name: string
  /** Returns each counter with its name in camel case; the names never change. */
  events(): readonly (readonly [string, number])[]
  /** Returns the number of open connections; absent for a frontend without connections. */
  connections?(): number
}

export function collectFrontends(registry: Registry, sources: readonly FrontendSource[]): void {
  addCounter(registry, {
    name: 'frontend_events_total',
    help: 'What the frontends counted, by event: commands and their hits, refusals, malformed input.',
    labelNames: ['frontend', 'event'],
    read: () =>
      sources.flatMap(({ name, events }) =>
        events().map(([event, value]) => ({
          labels: { frontend: name, event: toSnakeCase(event) },
          value,
        })),
      ),
  })
  addGauge(registry, {
    name: 'frontend_connections',
    help: 'Connections open now.',
    labelNames: ['frontend'],
    read: () =>
      sources.flatMap(({ name, connections }) =>
        connections === undefined ? [] : [{ labels: { frontend: name }, value: connections() }],
      ),
  })
}

function toSnakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}
