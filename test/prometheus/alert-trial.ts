// Whether the alerts fire in their time in a real Prometheus, whose rules have all their times (`for`, windows, scrapes)
// divided by ALERTS_SPEED, 60 by default; ALERTS_SPEED=1 takes them as they stand, and more than an hour. What takes a
// node its own time, such as ten seconds until a peer counts as silent, is not made shorter. ALERTS_HEALTHY, 15m by
// default, is how long all is well before.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { parseDurationMs } from '../../src/base/bytes.ts'
import { formatTable } from '../../src/cli/stats.ts'
import { until } from '../support/latch.ts'
import { type Prometheus, startPrometheus } from './scraping-prometheus.ts'

export const SPEED = Number(process.env['ALERTS_SPEED'] ?? '60')
/** An answer that takes longer than this is none, and `for` begins anew: the half of it is too short for a busy machine. */
export const SCRAPE_MS = Math.max(1000, 15_000 / SPEED)
/** Longest time that a node or Prometheus takes by itself: a peer is silent after ten seconds. */
const OWN_MS = 15_000 + 4 * SCRAPE_MS
/** How long all is well; by default as long as the longest window that counts events, but one of an hour. */
const HEALTHY_MS = ruleMs(process.env['ALERTS_HEALTHY'] ?? '15m')
/** Time between two calls of what goes on in the background. */
const WORK_PERIOD_MS = 50

/**
 * When each alert must have fired after its fault: the window that it looks at and `for`, as in the rules, and times of
 * the fault itself, in seconds that are not divided.
 */
export type Within = Readonly<Record<string, readonly (string | number)[]>>

/** A duration of the rules in milliseconds, as this run takes it. */
export function ruleMs(text: string): number {
  return (parseDurationMs(text.replace('1d', '24h')) ?? 0) / SPEED
}

/** The rules with all their times divided. */
function hastenedRules(): string {
  const text = readFileSync(new URL('../../deploy/prometheus/rules.yml', import.meta.url), 'utf8')
  const hasten = (found: string) =>
    found.replace(/\d+[smhd]/, (one) => `${Math.ceil(ruleMs(one))}ms`)
  return text.replaceAll(/\[\d+[smh]\]|offset \d+d|^ *for: \d+[smh]$/gm, hasten)
}

export class AlertTrial {
  readonly #within: Within
  readonly #stop = new AbortController()
  readonly #working: Promise<void>[] = []
  readonly #table: string[][] = []
  #prometheus: Prometheus | undefined

  constructor(within: Within) {
    this.#within = within
  }

  get prometheus(): Prometheus {
    assert.ok(this.#prometheus !== undefined, 'it was started')
    return this.#prometheus
  }

  /** Starts a Prometheus that scrapes these addresses, with its data in `folder`. */
  async start(folder: string, targets: readonly string[]): Promise<void> {
    const intervals = { scrapeInterval: `${SCRAPE_MS}ms`, evaluationInterval: `${SCRAPE_MS}ms` }
    this.#prometheus = await startPrometheus(folder, {
      targets,
      rules: hastenedRules(),
      ...intervals,
    })
  }

  /** Ends the work in the background and Prometheus, and prints when each alert has fired. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#working)
    await this.#prometheus?.stop()
    const head = ['alert', 'must within, s', 'fired after, s']
    process.stdout.write(`${formatTable(head, this.#table)}\n`)
  }

  /** Calls again and again in the background until the end. */
  keepOn(work: () => Promise<unknown>): void {
    const run = async () => {
      while (!this.#stop.signal.aborted) {
        await work().catch(() => {})
        await delay(WORK_PERIOD_MS)
      }
    }
    this.#working.push(run())
  }

  /** No alert fires for as long as all is to be well. */
  async staysQuiet(): Promise<void> {
    const untilMs = performance.now() + HEALTHY_MS
    while (performance.now() < untilMs) {
      assert.deepEqual(await this.prometheus.alerts(), [])
      await delay(SCRAPE_MS)
    }
  }

  /**
   * Each alert fires in its time after `madeMs`, when the last fault was made; what is shown is counted from `startMs`,
   * when the first one was. `check` is called at each look.
   */
  async allFire(startMs: number, madeMs: number, check: () => void = () => {}): Promise<void> {
    const missing = new Set(Object.keys(this.#within))
    const limits = new Map(
      Object.entries(this.#within).map(([alert, all]) => [
        alert,
        madeMs + OWN_MS + all.reduce<number>((sum, one) => sum + timeMs(one), 0),
      ]),
    )
    const lastMs = Math.max(...limits.values())
    const look = async () => {
      for (const alert of await this.prometheus.alerts()) {
        if (!missing.delete(alert)) continue
        const limitSec = ((limits.get(alert) ?? 0) - startMs) / 1000
        const tookSec = (performance.now() - startMs) / 1000
        this.#table.push([alert, limitSec.toFixed(0), tookSec.toFixed(1)])
        assert.ok(tookSec <= limitSec, `${alert} took ${tookSec} s`)
      }
      check()
      await delay(SCRAPE_MS / 2)
      return missing.size === 0 || performance.now() > lastMs
    }
    await until('all fire', look, lastMs + 60_000)
    assert.deepEqual([...missing], [])
  }
}

function timeMs(time: string | number): number {
  return typeof time === 'number' ? time * 1000 : ruleMs(time)
}
