// The workers as their primary sees them, with workers and a clock that do as they are told.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { createTerminatorStats, type TerminatorStats } from '../../src/terminator/stats.ts'
import type { FromWorker, ToWorker } from '../../src/terminator/worker.ts'
import { type WorkerHandle, WorkerPool } from '../../src/terminator/worker-pool.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

class FakeWorker implements WorkerHandle {
  readonly told: ToWorker[] = []
  isKilled = false
  answersWhenAsked = true
  stats: TerminatorStats = createTerminatorStats()
  #onMessage: (message: unknown) => void = () => {}
  #onExit: (how: string) => void = () => {}

  send(message: ToWorker): void {
    this.told.push(message)
    if (message.kind === 'ask' && this.answersWhenAsked)
      this.say({ kind: 'stats', stats: this.stats })
  }

  kill(): void {
    this.isKilled = true
    this.end('SIGKILL')
  }

  onMessage(listener: (message: unknown) => void): void {
    this.#onMessage = listener
  }

  onExit(listener: (how: string) => void): void {
    this.#onExit = listener
  }

  say(message: FromWorker): void {
    this.#onMessage(message)
  }

  end(how: string): void {
    this.#onExit(how)
  }

  listen(): void {
    this.say({ kind: 'ready' })
    this.say({ kind: 'listening', addresses: ['127.0.0.1:443'] })
  }

  count(full: number): void {
    const stats = createTerminatorStats()
    stats.handshakes['1.3'].full = full
    stats.connections = 1
    this.stats = stats
  }

  get isDraining(): boolean {
    return this.told.some(({ kind }) => kind === 'drain')
  }
}

function setUp(processes = 2) {
  const clock = new FakeClock()
  const logger = new RecordingLogger()
  const workers: FakeWorker[] = []
  const fork = () => {
    const worker = new FakeWorker()
    workers.push(worker)
    return worker
  }
  const settings = { cache: 'first' }
  const pool = new WorkerPool({ processes, fork, settings, drainMs: 10_000, clock, logger })
  return { pool, clock, logger, workers }
}

async function started(_t: TestContext, processes = 2) {
  const all = setUp(processes)
  const addresses = all.pool.start()
  for (const worker of all.workers) worker.listen()
  assert.deepEqual(await addresses, ['127.0.0.1:443'])
  const worker = (index: number): FakeWorker => {
    const found = all.workers[index]
    assert.ok(found !== undefined)
    return found
  }
  return { ...all, worker }
}

const fullOf = (processes: readonly TerminatorStats[]) =>
  processes.map(({ handshakes }) => handshakes['1.3'].full)

test('each worker is told which one it is once it is ready', async (t) => {
  const { workers } = await started(t, 3)
  assert.deepEqual(
    workers.map(({ told }) => told),
    [1, 2, 3].map((process) => [{ kind: 'start', process, settings: { cache: 'first' } }]),
  )
})

test('when one cannot start, the others are ended and the reason is given', async () => {
  const { pool, workers } = setUp()
  const start = pool.start()
  workers[0]?.listen()
  workers[1]?.say({ kind: 'failed', message: 'cannot listen' })
  await assert.rejects(start, { code: 'ERR_LISTEN', message: 'cannot listen' })
  assert.equal(workers[0]?.isKilled, true)
})

test('when one ends while it starts, so does the start', async () => {
  const { pool, workers, clock } = setUp()
  const start = pool.start()
  workers[1]?.end('code 1')
  await assert.rejects(start, /process 2 ended while it started/)
  clock.advance(60_000)
  assert.equal(workers.length, 2)
})

test('another one takes the place of one that ended, later each time', async (t) => {
  const { pool, clock, workers, worker, logger } = await started(t)
  for (const [index, pauseMs] of [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000].entries()) {
    worker(workers.length - 1).end('SIGSEGV')
    clock.advance(pauseMs - 1)
    assert.equal(workers.length, index + 2)
    clock.advance(1)
    assert.equal(workers.length, index + 3)
    worker(workers.length - 1).listen()
    const settings = { cache: 'first' }
    assert.deepEqual(worker(workers.length - 1).told, [{ kind: 'start', process: 2, settings }])
  }
  assert.equal((await pool.stats()).restarts, 9)
  assert.deepEqual(logger.lines[0]?.fields, { process: 2, how: 'SIGSEGV', pauseMs: 100 })
  clock.advance(30_000)
  worker(workers.length - 1).end('SIGSEGV')
  clock.advance(100)
  assert.equal(workers.length, 12)
})

test('what a worker counted stays when it has ended, its state does not', async (t) => {
  const { pool, clock, worker } = await started(t)
  worker(0).count(3)
  worker(1).count(4)
  assert.deepEqual(fullOf((await pool.stats()).processes), [3, 4])
  worker(1).end('SIGKILL')
  const { processes, workers } = await pool.stats()
  assert.deepEqual([fullOf(processes), workers], [[3, 4], 1])
  assert.deepEqual(
    processes.map(({ connections }) => connections),
    [1, 0],
  )
  clock.advance(100)
  worker(2).listen()
  worker(2).count(5)
  assert.deepEqual(fullOf((await pool.stats()).processes), [3, 9])
})

test('a worker that does not answer counts as last heard', async (t) => {
  const { pool, clock, worker } = await started(t)
  worker(0).count(3)
  await pool.stats()
  worker(0).count(5)
  worker(0).answersWhenAsked = false
  const stats = pool.stats()
  clock.advance(500)
  assert.deepEqual(fullOf((await stats).processes), [3, 0])
  assert.equal(clock.pendingCount, 0)
})

test('stopping has all drain, and waits for them', async (t) => {
  const { pool, clock, workers, worker } = await started(t)
  const stopped = pool.stop()
  assert.ok(workers.every(({ isDraining }) => isDraining))
  worker(0).end('code 0')
  worker(1).end('code 0')
  assert.equal(await stopped, true)
  assert.equal(clock.pendingCount, 0)
})

test('stopping ends those that take too long, and starts no more', async (t) => {
  const { pool, clock, workers, worker } = await started(t)
  worker(0).end('SIGSEGV')
  const stopped = pool.stop()
  clock.advance(11_999)
  assert.equal(worker(1).isKilled, false)
  clock.advance(1)
  assert.equal(await stopped, false)
  assert.equal(workers.length, 2)
  assert.equal(clock.pendingCount, 0)
})

test('a worker that comes up while all stop is not started', async () => {
  const { pool, workers } = setUp(1)
  const start = pool.start()
  const stopped = pool.stop()
  workers[0]?.say({ kind: 'ready' })
  assert.deepEqual(workers[0]?.told, [{ kind: 'drain' }, { kind: 'drain' }])
  workers[0]?.end('code 0')
  await assert.rejects(start, /ended while it started/)
  assert.equal(await stopped, true)
})

test('reloading reaches every worker that runs, and each that starts later', async (t) => {
  const { pool, clock, workers, worker } = await started(t)
  const settings = { cache: 'second' }
  worker(0).end('SIGSEGV')
  pool.reload(settings)
  const reloads = workers.map(({ told }) => told.filter(({ kind }) => kind === 'reload').length)
  assert.deepEqual(reloads, [0, 1])
  assert.equal(workers.length, 2)
  clock.advance(100)
  worker(2).listen()
  assert.deepEqual(worker(2).told, [{ kind: 'start', process: 1, settings }])
})
