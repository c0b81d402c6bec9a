// One process on one host, asked one thing at a time: one JSON document a line each way.

import assert from 'node:assert/strict'
import type { ChildProcess, SpawnOptions } from 'node:child_process'
import { once } from 'node:events'
import { createInterface, type Interface } from 'node:readline'

/** What every host understands: it closes everything and ends by itself. */
export interface Stop {
  readonly do: 'stop'
}

/** Questions and answers over standard input and output; what goes wrong is shown. */
export const HOST_STDIO: SpawnOptions = { stdio: ['pipe', 'pipe', 'inherit'] }

/** The side that asks. */
export class HostProcess<Command extends { readonly do: string }> {
  readonly child: ChildProcess
  readonly #answers: AsyncIterator<string>
  readonly #lines: Interface

  /** The child was started with HOST_STDIO. */
  constructor(child: ChildProcess) {
    assert.ok(child.stdout !== null)
    this.child = child
    this.#lines = createInterface({ input: child.stdout })
    this.#answers = this.#lines[Symbol.asyncIterator]()
  }

  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null
  }

  async ask<Answer>(command: Command | Stop): Promise<Answer> {
    this.#write(command)
    return this.#nextAnswer(command.do)
  }

  /** What the host says without being asked. */
  hear<Answer>(): Promise<Answer> {
    return this.#nextAnswer('say something')
  }

  /** Resolves when the process ended by itself. */
  async stop(): Promise<void> {
    if (this.hasEnded) return
    const exit = once(this.child, 'exit')
    this.#write({ do: 'stop' })
    await exit
    this.#lines.close()
  }

  /** Kills the process like a crash: it closes nothing and tells nobody. */
  async kill(): Promise<void> {
    if (this.hasEnded) return
    const exit = once(this.child, 'exit')
    this.child.kill('SIGKILL')
    await exit
    this.#lines.close()
  }

  #write(command: Command | Stop): void {
    this.child.stdin?.write(`${JSON.stringify(command)}\n`)
  }

  async #nextAnswer<Answer>(what: string): Promise<Answer> {
    const { value, done } = await this.#answers.next()
    if (done === true) throw new Error(`a host ended while it was asked to ${what}`)
    return JSON.parse(value)
  }
}

export function askAll<Command extends { readonly do: string }, Answer>(
  hosts: readonly HostProcess<Command>[],
  command: Command,
): Promise<Answer[]> {
  return Promise.all(hosts.map((host) => host.ask<Answer>(command)))
}

/** The side that answers: returns after `stop`, or when the other side ended without a word. */
export async function answerCommands<Command extends { readonly do: string }>(
  obey: (command: Command) => unknown,
): Promise<void> {
  const lines = createInterface({ input: process.stdin })
  for await (const line of lines) {
    const command: Command | Stop = JSON.parse(line)
    if (isStop(command)) break
    say(await obey(command))
  }
  lines.close()
  // A pipe that is still being read keeps a process alive.
  process.stdin.destroy()
}

export function say(answer: unknown): void {
  process.stdout.write(`${JSON.stringify(answer ?? {})}\n`)
}

function isStop(command: { readonly do: string }): command is Stop {
  return command.do === 'stop'
}
