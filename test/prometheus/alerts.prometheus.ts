// The alerts of a cluster whose nodes end, hang, fill up, are asked for nothing or have other keys, in a real Prometheus:
// none fires while all is well, and each fires in its time after its fault is made.

import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { NOTHING_SEEN } from '../../src/prove/observations.ts'
import { resultOf } from '../../src/prove/prove.ts'
import { metricsOf } from '../../src/prove/report.ts'
import { freePorts } from '../support/free-ports.ts'
import { ask } from '../support/http.ts'
import { until } from '../support/latch.ts'
import { stopProcess } from '../support/node-processes.ts'
import { whyWithout } from '../support/programs.ts'
import { AlertTrial, ruleMs, type Within } from './alert-trial.ts'
import { startScrapedNode } from './scraping-prometheus.ts'

const WITHIN: Within = {
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

/** Logs so many lines at SIGUSR2 that a pipe nobody reads, and the queue before it, are full. */
const NOISE = `process.on('SIGUSR2', () => {
  for (let line = 0; line < 3000; line += 1) process.emitWarning('x'.repeat(1000))
})`
/** Often enough for lines to be dropped all the time that the alert looks at. */
const NOISE_PERIOD_MS = ruleMs('2m')
const NOISY = ['--import', `data:text/javascript,${encodeURIComponent(NOISE)}`]
/** The event loop makes no further turn after SIGUSR2. */
const HANGING = ['--import', 'data:text/javascript,process.on("SIGUSR2",()=>{for(;;);})']

describe('alerts', { skip: whyWithout('prometheus') }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-alerts-'))
  const keysFile = join(folder, 'keys')
  const nodes = new Map<string, ChildProcess>()
  const trial = new AlertTrial(WITHIN)
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
    await trial.start(folder, targets)
    trial.keepOn(async () => {
      const path = `/v1/caches/ssl/sessions/${randomBytes(32).toString('hex')}?context=a`
      await ask(addressOf(0), { method: 'PUT', path, body: randomBytes(100) })
      for (const index of [0, 1]) await ask(addressOf(index), { path })
    })
  })
  after(async () => {
    for (const child of nodes.values()) {
      child.stderr?.resume()
      // A call that a stopped node has not answered ends.
      child.kill('SIGCONT')
    }
    await trial.stop()
    exporter.close()
    for (const child of nodes.values()) await stopProcess(child)
    rmSync(folder, { recursive: true })
  })

  test('none fires while all is well', async () => {
    await trial.staysQuiet()
    const [up] = await trial.prometheus.query('sum(tlscached_peer_up)')
    assert.equal(up?.value, 6)
  })

  test('each fires in its time after its fault', async () => {
    const startMs = performance.now()
    const result = resultOf(NOTHING_SEEN)
    proved = metricsOf(result, Date.now() - 3_600_000)
    trial.keepOn(() => put('ssl', 2000))
    trial.keepOn(() => put('small'))
    trial.keepOn(() => put('unasked'))
    utimesSync(keysFile, new Date(), new Date(Date.now() - 200 * 86_400_000))
    nodes.get('edge-1')?.kill('SIGHUP')
    trial.keepOn(async () => {
      nodes.get('edge-1')?.kill('SIGUSR2')
      await delay(NOISE_PERIOD_MS)
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
        const [start] = await trial.prometheus.query(started)
        return start !== undefined && start.value >= Math.floor(killedSec)
      })
    }
    const stoppedMs = performance.now()
    nodes.get('edge-2')?.kill('SIGSTOP')
    nodes.get('edge-3')?.kill('SIGSTOP')

    await trial.allFire(startMs, stoppedMs, () => {
      assert.deepEqual(endedNodes(), [], 'nodes ended that no fault ends')
    })
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
