// The metrics of frontends whose protocols count for themselves: one counter for all events, by name.

import type { Registry } from 'prom-client'
import { addCounter, addGauge } from './stats-metrics.ts'

export interface FrontendSource {
  /** Its key in the configuration. */
  readonly name: string
  /** Each counter with its name in camel case, always the same ones. */
  events(): readonly (readonly [string, number])[]
  /** Open now; absent where there are none. */
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
