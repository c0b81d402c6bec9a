// One load run of `tlscached terminate`: its processes, two nodes that replicate, a backend, many clients;
// on request the node of the terminator is killed and started again meanwhile.

import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { formatAddress } from '../../src/base/address.ts'
import { systemRandom } from '../../src/base/world.ts'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import {
  type Prometheus,
  startPrometheus,
  startScrapedNode,
} from '../prometheus/scraping-prometheus.ts'
import { freeAddresses, freePorts } from '../support/free-ports.ts'
import {
  type NodeProcess,
  startServe,
  stopProcess,
  untilAllKnowEachOther,
} from '../support/node-processes.ts'
import { readMetrics, startTerminate, sumOf } from '../support/terminate-process.ts'
import { runClients, type Tally, type Version } from './tls-clients.ts'

export interface LoadOptions {
  readonly seconds: number
  readonly processes: number
  readonly clients: number
  /** Between two connections of a client. */
  readonly pauseMs: number
  /** How often the node is killed and started again, spread over the time. */
  readonly restarts: number
  /** Longest wait for the node in a step of a handshake. */
  readonly deadlineMs: number
  /** Whether a Prometheus with the alerts of deploy/prometheus watches nodes and terminator meanwhile. */
  readonly isWatched?: boolean
}

/** Names of the alerts that fired at any time of a run, and of those that would have, had it gone on. */
export interface SeenAlerts {
  readonly fired: Set<string>
  readonly pending: Set<string>
}

export interface LoadResult {
  readonly tallies: ReadonlyMap<Version, Tally>
  /** What the terminator counted. */
  readonly metrics: ReadonlyMap<string, number>
  /** How long the node was away each time, until it had been ready for the reconnect time. */
  readonly awayMs: readonly number[]
  readonly elapsedMs: number
  /** Undefined when no Prometheus watched. */
  readonly alerts: SeenAlerts | undefined
}

/** Scrapes and evaluations of a Prometheus as it is usually set up. */
const PROMETHEUS_INTERVAL = '15s'
/** Time between two looks at its alerts. */
const LOOK_MS = 5000
/** Longest pause of connectHooks between two tries. */
const RECONNECT_MS = 1000
const AFTERWARDS_MS = 1000
/** On a machine that is so busy that no session could be offered yet. */
const LONGEST_EXTRA_MS = 60_000

export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-load-'))
  const backend = createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.pipe(socket)
  })
  const ends: (() => Promise<unknown>)[] = []
  try {
    const [addresses, ports] = [await freeAddresses(2), await freePorts(4)]
    const [tlsPort, backendPort, ...httpPorts] = ports
    backend.listen(backendPort, '127.0.0.1')
    await once(backend, 'listening')
    // Only Prometheus needs HTTP over TCP.
    const cluster = new NodePair(folder, addresses, options.isWatched ? httpPorts : [])
    ends.push(() => cluster.stop())
    await cluster.start()
    const terminator = await startTerminate([
      ...['--listen', `127.0.0.1:${tlsPort}`, '--backend', `127.0.0.1:${backendPort}`],
      ...['--cert', writePem(folder, 'cert'), '--key', writePem(folder, 'key')],
      ...['--node', `unix:${cluster.rpcPath}`, '--processes', String(options.processes)],
      ...['--deadline', `${options.deadlineMs}ms`, '--log-level', 'error', '--drain', '1s'],
    ])
    ends.push(() => stopProcess(terminator.child))
    const targets = [...cluster.https, formatAddress(terminator.metrics)]
    const watch = options.isWatched ? await watchAlerts(folder, targets) : undefined
    if (watch !== undefined) ends.push(watch.stop)
    const startMs = performance.now()
    let endMs = startMs + options.seconds * 1000
    let isRestarted = false
    const restarts = cluster.restartSpread(options.restarts, options.seconds).then(() => {
      // The last one shall show, too.
      if (options.restarts > 0) endMs = Math.max(endMs, performance.now() + AFTERWARDS_MS)
      isRestarted = true
    })
    const clients = runClients({
      target: { host: '127.0.0.1', port: tlsPort ?? 0 },
      clients: options.clients,
      versions: ['1.2', '1.3'],
      pauseMs: options.pauseMs,
      isOver: (tallies) => {
        const nowMs = performance.now()
        const isCompared = [...tallies.values()].every(({ offered }) => offered > 0)
        return isRestarted && (nowMs >= endMs + LONGEST_EXTRA_MS || (isCompared && nowMs >= endMs))
      },
      wasAwaySince: (ms) => cluster.wasAwaySince(ms),
    })
    const [tallies] = await Promise.all([clients, restarts])
    const elapsedMs = performance.now() - startMs
    const metrics = await readMetrics(terminator)
    return { tallies, metrics, awayMs: cluster.awayMs, elapsedMs, alerts: await watch?.look() }
  } finally {
    for (const end of ends.reverse()) await end()
    await new Promise((resolve) => backend.close(resolve))
    rmSync(folder, { recursive: true })
  }
}

