// `npm run test:load:hooks [-- --seconds 10 --clients 32 --release 24.22.3]`: many clients against a TLS server that shares a
// node's cache by `connectHooks` and answers at once, on every Node.js release that we are tested on. Prints a table;
// exit code 1 when a handshake failed or a session that was offered did not resume.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { formatTable } from '../../src/cli/stats.ts'
import { fetchRelease, readReleases } from '../releases/node-releases.ts'
import { startServe, stopProcess } from '../support/node-processes.ts'
import { runClients, type Tally } from './tls-clients.ts'

const SERVER = fileURLToPath(new URL('answering-server.ts', import.meta.url))
const VERSIONS = ['1.2', '1.3'] as const
/** A put goes out when the handshake is over, so a client that is back at once may be there before it. */
const PAUSE_MS = 20

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '10' },
    clients: { type: 'string', default: '32' },
    release: { type: 'string', multiple: true },
  },
})
const seconds = Number(values.seconds)
const clients = Number(values.clients)
if (!(seconds > 0 && seconds <= 600 && clients > 0 && clients <= 1000)) {
  process.stderr.write('--seconds: 1..600, --clients: 1..1000\n')
  process.exit(2)
}

/** Runs server and node on this release, and the clients here. */
async function runRelease(release: string): Promise<ReadonlyMap<string, Tally>> {
  const program = join(fetchRelease(release), 'node')
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-hooks-load-'))
  const rpc = `unix:${join(folder, 'rpc.sock')}`
  const http = `unix:${join(folder, 'node.sock')}`
  const config = { node: { name: 'node' }, frontends: { http, rpc } }
  const node = await startServe(folder, config, (args) =>
    spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] }),
  )
  const server = spawn(program, ['--import', 'tsx', SERVER, rpc], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    const [port] = await once(createInterface(server.stdout), 'line')
    const endMs = performance.now() + seconds * 1000
    return await runClients({
      target: { host: '127.0.0.1', port: Number(port) },
      clients,
      versions: VERSIONS,
      pauseMs: PAUSE_MS,
      isOver: () => performance.now() > endMs,
      wasAwaySince: () => false,
    })
  } finally {
    await stopProcess(server)
    await stopProcess(node.child)
    rmSync(folder, { recursive: true })
  }
}

const rows: (string | number)[][] = []
let isReached = true
for (const release of values.release ?? readReleases()) {
  for (const [version, tally] of await runRelease(release)) {
    const failed = [...tally.failures.values()].reduce((sum, count) => sum + count, 0)
    const { handshakes, offered, resumed } = tally
    const share = ((100 * resumed) / Math.max(1, offered)).toFixed(2)
    rows.push([release, version, handshakes, failed, offered, resumed, share])
    for (const [code, count] of tally.failures) process.stdout.write(`${count} x ${code}\n`)
    isReached &&= failed === 0 && offered > 0 && resumed === offered
  }
}
const head = ['Node.js', 'TLS', 'handshakes', 'failed', 'offered', 'resumed', '%']
process.stdout.write(`${formatTable(head, rows)}\n`)
process.exit(isReached ? 0 : 1)
