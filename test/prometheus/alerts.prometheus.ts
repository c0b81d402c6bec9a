// The alerts in a real Prometheus that scrapes a real cluster: none fires while all is well, and each fires in its time
// after its fault is made. All times of the rules (`for`, windows, scrapes) are divided by ALERTS_SPEED, 60 by default;
// ALERTS_SPEED=1 takes them as they stand, and more than an hour. What takes a node its own time, such as ten seconds
// until a peer counts as silent, is not made shorter. ALERTS_HEALTHY, 15m by default, is how long all is well before.

import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { parseDurationMs } from '../../src/base/bytes.ts'
import { formatTable } from '../../src/cli/stats.ts'
import { NOTHING_SEEN } from '../../src/prove/observations.ts'
import { resultOf } from '../../src/prove/prove.ts'
import { metricsOf } from '../../src/prove/report.ts'
import { freePorts } from '../support/free-ports.ts'
import { ask } from '../support/http.ts'
import { until } from '../support/latch.ts'
import { stopProcess } from '../support/node-processes.ts'
import { whyWithout } from '../support/programs.ts'
import { type Prometheus, startPrometheus, startScrapedNode } from './scraping-prometheus.ts'

const SPEED = Number(process.env['ALERTS_SPEED'] ?? '60')
const SCRAPE_MS = Math.max(500, 15_000 / SPEED)
/** Longest time that a node or Prometheus takes by itself: a peer is silent after ten seconds. */
const OWN_MS = 15_000 + 4 * SCRAPE_MS
/** How long all is well; by default as long as the longest window that counts events, but one of an hour. */
const HEALTHY_MS = durationMs(process.env['ALERTS_HEALTHY'] ?? '15m')

/** When each alert must have fired after its fault: the window it looks at, and `for`. */
const WITHIN: Readonly<Record<string, readonly string[]>> = {
  TlscachedAway: ['2m'],
  TlscachedPeerSilent: ['5m'],
  TlscachedAlone: ['5m'],
  TlscachedUnauthenticated: ['5m'],
  TlscachedOldKeys: ['1h'],
  TlscachedRefusesPuts: ['5m'],
  TlscachedNoGets: ['30m', '10m'],
  TlscachedEvicts: ['15m'],
  TlscachedDropsLogLines: ['5m'],
  TlscachedRestarts: [],
  TlscachedWatchdogKilled: [],
  TlscachedProveFails: ['5m'],
  TlscachedProveStopped: ['5m'],
}

/** A duration of the rules in milliseconds, as this run takes it. */
function durationMs(text: string): number {
  return (parseDurationMs(text.replace('1d', '24h')) ?? 0) / SPEED
}

/** The rules with all their times divided. */
function hastenedRules(): string {
  const text = readFileSync(new URL('../../deploy/prometheus/rules.yml', import.meta.url), 'utf8')
  const hasten = (found: string) =>
    found.replace(/\d+[smhd]/, (one) => `${Math.ceil(durationMs(one))}ms`)
  return text.replaceAll(/\[\d+[smh]\]|offset \d+d|^ *for: \d+[smh]$/gm, hasten)
}

/** Logs so many lines at SIGUSR2 that a pipe nobody reads, and the queue before it, are full. */
const NOISE = `process.on('SIGUSR2', () => {
  for (let line = 0; line < 3000; line += 1) process.emitWarning('x'.repeat(1000))
})`
const NOISY = ['--import', `data:text/javascript,${encodeURIComponent(NOISE)}`]
/** The event loop makes no further turn after SIGUSR2. */
const HANGING = ['--import', 'data:text/javascript,process.on("SIGUSR2",()=>{for(;;);})']

