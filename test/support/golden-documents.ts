// What the program promises to those who read its output, as the files of test/golden: whatever differs from run to run
// or from machine to machine has a name in angle brackets instead.

import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { silentLogger } from '../../src/base/world.ts'
import { type ConfigSources, readConfig } from '../../src/node/config.ts'
import type { ConfigInput } from '../../src/node/config-schema.ts'
import { type CacheNode, createNode, nodeConfig } from '../../src/node/node.ts'
import { RepeaterNode } from '../../src/node/repeater-node.ts'
import { ConfigError } from '../../src/settings/errors.ts'
import { TerminatorMetrics } from '../../src/terminator/metrics.ts'
import { createBackendStats, createTerminatorStats } from '../../src/terminator/stats.ts'
import { mistakes, standaloneMistakes } from './config-mistakes.ts'
import { ask } from './http.ts'
import { until } from './latch.ts'
import { seededBytes } from './seeded-random.ts'

export const GOLDEN_FOLDER = new URL('../golden/', import.meta.url)

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const KEY = Buffer.alloc(32, 7).toString('base64')
const CONTEXT = Buffer.from('shop')
const ID = Buffer.alloc(32, 1)

/** The text of each file by its name. Help and reference come from `dist`, which has to be built. */
export async function goldenDocuments(): Promise<ReadonlyMap<string, string>> {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-golden-'))
  try {
    const documents = [
      ...(await nodeDocuments(folder)),
      ['metrics-repeater.txt', await repeaterMetrics()],
      ['metrics-terminator.txt', await terminatorMetrics()],
      ['config-mistakes.txt', mistakesText(folder)],
      ...(await commandDocuments(join(folder, 'runner.mjs'))),
    ] as const
    return new Map(documents)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Two nodes that know each other; the first one has every frontend, and a session that came from the other one. */
async function nodeDocuments(folder: string): Promise<[string, string][]> {
  const socket = (name: string) => ({ path: join(folder, `${name}.sock`) })
  const unix = (name: string) => `unix:${socket(name).path}`
  const keysFile = join(folder, 'keys')
  writeFileSync(keysFile, `${KEY}\n`, { mode: 0o600 })
  const replication = { listen: '127.0.0.1:0', keys_file: keysFile }
  const config: ConfigInput = {
    node: { name: 'a' },
    caches: [
      { name: 'ssl', items: 100, contexts: ['shop', 'hex:00a1'] },
      { name: 'early', items: 10, full: 'refuse', replicate: false, single_use: true },
    ],
    tickets: {
      groups: [{ name: 'www' }],
      targets: [
        { kind: 'file', group: 'www', file: join(folder, 'ticket-keys'), allow_disk: true },
      ],
    },
    replication: { ...replication, listeners: [{ wire: 'uwsgi', listen: '127.0.0.1:0' }] },
    frontends: {
      http: unix('http'),
      memcached: unix('memcached'),
      sessiond: '127.0.0.1:0',
      rpc: unix('rpc'),
      stats: unix('stats'),
      uwsgi: unix('uwsgi'),
    },
  }
  const other: ConfigInput = {
    node: { name: 'b' },
    caches: [{ name: 'ssl', items: 100 }],
    replication,
  }
  const a = createNode(config, {
    logger: silentLogger,
    random: seededBytes('a'),
    hasProcessMetrics: true,
    droppedLogLines: () => 0,
    watchdogKills: 0,
  })
  const b = createNode(other, { logger: silentLogger, random: seededBytes('b') })
  try {
    await Promise.all([a.start(), b.start()])
    await meet([a, config], [b, other])
    a.hooks('early').get(CONTEXT, ID)
    b.hooks('ssl').put({ context: CONTEXT, id: ID, session: Buffer.alloc(130) })
    await until('the session is there', () => a.caches.get('ssl')?.stats.items === 1)
    a.hooks('ssl').get(CONTEXT, ID)
    await until('ticket keys were given', () => a.readiness().isReady)
    const bodyOf = async (name: string, path: string) => {
      const { body } = await ask(socket(name), { path })
      return body.toString()
    }
    const [metrics, caches, peers, ready, stats] = await Promise.all([
      bodyOf('http', '/metrics'),
      bodyOf('http', '/v1/caches'),
      bodyOf('http', '/v1/peers'),
      bodyOf('http', '/readyz'),
      bodyOf('stats', '/'),
    ])
    return [
      ['metrics-node.txt', withoutValues(metrics)],
      ['caches.json', withoutMoments(caches)],
      ['peers.json', withoutMoments(peers)],
      ['readyz.json', withoutMoments(ready)],
      ['stats.json', withoutMoments(stats)],
    ]
  } finally {
    await Promise.all([a.stop(), b.stop()])
  }
}

async function meet(...nodes: readonly [CacheNode, ConfigInput][]): Promise<void> {
  const addresses = nodes.map(([node]) => node.listening()[0]?.address ?? '')
  for (const [index, [node, config]] of nodes.entries()) {
    const peers = addresses.filter((_, at) => at !== index)
    const replication = { listen: '127.0.0.1:0', ...config.replication, peers }
    await node.reload(nodeConfig({ ...config, replication }))
  }
  await until('the nodes know each other and hold the same', () =>
    nodes.every(
      ([node]) =>
        node.syncStatus()?.state === 'synced' && node.peers().every((peer) => peer.isVerified),
    ),
  )
}

async function repeaterMetrics(): Promise<string> {
  const repeater = new RepeaterNode(
    {
      name: 'r',
      listen: { host: '127.0.0.1', port: 0 },
      keysFile: undefined,
      isInsecure: false,
      http: { host: '127.0.0.1', port: 0 },
    },
    { logger: silentLogger, random: seededBytes('r'), droppedLogLines: () => 0, watchdogKills: 0 },
  )
  return withoutValues((await repeater.metrics()).text)
}

async function terminatorMetrics(): Promise<string> {
  const backends = { '127.0.0.1:80': createBackendStats() }
  const processes = [{ ...createTerminatorStats(), backends }]
  const metrics = new TerminatorMetrics('', async () => ({ workers: 1, restarts: 0, processes }))
  return withoutValues(await metrics.text())
}

/** By name; of the metrics of the process, whose labels depend on the release of Node.js, help and type only. */
function withoutValues(metrics: string): string {
  const families = metrics.split(/^(?=# HELP )/m).map((family) =>
    family
      .split('\n')
      .filter((line) => line.startsWith('#') || line.startsWith('tlscached_'))
      .map((line) => (line.startsWith('#') ? line : line.slice(0, line.lastIndexOf(' '))))
      .map((line) => line.replace(/^(tlscached_build_info)\{.*/, '$1{version,node_version}'))
      .join('\n'),
  )
  return `${families.toSorted().join('\n\n')}\n`
}

/** Fields with a moment, a duration, or what depends on how fast things went. */
const CHANGING =
  /^(pid|boot|last_modified_at|last_\w+_ms|lag_ms|clock_difference_ms|\w*(datagrams|entries)_(sent|received)|duplicates|repaired|outdated)$/

function withoutMoments(json: string): string {
  const replace = (name: string, value: unknown): unknown => {
    if (CHANGING.test(name)) return `<${name}>`
    if (name === 'dropped')
      return Object.fromEntries(Object.keys(Object(value)).map((reason) => [reason, '<count>']))
    if (typeof value !== 'string') return value
    return value
      .replace(/(127\.0\.0\.1):\d+/g, '$1:<port>')
      .replace(/\b\d+ (ms|s|min) ago/g, '<time> ago')
      .replace(/^(tlscached-)\d.*/, '$1<version>')
  }
  return `${JSON.stringify(JSON.parse(json, replace), null, 2)}\n`
}

function mistakesText(folder: string): string {
  const file = join(folder, 'tlscached.yaml')
  const inFiles = mistakes.map(({ name, yaml }) => {
    writeFileSync(file, yaml)
    const indented = yaml.replace(/^/gm, '    ')
    return `${name}\n${indented}\n${complaint({ file }).replaceAll(file, '<file>')}\n`
  })
  const standalone = standaloneMistakes.map(
    ({ name, sources }) => `${name}\n${complaint(sources)}\n`,
  )
  return [...inFiles, ...standalone].join('\n')
}

function complaint(sources: Partial<ConfigSources>): string {
  try {
    readConfig({ hostName: 'host', ...sources })
  } catch (error) {
    if (error instanceof ConfigError) return error.message
    throw error
  }
  return 'no mistake'
}

async function commandDocuments(runner: string): Promise<[string, string][]> {
  writeFileSync(runner, RUNNER)
  const [main = '', reference = ''] = await run(runner, [['--help'], ['check', '--reference']])
  const names = [...main.matchAll(/^ {2}([a-z-]+) .*\[options\]/gm)].map(([, name = '']) => name)
  const helps = await run(
    runner,
    names.map((name) => ['help', name]),
  )
  const help = [main, ...helps].map((text, index) => {
    const command = ['tlscached', names[index - 1], '--help'].filter((word) => word !== undefined)
    return `$ ${command.join(' ')}\n${unwrapped(text)}`
  })
  return [
    ['config-reference.txt', reference],
    ['help.txt', help.join('\n')],
  ]
}

/** One line for each option, so that a longer one leaves the lines of the others as they are. */
function unwrapped(help: string): string {
  return help
    .replace(/\n {8,}(?=\S)/g, ' ')
    .replace(/(?<=\S) {2,}/g, '  ')
    .replace(`(default: ${availableParallelism()})`, '(default: <cores>)')
}

/** A program that runs the command line of `dist` once for each list of arguments: each start of a process takes a while. */
const RUNNER = `
  const [main, runs] = process.argv.slice(2)
  process.setMaxListeners(0)
  process.stdout.setMaxListeners(0)
  for (const [index, args] of JSON.parse(runs).entries()) {
    process.argv = [process.execPath, main, ...args]
    await import(main + '?' + index)
    process.stdout.write('\\0')
  }`

/** Standard output of each run. Rejects when one ends with another code than 0. */
async function run(runner: string, runs: readonly (readonly string[])[]): Promise<string[]> {
  const args = [runner, MAIN, JSON.stringify(runs)]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  return stdout.split('\0').slice(0, -1)
}
