// The registry of one node's metrics; nothing in it is shared between nodes.

import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'

export const PREFIX = 'tlscached_'

/**
 * Default metrics of prom-client whose names break Prometheus' rules (a gauge must not end in `_total`). Each has a
 * twin with a correct name.
 */
const MISNAMED = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
]

export function createRegistry(version: string): Registry {
  const registry = new Registry()
  new Gauge({
    name: `${PREFIX}build_info`,
    help: 'Always 1; what runs is in the labels.',
    labelNames: ['version', 'node_version'],
    registers: [registry],
  }).set({ version, node_version: process.version }, 1)
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

/** Adds the counter of log lines that were dropped because the reader of the log did not keep up. */
export function collectLog(registry: Registry, droppedLines: () => number): void {
  new Counter({
    name: `${PREFIX}log_lines_dropped_total`,
    help: 'Log lines dropped, as the reader of the log does not keep up or its disk is full.',
    registers: [registry],
    collect() {
      this.reset()
      this.inc(droppedLines())
    },
  })
}
