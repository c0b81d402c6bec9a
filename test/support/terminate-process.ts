// `tlscached terminate` as a process: started with its flags, and read through its metrics.

import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { type HostAddress, parseHostAddress } from '../../src/base/address.ts'
import { ask } from './http.ts'
import { CLI_ARGS } from './node-processes.ts'

export interface TerminateProcess {
  readonly child: ChildProcess
  readonly tls: readonly HostAddress[]
  readonly metrics: HostAddress
  /** What it logged. */
  readonly log: () => string
}

/** Starts it with metrics on a port of the kernel's choice, and waits until all of it listens. */
export async function startTerminate(args: readonly string[]): Promise<TerminateProcess> {
  const flags = ['terminate', ...args, '--metrics', '127.0.0.1:0', '--json']
  const child = spawn(process.execPath, [...CLI_ARGS, ...flags], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let log = ''
  child.stderr.on('data', (chunk: Buffer) => {
    log += chunk.toString()
  })
  const tls: HostAddress[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    const { name, address }: { name: string; address: string } = JSON.parse(line)
    if (name === 'tls') tls.push(parseHostAddress(address))
    else return { child, tls, metrics: parseHostAddress(address), log: () => log }
  }
  throw new Error(`the terminator ended before it listened: ${log}`)
}

/** The metrics without the prefix, as `name{labels}` and value. */
export async function readMetrics({ metrics }: TerminateProcess): Promise<Map<string, number>> {
  const { body } = await ask(metrics, { path: '/metrics' })
  const lines = body.toString().split('\n')
  const samples = lines.filter((line) => line.startsWith('tlscached_terminator_'))
  return new Map(
    samples.map((line) => {
      const at = line.lastIndexOf(' ')
      return [line.slice('tlscached_terminator_'.length, at), Number(line.slice(at + 1))]
    }),
  )
}

/** The sum of all samples of a metric whose labels hold this text. */
export function sumOf(samples: ReadonlyMap<string, number>, name: string, labels = ''): number {
  let sum = 0
  for (const [key, value] of samples) {
    if (key.replace(/\{.*/, '') === name && key.includes(labels)) sum += value
  }
  return sum
}
