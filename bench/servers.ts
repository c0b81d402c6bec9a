// Programs that are measured, each a process on the processor for servers: started, waited for, ended by
// their own process ID.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { codeOf } from '../src/base/errors.ts'
import { endWithUs } from './children.ts'
import { type Cpu, pinned, SERVER_CPU } from './pinned.ts'

/** The program as it is installed. */
const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))
/** How its first line has Node.js run it. */
const MAIN_OPTIONS = /^#!\/usr\/bin\/env -S node (.+)$/
/** For programs that Node runs from their TypeScript. */
export const WITH_TYPESCRIPT = ['--import', import.meta.resolve('tsx')]
const HOST = '127.0.0.1'
const START_TIMEOUT_MS = 15_000
/** Of /proc/PID/stat; the same on every Linux: proc(5), sysconf(3). */
const TICKS_PER_SEC = 100

export interface NodeOptions {
  /** Further options of Node. */
  readonly execArgs?: readonly string[]
  /** As the benchmarks themselves, unless told otherwise. */
  readonly hasHugePages?: boolean
  /** Default: SERVER_CPU. */
  readonly cpu?: Cpu
}

export interface Server {
  readonly name: string
  readonly pid: number
  /** Seconds of processor time since its start, that of its child processes included. */
  cpuSec(): number
  stop(): Promise<void>
}

/** Starts a program and waits until it accepts connections. */
export async function startProgram(
  name: string,
  port: number,
  program: string,
  args: readonly string[],
  cpu: Cpu = SERVER_CPU,
  env = process.env,
): Promise<Server> {
  const [command, allArgs] = pinned(cpu, program, args)
  // A program that is not there is an error event, reported below as an early end.
  const child = spawn(command, allArgs, { env, stdio: ['ignore', 'ignore', 'inherit'] })
  endWithUs(child)
  let hasEnded = false
  child.on('error', () => {
    hasEnded = true
  })
  child.on('exit', () => {
    hasEnded = true
  })
  const untilMs = performance.now() + START_TIMEOUT_MS
  while (!(await accepts(port))) {
    if (hasEnded || performance.now() > untilMs) {
      child.kill('SIGKILL')
      throw new Error(`${name} does not start`)
    }
    await delay(50)
  }
  return {
    name,
    pid: child.pid ?? 0,
    // taskset becomes the program itself, so this is the program's own time.
    cpuSec: () => cpuSecOf(child.pid),
    async stop() {
      if (hasEnded) return
      const exit = once(child, 'exit')
      child.kill('SIGTERM')
      await exit
    },
  }
}

/** Starts a command of our own and waits until it accepts connections on `port`. */
export function startCli(
  name: string,
  port: number,
  args: readonly string[],
  { execArgs = [], hasHugePages = true, cpu }: NodeOptions = {},
): Promise<Server> {
  const [firstLine = ''] = readFileSync(MAIN, 'utf8').split('\n', 1)
  const options = MAIN_OPTIONS.exec(firstLine)?.[1]?.split(' ')
  if (options === undefined) throw new Error(`${MAIN} does not say how it is run`)
  const allArgs = [...options, ...execArgs, MAIN, ...args]
  const { GLIBC_TUNABLES: _, ...smallPages } = process.env
  const env = hasHugePages ? process.env : smallPages
  return startProgram(name, port, process.execPath, allArgs, cpu, env)
}

/** Starts a node with this configuration and waits until it accepts connections on `port`. */
export async function startNode(
  port: number,
  config: { node: { name: string } },
  options?: NodeOptions,
): Promise<Server> {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-bench-'))
  const file = join(folder, 'node.json')
  writeFileSync(file, JSON.stringify(config))
  try {
    return await startCli(config.node.name, port, ['serve', '--config', file], options)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Seconds of processor time of a process since its start, that of its child processes included. */
export function cpuSecOf(pid: number | undefined): number {
  // Children first: the time of one that ends meanwhile is its parent's from then on.
  const childrenSec = childrenOf(pid).reduce(
    (sumSec, child) => sumSec + (tryCpuSecOf(child) ?? 0),
    0,
  )
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  // The name, in parentheses, may hold blanks; behind it, from the 12th field on, user and system time of the
  // process, then of its children that ended.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0)
  return childrenSec + ticks / TICKS_PER_SEC
}

/** Undefined when the process has ended. */
function tryCpuSecOf(pid: number): number | undefined {
  try {
    return cpuSecOf(pid)
  } catch (error) {
    // ESRCH: it ended while it was read.
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ESRCH') return undefined
    throw error
  }
}

/** Those that run. */
function childrenOf(pid: number | undefined): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) => {
    try {
      const pids = readFileSync(`/proc/${pid}/task/${thread}/children`, 'latin1')
      return pids.split(' ').filter(Boolean).map(Number)
    } catch {
      return [] // A thread that ended meanwhile.
    }
  })
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, HOST)
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