/** Starts a Prometheus over these targets; `look` adds what its alerts say now to all that was seen before. */
async function watchAlerts(folder: string, targets: readonly string[]) {
  const rules = readFileSync(new URL('../../deploy/prometheus/rules.yml', import.meta.url), 'utf8')
  const prometheus: Prometheus = await startPrometheus(folder, {
    ...{ targets, rules },
    ...{ scrapeInterval: PROMETHEUS_INTERVAL, evaluationInterval: PROMETHEUS_INTERVAL },
  })
  const seen: SeenAlerts = { fired: new Set(), pending: new Set() }
  const look = async () => {
    for (const name of await prometheus.alerts()) seen.fired.add(name)
    for (const name of await prometheus.alerts('pending')) seen.pending.add(name)
    return seen
  }
  const timer = setInterval(() => void look().catch(() => {}), LOOK_MS)
  const stop = async () => {
    clearInterval(timer)
    await prometheus.stop()
  }
  return { look, stop }
}

export interface Verdict {
  readonly version: Version
  readonly failed: number
  readonly badRecordMac: number
  readonly resumedShare: number
  readonly isReached: boolean
}

export const RESUMED_SHARE_GOAL = 0.999

/** No handshake failed, and those that could resume did. */
export function judge({ tallies, metrics }: LoadResult): readonly Verdict[] {
  const badRecordMac = sumOf(metrics, 'handshake_failures_total', 'bad_record_mac')
  return [...tallies].map(([version, tally]) => {
    const failed = [...tally.failures.values()].reduce((sum, count) => sum + count, 0)
    const resumedShare = tally.offered === 0 ? 0 : tally.resumed / tally.offered
    const isReached = failed === 0 && badRecordMac === 0 && resumedShare >= RESUMED_SHARE_GOAL
    return { version, failed, badRecordMac, resumedShare, isReached }
  })
}

/** The node of the terminator, and the peer that still knows the sessions when that starts again. */
class NodePair {
  readonly rpcPath: string
  readonly awayMs: number[] = []
  readonly #folder: string
  readonly #configs: readonly Parameters<typeof startScrapedNode>[2][]
  readonly #httpPorts: readonly number[]
  readonly #nodes: NodeProcess[] = []
  #isAway = false
  #lastAwayMs = Number.NEGATIVE_INFINITY

  constructor(folder: string, addresses: readonly string[], httpPorts: readonly number[]) {
    this.#folder = folder
    this.#httpPorts = httpPorts
    this.rpcPath = join(folder, 'rpc.sock')
    const keys = [generateKey(systemRandom)]
    this.#configs = addresses.map((listen, index) => ({
      node: { name: `node-${index + 1}` },
      caches: [{ name: 'ssl', items: 200_000 }],
      replication: { listen, peers: addresses.filter((other) => other !== listen), keys },
      frontends: index === 0 ? { rpc: `unix:${this.rpcPath}` } : {},
    }))
  }

  /** Addresses of the HTTP frontends, as host:port. */
  get https(): readonly string[] {
    return this.#httpPorts.map((port) => `127.0.0.1:${port}`)
  }

  async start(): Promise<void> {
    for (const index of this.#configs.keys()) this.#nodes.push(await this.#startNode(index))
    await untilAllKnowEachOther(this.#nodes)
  }

  async #startNode(index: number): Promise<NodeProcess> {
    const [config, port] = [this.#configs[index], this.#httpPorts[index]]
    if (config === undefined) throw new Error('there is no such node')
    if (port === undefined) {
      const http = `unix:${join(this.#folder, `node-${index + 1}.sock`)}`
      return startServe(this.#folder, { ...config, frontends: { ...config.frontends, http } })
    }
    const child = await startScrapedNode(this.#folder, port, config)
    return { child, http: { host: '127.0.0.1', port } }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#nodes.map(({ child }) => stopProcess(child)))
  }

  wasAwaySince(ms: number): boolean {
    return this.#isAway || this.#lastAwayMs >= ms
  }

  async restartSpread(count: number, seconds: number): Promise<void> {
    for (let done = 0; done < count; done += 1) {
      await pause((seconds * 1000) / (count + 1.5))
      const startMs = performance.now()
      await this.#restart()
      this.awayMs.push(performance.now() - startMs)
    }
  }

  async #restart(): Promise<void> {
    const [node] = this.#nodes
    if (node === undefined) throw new Error('there is no node')
    this.#isAway = true
    const gone = once(node.child, 'exit')
    node.child.kill('SIGKILL')
    await gone
    this.#nodes[0] = await this.#startNode(0)
    await pause(RECONNECT_MS)
    this.#lastAwayMs = performance.now()
    this.#isAway = false
  }
}

function writePem(folder: string, what: 'cert' | 'key'): string {
  const file = join(folder, `${what}.pem`)
  writeFileSync(file, DEMO_CERTIFICATE[what], { mode: 0o600 })
  return file
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
