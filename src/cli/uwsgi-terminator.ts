// Runs the terminator of a uWSGI file: a process of its own in front of the node, started and stopped with it.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { type Address, formatAddress } from '../base/address.ts'
import type { TerminatorPlan } from '../uwsgi/converted-terminator.ts'
import { DEFAULT_RPC_ADDRESS } from './uwsgi-options.ts'

/** Path of src/cli/main.ts, or of dist/cli/main.js in a build. */
const MAIN = fileURLToPath(new URL(import.meta.url)).replace(/uwsgi-terminator(\.[jt]s)$/, 'main$1')

/**
 * Longest wait for the node. uWSGI has no such limit; a node beside the terminator is this late only on a busy
 * machine.
 */
const DEADLINE = '500ms'

/** Returns the arguments for `tlscached terminate`. */
export function terminateArguments(
  plan: TerminatorPlan,
  node = DEFAULT_RPC_ADDRESS,
): readonly string[] {
  return [
    ...['--listen', plan.listen],
    ...['--cert', plan.cert],
    ...['--key', plan.key],
    ...['--context', plan.context],
    ...plan.backends.flatMap((backend) => ['--backend', backend]),
    ...['--processes', String(plan.processes)],
    ...['--session-timeout', `${plan.sessionTimeoutSec}s`],
    ...['--cache', plan.cache],
    ...['--node', node],
    ...['--deadline', DEADLINE],
  ]
}

export class UwsgiTerminator {
  readonly #child: ChildProcess
  readonly #ended: Promise<number>
  #isStopping = false

  /** Starts the process. `onEnd` is called with its exit code when it ends by itself. */
  constructor(
    plan: TerminatorPlan,
    node: Address,
    log: { readonly level: string; readonly format: string },
    watchdogMs: number,
    onEnd: (code: number) => void,
  ) {
    const logging = ['--log-level', log.level, '--log-format', log.format]
    const watchdog = ['--watchdog', watchdogMs === 0 ? '0' : `${watchdogMs}ms`]
    const args = [...terminateArguments(plan, formatAddress(node)), ...logging, ...watchdog]
    this.#child = spawn(process.execPath, [...process.execArgv, MAIN, 'terminate', ...args], {
      // No message uses the channel. Its end shows the terminator that this process has ended, for whatever reason.
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    this.#ended = once(this.#child, 'exit').then(([code]) => (typeof code === 'number' ? code : 1))
    void this.#ended.then((code) => {
      if (!this.#isStopping) onEnd(code)
    })
  }

  /** Lets open connections end, and resolves when the process has exited. */
  async stop(): Promise<void> {
    this.#isStopping = true
    // No signal is sent: after Ctrl-C, which reached both processes, it would be the second one and cut connections
    // off.
    if (this.#child.connected) this.#child.disconnect()
    await this.#ended
  }

  /** Kills the process at once. */
  kill(): void {
    this.#isStopping = true
    this.#child.kill('SIGKILL')
  }
}
