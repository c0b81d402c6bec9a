// Programs that are measured, each a process on the processor for servers: started, waited for, ended by
// their own process ID.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { pinned, SERVER_CPU } from './pinned.ts'

const MAIN = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url))
const HOST = '127.0.0.1'
const START_TIMEOUT_MS = 15_000
/** Of /proc/PID/stat; the same on every Linux: proc(5), sysconf(3). */
const TICKS_PER_SEC = 100

export interface Server {
  readonly name: string
  /** Seconds of processor time since its start. */
  cpuSec(): number
  stop(): Promise<void>
}

/** Starts a program and waits until it accepts connections. */
export async function startProgram(
  name: string,
  port: number,
  program: string,
  args: readonly string[],
): Promise<Server> {
  const [command, allArgs] = pinned(SERVER_CPU, program, args)
  // A program that is not there is an error event, reported below as an early end.
  const child = spawn(command, allArgs, { stdio: ['ignore', 'ignore', 'inherit'] })
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
    cpuSec: () => cpuSecOf(child),
    async stop() {
      if (hasEnded) return
      const exit = once(child, 'exit')
      child.kill('SIGTERM')
      await exit
    },
  }
}

/**
 * Starts a node with this configuration and waits until it accepts connections on `port`. `execArgs`:
 * further options of Node.
 */
export function startNode(
  port: number,
  config: { node: { name: string } },
  execArgs: readonly string[] = [],
): Promise<Server> {
  const file = join(mkdtempSync(join(tmpdir(), 'tlscached-bench-')), 'node.json')
  writeFileSync(file, JSON.stringify(config))
  const args = [
    ...execArgs,
    '--import',
    import.meta.resolve('tsx'),
    MAIN,
    'serve',
    '--config',
    file,
  ]
  return startProgram(config.node.name, port, process.execPath, args)
}

/** taskset becomes the program itself, so this is the program's own time. */
function cpuSecOf(child: ChildProcess): number {
  const stat = readFileSync(`/proc/${child.pid}/stat`, 'latin1')
  // The name, in parentheses, may hold blanks; user and system time are the 12th and 13th field behind it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SEC
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
