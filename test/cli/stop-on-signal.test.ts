// How a command ends that was told to stop: its exit code, and what it says when that is not clean.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type Running, stopOnSignal } from '../../src/cli/stop-on-signal.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

const TIMEOUT_MS = 5000

/** Signals reach the code under test as events only, and its end is recorded. */
function setUp(t: TestContext, running: Running) {
  const clock = new FakeClock()
  const logger = new RecordingLogger()
  const exits: unknown[] = []
  t.mock.method(process, 'exit', (code: unknown) => void exits.push(code))
  const heeds = new Map<string, (signal: string) => void>()
  t.mock.method(process, 'on', (signal: string, heed: (signal: string) => void) => {
    heeds.set(signal, heed)
  })
  const stop = stopOnSignal(running, logger, TIMEOUT_MS, clock)
  const signal = (name: string) => heeds.get(name)?.(name)
  const errors = () => logger.lines.filter(({ level }) => level === 'error')
  return { clock, errors, exits, signal, stop }
}

test('a clean stop: exit code 0, and no error', async (t) => {
  const { errors, exits, signal } = setUp(t, { stop: async () => {} })
  signal('SIGTERM')
  await new Promise(setImmediate)
  assert.deepEqual([exits, errors()], [[0], []])
})

test('a stop that fails says why: exit code 1', async (t) => {
  const stop = async () => {
    throw new Error('connections were cut off')
  }
  const { errors, exits, signal } = setUp(t, { stop })
  signal('SIGINT')
  await new Promise(setImmediate)
  assert.deepEqual(exits, [1])
  assert.deepEqual(
    errors().map(({ fields }) => fields),
    [{ reason: 'connections were cut off' }],
  )
})

test('a stop that takes too long is cut off, and says so: exit code 1', (t) => {
  let kills = 0
  const kill = () => {
    kills += 1
  }
  const { clock, errors, exits, signal } = setUp(t, { stop: () => new Promise(() => {}), kill })
  signal('SIGTERM')
  clock.advance(TIMEOUT_MS - 1)
  assert.deepEqual([exits, errors()], [[], []])
  clock.advance(1)
  assert.deepEqual([exits, kills], [[1], 1])
  assert.deepEqual(
    errors().map(({ fields }) => fields),
    [{ timeoutMs: TIMEOUT_MS }],
  )
})

test('a second signal ends it at once, another reason to stop does not', (t) => {
  const { exits, signal, stop } = setUp(t, { stop: () => new Promise(() => {}) })
  signal('SIGTERM')
  stop('the end of the parent process', 0)
  assert.deepEqual(exits, [])
  signal('SIGTERM')
  assert.deepEqual(exits, [1])
})
