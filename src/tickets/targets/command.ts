// Runs the command that checks or reloads a terminator: without a shell, in a process group of its own that is killed
// when it takes too long, and with nothing of its output kept but the first line of standard error.

import { spawn } from 'node:child_process'
import { messageOf } from '../../base/errors.ts'
import type { Clock } from '../../base/world.ts'
import type { TargetFailure } from './target.ts'

export const COMMAND_TIMEOUT_MS = 10_000
const MAX_LINE_CHARACTERS = 200

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
    let head = ''
    const finish = (problem: string | undefined) => {
      timer.cancel()
      // What the command started may hold the pipe open; it is not waited for.
      child.stderr.destroy()
      if (problem === undefined) return resolve(undefined)
      const line = head.split('\n', 1)[0]?.slice(0, MAX_LINE_CHARACTERS) ?? ''
      const detail = line === '' ? '' : `: ${line}`
      resolve({ reason, message: `${program} ${problem}${detail}` })
    }
    const timer = clock.after(timeoutMs, () => {
      killGroup(child.pid)
      finish(`was killed after ${timeoutMs} ms`)
    })
    child.stderr.on('data', (chunk: Buffer) => {
      if (head.length < MAX_LINE_CHARACTERS) head += chunk.toString()
    })
    child.on('error', (error) => finish(`cannot be run: ${messageOf(error)}`))
    child.on('exit', (code, signal) => {
      // One turn later standard error has been read.
      clock.soon(() => finish(code === 0 ? undefined : `ended with ${code ?? signal}`))
    })
  })
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It has just ended.
  }
}
