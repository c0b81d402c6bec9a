// The terminator of a file of uWSGI: a process of its own in front of the node, started and stopped with it.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { type Address, formatAddress } from '../base/address.ts'
import type { TerminatorPlan } from '../uwsgi/converted-terminator.ts'
import { DEFAULT_RPC_ADDRESS } from './uwsgi-options.ts'

/** src/cli/main.ts, or dist/cli/main.js once it is built. */
const MAIN = fileURLToPath(new URL(import.meta.url)).replace(/uwsgi-terminator(\.[jt]s)$/, 'main$1')

/** uWSGI waits for its cache without limit; a node beside the terminator is late only on a busy machine. */
const DEADLINE = '500ms'

/** What `tlscached terminate` is called with. */
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

  /** `onEnd` is called with its exit code when it ends by itself. */
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
      // The channel says nothing. Its end tells the terminator that this process ended, however it did.
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    this.#ended = once(this.#child, 'exit').then(([code]) => (typeof code === 'number' ? code : 1))
    void this.#ended.then((code) => {
      if (!this.#isStopping) onEnd(code)
    })
  }

  /** Lets open connections end, and resolves when it has ended. */
  async stop(): Promise<void> {
    this.#isStopping = true
    // No signal: after a Ctrl-C, which both were sent, it would be the second one and cut connections off.
    if (this.#child.connected) this.#child.disconnect()
    await this.#ended
  }

  /** At once. */
  kill(): void {
    this.#isStopping = true
    this.#child.kill('SIGKILL')
  }
}
