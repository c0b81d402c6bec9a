// Handshakes per second and processor time for each, of TLS servers that are loaded by bench/load/handshake-load.c.

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { compile } from './load-programs.ts'
import { GENERATOR_CPU, pinned } from './pinned.ts'
import { type Server, startProgram } from './servers.ts'
import type { Run } from './versus.ts'

const HOST = '127.0.0.1'
const CONNECTIONS = 32

export type HandshakeKind = 'full' | 'resumed'
export type Version = '1.2' | '1.3'

export interface Cell {
  readonly kind: HandshakeKind
  readonly version: Version
}

/** What every terminator is measured with. */
export const CELLS: readonly Cell[] = [
  { kind: 'full', version: '1.2' },
  { kind: 'resumed', version: '1.2' },
  { kind: 'full', version: '1.3' },
  { kind: 'resumed', version: '1.3' },
]

export function titleOf({ kind, version }: Cell): string {
  return `TLS ${version} ${kind}`
}

export interface Target {
  readonly port: number
  /** All processes that work for it. */
  readonly servers: readonly Server[]
}

interface Report {
  readonly handshakes: number
  readonly resumed: number
  readonly failed: number
  readonly seconds: number
  readonly cpuSec: number
}

export type HandshakeLoad = (target: Target, cell: Cell, seconds: number) => Promise<Run>

/** Why there can be no such load, or undefined. */
export function whyWithoutHandshakeLoad(): string | undefined {
  const input = '#include <openssl/ssl.h>\n'
  const { error, status } = spawnSync('cc', ['-E', '-x', 'c', '-'], { input, stdio: 'pipe' })
  if (error !== undefined) return 'cc, a C compiler, is not installed'
  return status === 0 ? undefined : 'libssl-dev, the headers of OpenSSL, is not installed'
}

/** `helpers` run on the processor of the load generator, and count as part of it. */
export async function compileHandshakeLoad(helpers: readonly Server[]): Promise<HandshakeLoad> {
  const program = await compile('handshake-load', '-lssl', '-lcrypto')
  return async ({ port, servers }, { kind, version }, seconds) => {
    const args = [HOST, port, CONNECTIONS, seconds, kind, version].map(String)
    const [command, allArgs] = pinned(GENERATOR_CPU, program, args)
    const child = spawn(command, allArgs, { stdio: ['ignore', 'pipe', 'inherit'] })
    const ended = once(child, 'exit')
    let before = 0
    let helpersBefore = 0
    let report: Report | undefined
    for await (const line of createInterface({ input: child.stdout })) {
      if (line === 'start') {
        before = cpuSecOf(servers)
        helpersBefore = cpuSecOf(helpers)
      } else report = JSON.parse(line)
    }
    const cpuSec = cpuSecOf(servers) - before
    const helpersSec = cpuSecOf(helpers) - helpersBefore
    await ended
    if (report === undefined) {
      const names = servers.map(({ name }) => name).join(', ')
      throw new Error(`no ${kind} handshakes of TLS ${version} with ${names}`)
    }
    return {
      perSec: report.handshakes / report.seconds,
      cpuUs: (cpuSec / report.handshakes) * 1e6,
      generatorShare: (report.cpuSec + helpersSec) / report.seconds,
      failed: report.failed,
      ...(kind === 'resumed' && { resumedShare: report.resumed / report.handshakes }),
    }
  }
}

/** A backend that answers every connection with one byte and closes it. */
export async function startAnswerBackend(port: number): Promise<Server> {
  const program = await compile('answer-backend')
  return startProgram('backend', port, program, [HOST, String(port)], GENERATOR_CPU)
}

function cpuSecOf(servers: readonly Server[]): number {
  return servers.reduce((sumSec, server) => sumSec + server.cpuSec(), 0)
}
