// A real Prometheus, and nodes for it to scrape, as processes of a test.

import { type ChildProcess, spawn } from 'node:child_process'
import { openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { freePorts } from '../support/free-ports.ts'
import { ask } from '../support/http.ts'
import { until } from '../support/latch.ts'
import { CLI_ARGS, stopProcess } from '../support/node-processes.ts'

/** Programs start slowly where many start at once. */
const START_FAILSAFE_MS = 60_000

export interface Sample {
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface PrometheusOptions {
  /** Addresses, as host:port, of what is scraped as the job `tlscached`. */
  readonly targets: readonly string[]
  /** Text of a file of rules. */
  readonly rules?: string
  readonly scrapeInterval: string
  readonly evaluationInterval?: string
}

export class Prometheus {
  readonly #child: ChildProcess
  readonly #port: number

  constructor(child: ChildProcess, port: number) {
    this.#child = child
    this.#port = port
  }

  /** The samples of an instant vector now, or at a time in seconds. Throws what Prometheus says of a wrong query. */
  async query(expression: string, timeSec?: number): Promise<Sample[]> {
    const time = timeSec === undefined ? '' : `&time=${timeSec}`
    const answer = await this.#get(`query?query=${encodeURIComponent(expression)}${time}`)
    return answer.data.result.map((one: RawSample) => ({
      labels: one.metric,
      value: Number(one.value[1]),
    }))
  }

  /** Names of the alerts that are in this state now, each once; a pending one fires when its `for` is over. */
  async alerts(wanted: 'firing' | 'pending' = 'firing'): Promise<string[]> {
    const answer = await this.#get('alerts')
    const alerts: RawAlert[] = answer.data.alerts
    const found = alerts.filter(({ state }) => state === wanted)
    return [...new Set(found.map(({ labels }) => labels.alertname))].sort()
  }

  async stop(): Promise<void> {
    await stopProcess(this.#child)
  }

  async #get(path: string) {
    const address = { host: '127.0.0.1', port: this.#port }
    const { status, body } = await ask(address, { path: `/api/v1/${path}` })
    if (status !== 200) throw new Error(`${path}: ${body}`)
    return JSON.parse(body.toString())
  }
}

interface RawSample {
  readonly metric: Readonly<Record<string, string>>
  readonly value: readonly [number, string]
}

interface RawAlert {
  readonly state: string
  readonly labels: { readonly alertname: string }
}

/** Starts Prometheus with its data in `folder/data`, which may be there already, and waits until it is ready. */
export async function startPrometheus(
  folder: string,
  { targets, rules, scrapeInterval, evaluationInterval = '1s' }: PrometheusOptions,
): Promise<Prometheus> {
  const [port = 0] = await freePorts(1)
  const file = join(folder, 'prometheus.yml')
  const rulesFile = join(folder, 'rules.yml')
  writeFileSync(rulesFile, rules ?? 'groups: []\n')
  writeFileSync(
    file,
    stringify({
      global: { scrape_interval: scrapeInterval, evaluation_interval: evaluationInterval },
      rule_files: [rulesFile],
      scrape_configs: [{ job_name: 'tlscached', static_configs: [{ targets }] }],
    }),
  )
  const said = join(folder, 'prometheus.log')
  const out = openSync(said, 'a')
  const child = spawn(
    'prometheus',
    [
      `--config.file=${file}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { stdio: ['ignore', out, out] },
  )
  try {
    await untilAnswers('Prometheus', child, port, '/-/ready')
  } catch (error) {
    await stopProcess(child)
    throw new Error(readFileSync(said, 'utf8'), { cause: error })
  }
  return new Prometheus(child, port)
}

/**
 * Starts `serve` with its HTTP frontend on this port, and waits until it is ready. A node that is not in time is ended
 * before the promise rejects.
 */
export async function startScrapedNode(
  folder: string,
  port: number,
  config: ScrapedConfig,
  nodeArgs: readonly string[] = [],
  variables: Readonly<Record<string, string>> = {},
): Promise<ChildProcess> {
  const child = spawnScrapedNode(folder, port, config, nodeArgs, variables)
  try {
    await untilAnswers(config.node.name, child, port, '/readyz')
  } catch (error) {
    child.stderr?.resume()
    await stopProcess(child)
    throw error
  }
  return child
}

/** Resolves when the process answers 200 on this port; rejects when it ends, or after START_FAILSAFE_MS. */
export async function untilAnswers(
  name: string,
  child: ChildProcess,
  port: number,
  path: string,
): Promise<void> {
  const isReady = async () => {
    if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}`)
    const answer = await ask({ host: '127.0.0.1', port }, { path }).catch(() => undefined)
    return answer?.status === 200
  }
  await until(`${name} is ready`, isReady, START_FAILSAFE_MS)
}

/** The configuration of a node, to which its HTTP frontend is added. */
export interface ScrapedConfig {
  readonly node: { readonly name: string; readonly watchdog?: string }
  readonly frontends?: object
  readonly [section: string]: unknown
}

/** Starts `serve` with its HTTP frontend on this port. */
export function spawnScrapedNode(
  folder: string,
  port: number,
  config: ScrapedConfig,
  nodeArgs: readonly string[] = [],
  variables: Readonly<Record<string, string>> = {},
): ChildProcess {
  const file = join(folder, `${config.node.name}.json`)
  const http = `127.0.0.1:${port}`
  const frontends = { ...config.frontends, http }
  writeFileSync(file, JSON.stringify({ log: { level: 'warn' }, ...config, frontends }))
  const args = [...nodeArgs, ...CLI_ARGS, 'serve', '--config', file]
  // Nobody reads what it logs: a few lines fit into the pipe.
  const env = { ...process.env, ...variables }
  return spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'], env })
}
