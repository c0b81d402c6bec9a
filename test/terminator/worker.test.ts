// A worker does as its primary says, and tells how that went.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createTerminatorStats } from '../../src/terminator/stats.ts'
import { Worker, type WorkerProcess } from '../../src/terminator/worker.ts'
import { until } from '../support/latch.ts'

function setUp(changes: Partial<WorkerProcess> = {}) {
  const said: string[] = []
  const exits: number[] = []
  const reloads: object[] = []
  let stops = 0
  let tell: (message: unknown) => void = () => {}
  const process: WorkerProcess = {
    start: async () => [{ host: '127.0.0.1', port: 443 }],
    stop: async () => {
      stops += 1
    },
    reload: (settings) => reloads.push(settings),
    readStats: createTerminatorStats,
    ...changes,
  }
  const channel = {
    send: (message: { kind: string; message?: string }, sent: () => void) => {
      said.push(message.message ?? message.kind)
      sent()
    },
    onMessage: (listener: (message: unknown) => void) => {
      tell = listener
    },
    exit: (code: number) => {
      exits.push(code)
    },
  }
  const created: unknown[] = []
  const create = (...started: readonly unknown[]) => {
    created.push(started)
    return process
  }
  const worker = new Worker(channel, create)
  const heard = { said, exits, reloads, created, stops: () => stops }
  return { worker, ...heard, tell: (message: unknown) => tell(message) }
}

test('starts when it is told which one it is, and drains once', async () => {
  const { worker, said, exits, stops, created, tell } = setUp()
  assert.deepEqual([said, created], [['ready'], []])
  tell({ kind: 'start', process: 3, settings: { cache: 'edge' } })
  await until('it listens', () => said.includes('listening'))
  tell({ kind: 'ask' })
  tell({ kind: 'drain' })
  await worker.drain()
  await until('it ended', () => exits.length > 0)
  assert.deepEqual(created, [[3, { cache: 'edge' }]])
  assert.deepEqual(said, ['ready', 'listening', 'stats', 'stats'])
  assert.deepEqual([stops(), exits], [1, [0]])
})

test('says why it cannot start, and ends', async () => {
  const { said, exits, tell } = setUp({ start: () => Promise.reject(new Error('no port')) })
  tell({ kind: 'start', process: 1, settings: {} })
  await until('it ended', () => exits.length > 0)
  assert.deepEqual([said, exits], [['ready', 'no port'], [1]])
})

test('a worker that never started drains at once', async () => {
  const { worker, said, exits } = setUp()
  await worker.drain()
  assert.deepEqual([said, exits], [['ready'], [0]])
})

test('reads files again when it runs; before that it will read them anyway', async () => {
  const { reloads, said, tell } = setUp()
  tell({ kind: 'reload', settings: { cache: 'early' } })
  assert.deepEqual(reloads, [])
  tell({ kind: 'start', process: 1, settings: {} })
  await until('it listens', () => said.includes('listening'))
  tell({ kind: 'reload', settings: { cache: 'late' } })
  assert.deepEqual(reloads, [{ cache: 'late' }])
})
