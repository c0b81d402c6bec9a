// `tlscached log-level` changes what a running node writes, over its unix rpc socket alone.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { until } from '../support/latch.ts'
import { runCli, startServe, stopProcess } from '../support/node-processes.ts'

const folder = mkdtempSync(join(tmpdir(), 'tlscached-log-level-'))
after(() => rmSync(folder, { recursive: true }))

test('a level is shown, changed and refused', async (t) => {
  const rpc = `unix:${join(folder, 'rpc.sock')}`
  const http = `unix:${join(folder, 'edge-1.sock')}`
  let log = ''
  const config = { node: { name: 'edge-1' }, frontends: { http, rpc }, log: { level: 'warn' } }
  const node = await startServe(folder, config, (args) => {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    child.stderr?.on('data', (chunk: Buffer) => {
      log += chunk.toString()
    })
    return child
  })
  t.after(() => stopProcess(node.child))
  const logLevel = (...args: readonly string[]) => runCli(['log-level', ...args])
  const shown = await logLevel('--rpc', rpc)
  assert.deepEqual([shown.code, shown.stdout], [0, 'warn\n'])
  const changed = await logLevel('debug', '--rpc', rpc, '--json')
  assert.deepEqual([changed.code, changed.stdout], [0, '{"level":"debug"}\n'])
  await until('the log says so', () => /"from":"warn","to":"debug".*level was changed/.test(log))
  assert.equal((await logLevel('--rpc', rpc)).stdout, 'debug\n')

  const loud = await logLevel('loud', '--rpc', rpc)
  assert.equal(loud.code, 2)
  const network = await logLevel('info', '--rpc', '127.0.0.1:1')
  assert.equal(network.code, 2)
  assert.match(network.stderr, /over unix:\/path alone/)
  const nobody = await logLevel('--rpc', `unix:${folder}/nobody.sock`)
  assert.equal(nobody.code, 1)
  assert.match(nobody.stderr, /cannot reach the node/)
})
