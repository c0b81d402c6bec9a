// Where the time goes: the ten functions with most time of their own, of a node under gets of memcached's
// protocol, of one that sends sessions and of one that receives them.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePorts } from '../test/support/free-ports.ts'
import { type ClusterNode, untilMet, withCluster } from './cluster.ts'
import { nowUs, type Period, profilingArgs, readProfile } from './cpu-profile.ts'
import { compileLoad } from './load-programs.ts'
import {
  fillMemcached,
  LOAD_PROGRAM,
  type Load,
  type LoadReport,
  loadArgs,
  startOurs,
} from './memcached.ts'
import { type PerfShares, perfShares, whyWithoutPerf } from './perf.ts'
import { ANY_CPU } from './pinned.ts'
import type { BenchResult } from './results.ts'
import type { Row } from './table.ts'

const FUNCTIONS = 10
const GETS: readonly Load[] = [
  { operation: 'get', connections: 64, outstanding: 1, valueBytes: 130 },
  { operation: 'get', connections: 64, outstanding: 16, valueBytes: 130 },
]
/** Rates and turns of the replication benchmark at its moderate rate. */
const PUTS_PER_SEC = 100_000
/** More than one core puts in datagrams of the default size. */
const MOST_PUTS_PER_SEC = 210_000
const PUTS_PER_TURN = 500

interface Lengths {
  /** Before what is profiled, so that modules are loaded and functions compiled. */
  readonly warmUpSec: number
  readonly profiledSec: number
}

export async function benchProfile(isQuick: boolean): Promise<BenchResult[]> {
  const lengths = isQuick ? { warmUpSec: 0.5, profiledSec: 0.5 } : { warmUpSec: 2, profiledSec: 5 }
  return [
    ...(await profileGets(lengths)),
    ...(await profileReplication(lengths)),
    ...(await perfAll(lengths)),
  ]
}

async function profileGets({ warmUpSec, profiledSec }: Lengths): Promise<BenchResult[]> {
  const runLoad = await compileLoad<LoadReport>(LOAD_PROGRAM)
  const [port = 0] = await freePorts(1)
  const folder = newFolder()
  const periods: Period[] = []
  const node = await startOurs(port, { execArgs: profilingArgs(folder), cpu: ANY_CPU })
  try {
    for (const load of GETS) {
      await fillMemcached(port, load.valueBytes)
      await runLoad(loadArgs('memcached', port, load, warmUpSec))
      periods.push(await periodOf(() => runLoad(loadArgs('memcached', port, load, profiledSec))))
    }
  } finally {
    await node.stop()
  }
  return GETS.map((load, index) => resultOf(titleOf(load), folder, periods[index] ?? [0, 0]))
}

/** Of nodes like the benchmark's own, without V8's profile. */
async function perfAll(lengths: Lengths): Promise<BenchResult[]> {
  const missing = whyWithoutPerf()
  if (missing === undefined) return [...(await perfGets(lengths)), ...(await perfPuts(lengths))]
  console.error(`whose code has the processor: not measured: ${missing}`)
  return []
}

async function perfGets({ warmUpSec, profiledSec }: Lengths): Promise<BenchResult[]> {
  const runLoad = await compileLoad<LoadReport>(LOAD_PROGRAM)
  const [port = 0] = await freePorts(1)
  const node = await startOurs(port)
  try {
    const results: BenchResult[] = []
    for (const load of GETS) {
      await fillMemcached(port, load.valueBytes)
      await runLoad(loadArgs('memcached', port, load, warmUpSec))
      const [shares] = await Promise.all([
        perfShares(node.pid, profiledSec),
        // Longer than perf takes to begin and end.
        runLoad(loadArgs('memcached', port, load, profiledSec + warmUpSec)),
      ])
      results.push(sharesOf(titleOf(load), shares))
    }
    return results
  } finally {
    await node.stop()
  }
}

/** As many puts as go, in datagrams of the default size. */
async function perfPuts({ warmUpSec, profiledSec }: Lengths): Promise<BenchResult[]> {
  const loadSec = profiledSec + warmUpSec
  const totalSec = warmUpSec + loadSec
  return withSender({ perSec: MOST_PUTS_PER_SEC, totalSec }, async (put, nodes) => {
    await put(warmUpSec)
    const perf = Promise.all(nodes.map(({ pid }) => perfShares(pid, profiledSec)))
    await put(loadSec)
    const kinds = ['sender', 'receiver']
    return (await perf).map((shares, number) =>
      sharesOf(`${kinds[number]} of as many sessions as it can, 1400 B`, shares),
    )
  })
}

function sharesOf(what: string, { kernel, runtime, javaScript }: PerfShares): BenchResult {
  return {
    name: `profile by perf: ${what}`,
    rows: [
      { what: 'kernel', ...percent(kernel) },
      { what: 'Node.js, V8, OpenSSL, libuv and C library', ...percent(runtime) },
      { what: "JavaScript: ours, lru-cache's and Node's own", ...percent(javaScript) },
    ],
  }
}

function titleOf({ connections, outstanding }: Load): string {
  return `memcached get, ${connections} connections, ${outstanding} outstanding`
}

async function profileReplication({ warmUpSec, profiledSec }: Lengths): Promise<BenchResult[]> {
  const folders = [newFolder(), newFolder()] as const
  const execArgs = (number: number) => profilingArgs(folders[number] ?? newFolder())
  const totalSec = warmUpSec + profiledSec
  const period = await withSender({ perSec: PUTS_PER_SEC, totalSec, execArgs }, async (put) => {
    await put(warmUpSec)
    return periodOf(() => put(profiledSec))
  })
  return [
    resultOf(`sender of ${PUTS_PER_SEC} sessions a second, 1400 B`, folders[0], period),
    resultOf(`receiver of ${PUTS_PER_SEC} sessions a second, 1400 B`, folders[1], period),
  ]
}

interface Puts {
  readonly perSec: number
  /** Of all that `put` is called for. */
  readonly totalSec: number
  /** Further options of Node. */
  readonly execArgs?: (number: number) => readonly string[]
}

/** Runs with two nodes that met; `put` puts into the first one, for so many seconds. */
function withSender<Result>(
  { perSec, totalSec, execArgs = () => [] }: Puts,
  run: (
    put: (seconds: number) => Promise<unknown>,
    nodes: readonly ClusterNode[],
  ) => Promise<Result>,
): Promise<Result> {
  // Room for what is put, and as much again.
  const items = 2 * perSec * totalSec
  return withCluster({ items, cpus: [ANY_CPU, ANY_CPU], execArgs }, async (nodes, start) => {
    await Promise.all(nodes.map((_, number) => start(number)))
    await untilMet(nodes)
    const put = async (seconds: number) =>
      nodes[0]?.order({ kind: 'put', count: perSec * seconds, perSec, perTurn: PUTS_PER_TURN })
    return run(put, nodes)
  })
}

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-profile-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  return folder
}

async function periodOf(work: () => Promise<unknown>): Promise<Period> {
  const fromUs = nowUs()
  await work()
  return [fromUs, nowUs()]
}

function resultOf(what: string, folder: string, period: Period): BenchResult {
  const { busyShare, functions } = readProfile(folder, period, FUNCTIONS)
  return {
    name: `profile: ${what}`,
    rows: [
      { what: 'not idle', ...percent(busyShare) },
      ...functions.map(({ name, share }) => ({ what: `  of that: ${name}`, ...percent(share) })),
    ],
  }
}

function percent(share: number): Pick<Row, 'value' | 'unit'> {
  return { value: share * 100, unit: '%' }
}
