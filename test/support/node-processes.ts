// Nodes as processes: the real command line, started and ended by a test.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import {
  type Address,
  formatAddress,
  type HostAddress,
  parseAddress,
  parseHostAddress,
} from '../../src/base/address.ts'
import { askPeers } from '../../src/cli/stats.ts'
import { ask } from './http.ts'
import { until } from './latch.ts'
import type { TerminatorNodeOptions } from './terminator-node.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const MAIN = join(ROOT, 'dist/cli/main.js')

/** Programs start slowly where many start at once. */
const START_FAILSAFE_MS = 60_000

/** Returns the arguments of Node.js that run a program of test/support, compiled if the test is, otherwise through tsx. */
export function programArgs(name: string): readonly string[] {
  const isCompiled = !process.execArgv.some((arg) => arg.includes('tsx'))
  if (isCompiled) return [join(ROOT, '.test-build/test/support', `${name}.js`)]
  return ['--import', import.meta.resolve('tsx'), join(ROOT, 'test/support', `${name}.ts`)]
}
/** Arguments of Node.js that run the built program, which starts three times as fast as the sources do. */
export const CLI_ARGS: readonly string[] = [MAIN]
refuseOldBuild()

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Throws when the built program is missing or older than a source: then tests would not test what is there. */
function refuseOldBuild(): void {
  // Each build writes this file last; the compiler leaves a file that would be the same as it is.
  const built = join(ROOT, 'dist/config.schema.json')
  const builtMs = statSync(built, { throwIfNoEntry: false })?.mtimeMs ?? 0
  const sources = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
  const newer = sources.find((name) => {
    return name.endsWith('.ts') && statSync(join(ROOT, 'src', name)).mtimeMs > builtMs
  })
  if (newer !== undefined) throw new Error(`src/${newer} is newer than dist: npm run build`)
}

/** Runs the command to its end. */
export async function runCli(
  args: readonly string[],
  input?: string | Buffer,
  variables: Readonly<Record<string, string>> = {},
): Promise<Finished> {
  const env = { ...process.env, ...variables }
  const child = spawn(process.execPath, [...CLI_ARGS, ...args], { stdio: 'pipe', env })
  child.stdin.end(input)
  return finish(child)
}

/** Everything a child says, and how it ends. */
export async function finish(child: ChildProcess): Promise<Finished> {
  let stdout = ''
  let stderr = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    stdout += chunk.toString()
  })
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  const [code]: (number | null)[] = await once(child, 'close')
  return { code: code ?? null, stdout, stderr }
}

export interface NodeProcess {
  readonly child: ChildProcess
  readonly http: Address
}

export interface TerminatorProcess extends NodeProcess {
  readonly tls: HostAddress
}

export type Spawner = (args: readonly string[]) => ChildProcess

const spawnHere: Spawner = (args) =>
  spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] })

/**
 * Starts `serve` with this configuration and waits until it says that it is ready. A configuration with frontends of its
 * own has HTTP at `http`.
 */
export async function startServe(
  folder: string,
  config: { node: { name: string }; [section: string]: unknown },
  spawnNode: Spawner = spawnHere,
  http: Address = { path: join(folder, `${config.node.name}.sock`) },
): Promise<NodeProcess> {
  const { name } = config.node
  const file = join(folder, `${name}.json`)
  const frontends = { http: formatAddress(http) }
  const whole = { frontends, log: { level: 'warn' }, ...config }
  writeFileSync(file, JSON.stringify(whole))
  const child = spawnNode([...CLI_ARGS, 'serve', '--config', file])
  await untilReady(name, child, http)
  return { child, http }
}

/** Starts `repeat` and waits until it says that it is ready. */
export async function startRepeat(
  folder: string,
  name: string,
  options: readonly string[],
  spawnRepeater: Spawner = spawnHere,
): Promise<NodeProcess> {
  const http = { path: join(folder, `${name}.sock`) }
  const args = ['--name', name, '--http', `unix:${http.path}`, '--log-level', 'warn', ...options]
  const child = spawnRepeater([...CLI_ARGS, 'repeat', ...args])
  await untilReady(name, child, http)
  return { child, http }
}

async function untilReady(name: string, child: ChildProcess, http: Address): Promise<void> {
  const isReady = async () => {
    if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}`)
    const answer = await ask(http, { path: '/readyz' }).catch(() => undefined)
    return answer?.status === 200
  }
  await until(`${name} is ready`, isReady, START_FAILSAFE_MS)
}

/** Ends a process that this test started, and waits for it. */
export async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGTERM')
  await exit
}

/** Starts a node with a TLS terminator and waits until both listen. */
export async function startTerminatorNode(
  options: TerminatorNodeOptions,
): Promise<TerminatorProcess> {
  const child = spawnHere([...programArgs('terminator-node'), JSON.stringify(options)])
  if (child.stdout === null) throw new Error('no standard output')
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`${options.config.node.name} ended with ${code} before it listened`)
  })
  const said = once(createInterface({ input: child.stdout }), 'line')
  const [line]: string[] = await Promise.race([said, ended])
  const { http, tls }: { http: string; tls: string } = JSON.parse(line ?? '')
  return { child, http: parseAddress(http), tls: parseHostAddress(tls) }
}

export async function untilAllKnowEachOther(nodes: readonly NodeProcess[]): Promise<void> {
  await until('every node knows all others', async () => {
    const peers = await Promise.all(nodes.map(({ http }) => askPeers(http)))
    return peers.every(
      (known) =>
        known.peers.filter((peer) => peer.verified && peer.role === 'node').length ===
        nodes.length - 1,
    )
  })
}
