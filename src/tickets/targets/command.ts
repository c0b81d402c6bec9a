// Runs the command that checks or reloads a terminator: without a shell, in a process group of its own that is killed
// when it takes too long, and with nothing of its output kept but one line of standard error: the first that tells of an
// error.

import { spawn } from 'node:child_process'
import { messageOf } from '../../base/errors.ts'
import type { Clock } from '../../base/world.ts'
import type { TargetFailure } from './target.ts'

export const COMMAND_TIMEOUT_MS = 10_000
const MAX_LINE_CHARACTERS = 200
/** nginx says "signal process started" before its errors, HAProxy which version it is. */
const MAX_OUTPUT_CHARACTERS = 4096
const NO_ERROR = /\[\s*(debug|info|notice|warn|warning)\s*\]/i

/** A program and its arguments. */
export type Command = readonly [string, ...string[]]

/** Runs the command to its end. Returns why it failed: it does not start, exits with another code than 0, or hangs. */
export function runCommand(
  command: Command,
  reason: 'check' | 'reload',
  clock: Clock,
  timeoutMs = COMMAND_TIMEOUT_MS,
): Promise<TargetFailure | undefined> {
  const [program, ...args] = command
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      detached: true,
      shell: false,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let output = ''
    const finish = (problem: string | undefined) => {
      timer.cancel()
      // What the command started may hold the pipe open; it is not waited for.
      child.stderr.destroy()
      if (problem === undefined) return resolve(undefined)
      const line = errorLineOf(output)
      const detail = line === '' ? '' : `: ${line}`
      resolve({ reason, message: `${program} ${problem}${detail}` })
    }
    const timer = clock.after(timeoutMs, () => {
      killGroup(child.pid)
      finish(`was killed after ${timeoutMs} ms`)
    })
    child.stderr.on('data', (chunk: Buffer) => {
      if (output.length < MAX_OUTPUT_CHARACTERS) output += chunk.toString()
    })
    child.on('error', (error) => finish(`cannot be run: ${messageOf(error)}`))
    child.on('exit', (code, signal) => {
      // One turn later standard error has been read.
      clock.soon(() => finish(code === 0 ? undefined : `ended with ${code ?? signal}`))
    })
  })
}

/** The first line that is neither empty nor a notice or warning; the first line where there is none. */
function errorLineOf(output: string): string {
  const lines = output.split('\n').filter((line) => line.trim() !== '')
  const line = lines.find((one) => !NO_ERROR.test(one)) ?? lines[0] ?? ''
  return line.slice(0, MAX_LINE_CHARACTERS)
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It has just ended.
  }
}
