// The demo: every session resumes on every other node, and the whole of it is one document.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { z } from 'zod'
import { until } from '../support/latch.ts'
import { CLI_ARGS, runCli } from '../support/node-processes.ts'

const document = z.strictObject({
  nodes: z.literal(3),
  sessions: z.literal(20),
  offered: z.literal(40),
  resumed: z.literal(40),
  full_ms: z.strictObject({ p50: z.number().positive() }),
  resumed_ms: z.strictObject({ p50: z.number().positive() }),
  caches: z.array(z.looseObject({ node: z.string(), name: z.string(), items: z.literal(20) })),
})

test('--json prints one document', async () => {
  const { code, stdout, stderr } = await runCli(['demo', '--json', '--sessions', '20'])
  assert.deepEqual([code, stderr], [0, ''])
  const { caches } = document.parse(JSON.parse(stdout))
  assert.deepEqual(
    caches.map(({ node }) => node),
    ['demo-1', 'demo-2', 'demo-3'],
  )
})

test('without --json it prints tables', async () => {
  const { code, stdout } = await runCli(['demo', '--sessions', '4', '--nodes', '2'])
  assert.equal(code, 0)
  assert.match(stdout, /│ demo-1 +│ - +│ 2 of 2 +│/)
  assert.match(stdout, /^4 of 4 offers resumed/m)
})

test('Ctrl-C ends it with its nodes', async () => {
  const child = spawn(process.execPath, [...CLI_ARGS, 'demo', '--sessions', '100000'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const closed = once(child, 'close')
  child.stderr.resume()
  // It says so when all nodes run.
  await once(createInterface({ input: child.stdout }), 'line')
  child.kill('SIGINT')
  assert.deepEqual(await closed, [1, null])
})

test('a demo that is killed leaves no process behind', async () => {
  const child = spawn(process.execPath, [...CLI_ARGS, 'demo', '--sessions', '100000'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let isStderrClosed = false
  // The nodes hold the other end, so it closes when the last of them is gone.
  child.stderr.on('close', () => {
    isStderrClosed = true
  })
  child.stderr.resume()
  await once(createInterface({ input: child.stdout }), 'line')
  child.kill('SIGKILL')
  await until('its nodes are gone', () => isStderrClosed)
})
