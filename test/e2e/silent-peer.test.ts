// Two real nodes, one of which hangs: what the other says of it in every place, and when it is back.

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { formatAddress } from '../../src/base/address.ts'
import { freeAddresses } from '../support/free-ports.ts'
import { ask } from '../support/http.ts'
import { until } from '../support/latch.ts'
import {
  runCli,
  type Spawner,
  startServe,
  stopProcess,
  untilAllKnowEachOther,
} from '../support/node-processes.ts'

test('a peer that hangs is silent in the log, /readyz, stats, peers and metrics, and then back', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-silent-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const listens = await freeAddresses(2)
  const log: string[] = []
  const children: ChildProcess[] = []
  const spawner: Spawner = (args) => {
    const all = [...args, '--log-level', 'info']
    const child = spawn(process.execPath, all, { stdio: ['ignore', 'ignore', 'pipe'] })
    children.push(child)
    if (child.stderr !== null) {
      createInterface({ input: child.stderr }).on('line', (line) => log.push(line))
    }
    return child
  }
  t.after(async () => {
    for (const child of children) {
      child.kill('SIGCONT')
      await stopProcess(child)
    }
  })
  const start = (name: string, listen = '', peer = '') =>
    startServe(folder, { node: { name }, replication: { listen, peers: [peer] } }, spawner)
  const here = await start('edge-1', listens[0], listens[1])
  const away = await start('edge-2', listens[1], listens[0])
  await untilAllKnowEachOther([here, away])
  const readyz = async (query = '') => {
    const { status, body } = await ask(here.http, { path: `/readyz${query}` })
    return `${status} ${body}`
  }
  const strict = () => readyz('?strict')
  await until('it replicates', async () => (await strict()).startsWith('200'))
  assert.match(
    await readyz(),
    /^200 .*"replicating with edge-2, synchronized with edge-2 \d+ s ago"/,
  )

  away.child.kill('SIGSTOP')
  await until('it notices', async () => (await strict()).startsWith('503'))
  assert.match(await readyz(), /^200 .*"serves alone: edge-2 has been silent for 1\d s"/)
  const line =
    /"level":"warn".*"peer edge-2 has been silent for 1\d s: nothing is replicated to it; check/
  await until('it logs that', () => log.some((one) => line.test(one)))
  const http = formatAddress(here.http)
  const shown = await Promise.all([
    runCli(['stats', '--http', http]),
    runCli(['peers', '--http', http]),
  ])
  for (const { stdout } of shown) {
    assert.match(stdout, /^this node is ready: serves alone: edge-2 has been silent for \d+ s$/m)
  }
  assert.match(shown[1].stdout, /│ edge-2 .*│ silent /)
  const metrics = (await ask(here.http, { path: '/metrics' })).body.toString()
  assert.match(metrics, /^tlscached_peer_up\{peer="edge-2"\} 0$/m)
  assert.match(metrics, /^tlscached_sync_state\{state="alone"\} 1$/m)

  away.child.kill('SIGCONT')
  await until('both compared again', async () => (await strict()).startsWith('200'))
  assert.ok(log.some((one) => /"peer edge-2 is heard again after 1\d s of silence"/.test(one)))
})
