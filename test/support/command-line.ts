// One process that runs commands of the built program, one after the other: to start a process takes far longer than
// most commands do.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { after } from 'node:test'
import { CLI_ARGS, type Finished, runCli } from './node-processes.ts'

/** Commands that take over the streams or the channel of their process: each has one of its own. */
const APART = new Set(['serve', 'terminate', 'repeat'])

/** Each import of the main module under another name runs it again; all modules that it imports stay loaded. */
const RUNNER = `
  const [, main] = process.argv
  // Commander counts arguments in another way for a process of --eval.
  process.execArgv = []
  let runs = 0
  for (const emitter of [process, process.stdout, process.stderr]) emitter.setMaxListeners(0)
  // Whatever a command left open.
  process.on('disconnect', () => process.exit())
  process.on('message', async ({ args, variables }) => {
    const said = { stdout: '', stderr: '' }
    for (const name of Object.keys(said)) {
      process[name].write = (text, ...rest) => {
        said[name] += text
        if (typeof rest.at(-1) === 'function') rest.at(-1)()
        return true
      }
    }
    const environment = { ...process.env }
    Object.assign(process.env, variables)
    process.argv = [process.execPath, main, ...args]
    process.exitCode = 0
    await import(main + '?' + runs++)
    for (const name of Object.keys(variables)) delete process.env[name]
    Object.assign(process.env, environment)
    const code = process.exitCode
    process.exitCode = 0
    process.send({ code, ...said })
  })`

/**
 * Returns what runs a command to its end; it has no standard input. The process ends with the test, or the file, that
 * calls this.
 */
export function startCommandLine() {
  const program = ['--input-type=module', '--eval', RUNNER, ...CLI_ARGS]
  // Its standard error, for a crash, is a pipe, as that of runCli: some commands say more to a terminal.
  const child = spawn(process.execPath, program, { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
  child.stderr?.pipe(process.stderr)
  const ended = once(child, 'exit')
  let last: Promise<unknown> = Promise.resolve()
  const runNow = async (
    args: readonly string[],
    variables: Readonly<Record<string, string>>,
  ): Promise<Finished> => {
    const answered = once(child, 'message')
    child.send({ args, variables })
    const [result]: Finished[] = await Promise.race([answered, ended.then(() => [])])
    if (result !== undefined) return result
    throw new Error(`the process ended while it ran: ${args.join(' ')}`)
  }
  after(async () => {
    if (child.connected) child.disconnect()
    await ended
  })
  return (
    args: readonly string[],
    variables: Readonly<Record<string, string>> = {},
  ): Promise<Finished> => {
    if (APART.has(args[0] ?? '')) return runCli(args, '', variables)
    const result = last.then(() => runNow(args, variables))
    last = result.catch(() => {})
    return result
  }
}
