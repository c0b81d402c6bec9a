// What many runs came to, in figures and in words.

import { Coverage } from './coverage.ts'
import type { JournalLine } from './journal.ts'
import { REACHABLE, UNREACHABLE } from './reasons.ts'
import type { Report } from './worker.ts'

/** Upper bounds of the densities of faults that visible times are shown for. */
const DENSITIES = [0, 0.1, 0.3, 1]
const MS_PER_HOUR = 3_600_000

export class Summary {
  runs = 0
  nodeMs = 0
  simulatedMs = 0
  cpuMs = 0
  events = 0
  datagrams = 0
  readonly coverage = new Coverage()
  readonly #faults = new Map<string, number>()
  readonly #visibleMs = DENSITIES.map((): number[] => [])

  add(report: Report): void {
    this.runs += 1
    this.nodeMs += report.nodeMs
    this.simulatedMs += report.simulatedMs
    this.cpuMs += report.cpuMs
    this.events += report.events
    this.datagrams += report.datagrams
    for (const [kind, count] of Object.entries(report.faults)) {
      this.#faults.set(kind, (this.#faults.get(kind) ?? 0) + count)
    }
    const density = DENSITIES.findIndex((bound) => report.density <= bound)
    this.#visibleMs[density]?.push(...report.visibleMs)
    for (const [name, count] of report.reached) this.coverage.addCount(name, count)
  }

  /** One line while runs go on. */
  progress(): string {
    const hours = (this.nodeMs / MS_PER_HOUR).toFixed(1)
    return `${this.runs} schedules, ${hours} node-hours, ${this.datagrams} datagrams`
  }

  text(): string {
    const hours = this.simulatedMs / MS_PER_HOUR
    const faults = [...this.#faults].sort(([a], [b]) => a.localeCompare(b))
    const isReached = (name: string) => (this.coverage.counts.get(name) ?? 0) > 0
    const missing = REACHABLE.filter((name) => !isReached(name))
    const surprising = UNREACHABLE.filter(isReached)
    const perNodeSec = (this.cpuMs * 1e6) / Math.max(1, this.nodeMs)
    return [
      `schedules tried       ${this.runs}`,
      `simulated             ${hours.toFixed(1)} hours, ${(this.nodeMs / MS_PER_HOUR).toFixed(1)} node-hours`,
      `events, datagrams     ${this.events}, ${this.datagrams}`,
      `cost of a node-second ${perNodeSec.toFixed(0)} us of processor time`,
      `faults                ${faults.map(([kind, count]) => `${kind} ${count}`).join(', ')}`,
      'time from put or remove to its arrival at another node, by copies and comparisons too:',
      ...this.#visibleMs.map((times, index) => this.#visible(times, index)),
      `reasons reached       ${REACHABLE.length - missing.length} of ${REACHABLE.length}`,
      ...(missing.length === 0 ? [] : [`not reached this time ${missing.join(', ')}`]),
      ...(surprising.length === 0
        ? []
        : [`reached against test/simulation/reasons.ts: ${surprising.join(', ')}`]),
    ].join('\n')
  }

  #visible(times: number[], index: number): string {
    times.sort((a, b) => a - b)
    const at = (share: number) => times[Math.floor(share * (times.length - 1))]?.toFixed(1) ?? '-'
    const bound = DENSITIES[index] ?? 1
    const label = bound === 0 ? 'without faults' : `density up to ${bound}`
    return `  ${label.padEnd(20)}p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, of ${times.length}`
  }
}

/** The last lines of a run, for a person. */
export function timeLine(lines: readonly JournalLine[], count: number): string {
  return lines
    .slice(-count)
    .map(({ atMs, host, text }) => {
      return `${(atMs / 1000).toFixed(3).padStart(10)} s  ${host.padEnd(10)} ${text}`
    })
    .join('\n')
}