describe('alerts', { skip: whyWithout('prometheus') }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-alerts-'))
  const keysFile = join(folder, 'keys')
  const nodes = new Map<string, ChildProcess>()
  const stop = new AbortController()
  const working: Promise<void>[] = []
  const table: string[][] = []
  let prometheus: Prometheus
  let http: number[] = []
  let replication: number[] = []
  let proved = ''
  const exporter = createServer((_request, response) => response.end(proved))

  function configOf(index: number, keys = keysFile) {
    const peers = replication.slice(0, 3).map((port) => `127.0.0.1:${port}`)
    // On a busy machine the usual one ends a node that nothing is wrong with; edge-3 shall be ended by it.
    const watchdog = index === 2 ? '2s' : '60s'
    return {
      node: { name: `edge-${index + 1}`, watchdog },
      caches: [
        { name: 'ssl', items: 1000, blocksize: 1000 },
        { name: 'small', items: 50 },
        { name: 'unasked', items: 100_000 },
      ],
      replication: { listen: `127.0.0.1:${replication[index]}`, peers, keys_file: keys },
    }
  }

  async function startNode(index: number, keys?: string): Promise<void> {
    const config = configOf(index, keys)
    const args = [NOISY, [], HANGING][index] ?? []
    const { name } = config.node
    // As systemd sets it for a unit.
    const variables = { RUNTIME_DIRECTORY: join(folder, name) }
    mkdirSync(variables.RUNTIME_DIRECTORY, { recursive: true })
    const port = http[index] ?? 0
    nodes.set(name, await startScrapedNode(folder, port, config, args, variables))
  }

  /** Calls again and again in the background until the end. */
  function keepOn(work: () => Promise<unknown>): void {
    const run = async () => {
      while (!stop.signal.aborted) {
        await work().catch(() => {})
        await delay(50)
      }
    }
    working.push(run())
  }

  function put(cache: string, sizeBytes = 100): Promise<unknown> {
    const path = `/v1/caches/${cache}/sessions/${randomBytes(32).toString('hex')}?context=a`
    return ask(addressOf(0), { method: 'PUT', path, body: randomBytes(sizeBytes) })
  }

  function addressOf(index: number) {
    return { host: '127.0.0.1', port: http[index] ?? 0 }
  }

  before(async () => {
    const ports = await freePorts(8)
    http = ports.slice(0, 4)
    replication = ports.slice(4)
    writeFileSync(keysFile, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 })
    for (const index of [0, 1, 2]) await startNode(index)
    exporter.listen(0, '127.0.0.1')
    await once(exporter, 'listening')
    const { port } = exporter.address() as AddressInfo
    const targets = [...http.slice(0, 3), port].map((one) => `127.0.0.1:${one}`)
    const intervals = { scrapeInterval: `${SCRAPE_MS}ms`, evaluationInterval: `${SCRAPE_MS}ms` }
    prometheus = await startPrometheus(folder, { targets, rules: hastenedRules(), ...intervals })
    keepOn(async () => {
      const path = `/v1/caches/ssl/sessions/${randomBytes(32).toString('hex')}?context=a`
      await ask(addressOf(0), { method: 'PUT', path, body: randomBytes(100) })
      for (const index of [0, 1]) await ask(addressOf(index), { path })
    })
  })
  after(async () => {
    stop.abort()
    for (const child of nodes.values()) {
      child.stderr?.resume()
      // A call that a stopped node has not answered ends.
      child.kill('SIGCONT')
    }
    await Promise.all(working)
    exporter.close()
    await prometheus?.stop()
    for (const child of nodes.values()) await stopProcess(child)
    rmSync(folder, { recursive: true })
    process.stdout.write(`${formatTable(['alert', 'must within, s', 'fired after, s'], table)}\n`)
  })

  test('none fires while all is well', async () => {
    const untilMs = performance.now() + HEALTHY_MS
    while (performance.now() < untilMs) {
      assert.deepEqual(await prometheus.alerts(), [])
      await delay(SCRAPE_MS)
    }
    const [up] = await prometheus.query('sum(tlscached_peer_up)')
    assert.equal(up?.value, 6)
  })

  test('each fires in its time after its fault', async () => {
    const startMs = performance.now()
    const result = resultOf(NOTHING_SEEN)
    proved = metricsOf(result, Date.now() - 3_600_000)
    keepOn(() => put('ssl', 2000))
    keepOn(() => put('small'))
    keepOn(() => put('unasked'))
    utimesSync(keysFile, new Date(), new Date(Date.now() - 200 * 86_400_000))
    nodes.get('edge-1')?.kill('SIGHUP')
    keepOn(async () => {
      nodes.get('edge-1')?.kill('SIGUSR2')
      await delay(SCRAPE_MS)
    })
    const otherKeys = join(folder, 'other-keys')
    writeFileSync(otherKeys, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 })
    await startNode(3, otherKeys)
    for (let count = 0; count < 2; count += 1) {
      // Prometheus knows the time of a start in whole seconds only.
      await delay(1500)
      await hang('edge-3')
      const killedSec = Date.now() / 1000
      await startNode(2)
      // Two starts between two scrapes would be one start to it.
      const started = `process_start_time_seconds{instance="127.0.0.1:${http[2]}"}`
      await until('Prometheus has seen the start', async () => {
        const [start] = await prometheus.query(started)
        return start !== undefined && start.value >= Math.floor(killedSec)
      })
    }
    const stoppedMs = performance.now()
    nodes.get('edge-2')?.kill('SIGSTOP')
    nodes.get('edge-3')?.kill('SIGSTOP')

    const missing = new Set(Object.keys(WITHIN))
    const limits = new Map(
      Object.entries(WITHIN).map(([alert, all]) => [
        alert,
        stoppedMs + OWN_MS + all.reduce((sum, one) => sum + durationMs(one), 0),
      ]),
    )
    const lastMs = Math.max(...limits.values())
    await until(
      'all fire',
      async () => {
        for (const alert of await prometheus.alerts()) {
          if (!missing.delete(alert)) continue
          const limitSec = ((limits.get(alert) ?? 0) - startMs) / 1000
          const tookSec = (performance.now() - startMs) / 1000
          table.push([alert, limitSec.toFixed(0), tookSec.toFixed(1)])
          assert.ok(tookSec <= limitSec, `${alert} took ${tookSec} s`)
        }
        assert.deepEqual(endedNodes(), [], 'nodes ended that no fault ends')
        await delay(SCRAPE_MS / 2)
        return missing.size === 0 || performance.now() > lastMs
      },
      lastMs + 60_000,
    )
    assert.deepEqual([...missing], [])
  })

  function endedNodes(): string[] {
    const isOver = ({ exitCode, signalCode }: ChildProcess) =>
      exitCode !== null || signalCode !== null
    return [...nodes].filter(([, child]) => isOver(child)).map(([name]) => name)
  }

  /** Lets the event loop of a node hang until its watchdog has killed it. */
  async function hang(name: string): Promise<void> {
    const child = nodes.get(name)
    if (child === undefined) return
    const exit = once(child, 'exit')
    child.kill('SIGUSR2')
    await exit
  }
})
