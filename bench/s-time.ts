// OpenSSL's s_time: handshakes of one client, one after the other, counted by the mark that it prints for each. Its own
// figures are in whole seconds.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Cell } from './handshake-load.ts'
import { GENERATOR_CPU, pinned } from './pinned.ts'
import { cpuSecOf, type Server } from './servers.ts'
import type { Run } from './versus.ts'

const HOST = '127.0.0.1'
const START_TIMEOUT_MS = 10_000
/** It is ended before that. */
const LONGEST_SEC = 60
const WITHOUT_STORE = ['-no-CAfile', '-no-CApath', '-no-CAstore']

export interface WebServer {
  readonly port: number
  readonly page: string
  readonly server: Server
  /** That it asks for sessions. */
  readonly store?: Server
  /** For what s_time prints. */
  readonly folder: string
}

/** It has the session of TLS 1.3 only when it reads something after the handshake: so it always gets the page. */
export async function runSTime(
  { port, page, server, store, folder }: WebServer,
  { kind, version }: Cell,
  seconds: number,
): Promise<Run> {
  const file = join(folder, 's_time.out')
  // A file, so that nobody wakes up at each mark.
  const out = openSync(file, 'w')
  const [command, args] = pinned(GENERATOR_CPU, 'openssl', [
    ...['s_time', '-connect', `${HOST}:${port}`, '-www', page, '-time', String(LONGEST_SEC)],
    ...[version === '1.3' ? '-tls1_3' : '-tls1_2', kind === 'full' ? '-new' : '-reuse'],
    ...WITHOUT_STORE,
  ])
  const client = spawn(command, args, { stdio: ['ignore', out, 'inherit'] })
  closeSync(out)
  const ended = once(client, 'exit')
  try {
    await untilMarks(file)
    const look = () => ({
      nowSec: performance.now() / 1000,
      clientSec: cpuSecOf(client.pid),
      serverSec: server.cpuSec(),
      storeSec: store?.cpuSec() ?? 0,
      marks: marksOf(file),
    })
    const before = look()
    await delay(seconds * 1000)
    const after = look()
    const tookSec = after.nowSec - before.nowSec
    const marks = after.marks.slice(before.marks.length)
    const resumed = marks.replaceAll('*', '').length
    const usEach = (spentSec: number) => (spentSec / marks.length) * 1e6
    return {
      perSec: marks.length / tookSec,
      cpuUs: usEach(after.serverSec - before.serverSec),
      ...(store !== undefined && { storeCpuUs: usEach(after.storeSec - before.storeSec) }),
      generatorShare: (after.clientSec - before.clientSec) / tookSec,
      ...(kind === 'resumed' && { resumedShare: resumed / marks.length }),
    }
  } finally {
    client.kill('SIGTERM')
    await ended
  }
}

async function untilMarks(file: string): Promise<void> {
  const untilMs = performance.now() + START_TIMEOUT_MS
  while (marksOf(file) === '') {
    if (performance.now() > untilMs) throw new Error('openssl s_time makes no connection')
    await delay(10)
  }
}

/** The last line, once it has begun: `r` for a handshake that resumed, `*` for a full one. */
function marksOf(file: string): string {
  return /\n([r*]+)$/.exec(readFileSync(file, 'latin1'))?.[1] ?? ''
}
