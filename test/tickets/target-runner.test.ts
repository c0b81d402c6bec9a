// The runner of a target, with a real ring, a file system in memory and commands that are only counted: every change
// reaches the terminator in time and with few reloads, and whatever fails leaves it with what it has.

import assert from 'node:assert/strict'
import { beforeEach, describe, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { TicketAuthority } from '../../src/tickets/authority.ts'
import { openedKeys, type RingView } from '../../src/tickets/rule.ts'
import type { Command } from '../../src/tickets/targets/command.ts'
import { createTarget, terminatorLimits } from '../../src/tickets/targets/kinds.ts'
import { TargetRunner } from '../../src/tickets/targets/runner.ts'
import type { TargetFailure } from '../../src/tickets/targets/target.ts'
import { targetSchema } from '../../src/tickets/targets/target-schema.ts'
import { ringTimes } from '../../src/tickets/times.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { type MemoryFile, MemoryFiles } from '../support/memory-files.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { seededBytes } from '../support/seeded-random.ts'
import { Lighttpd } from './lighttpd.ts'

const SECOND_MS = 1000
const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000
const CHECK: Command = ['check-it']
const RELOAD: Command = ['reload-it']
const commands = { check: CHECK, reload: RELOAD }

let clock: FakeClock
let files: MemoryFiles
let logger: RecordingLogger
/** The commands that ran, with the moment. */
let ran: { readonly program: string; readonly atMs: number }[]
/** What a command answers, by its program. */
let answers: Record<string, TargetFailure | undefined>

beforeEach(() => {
  clock = new FakeClock()
  files = new MemoryFiles(() => clock.wallMs())
  logger = new RecordingLogger()
  ran = []
  answers = {}
})

interface Fixture {
  readonly authority: TicketAuthority
  readonly runner: TargetRunner
  readonly view: () => RingView
  readonly names: () => string[]
}

/** A runner of one target on a ring of its own. */
function createFixture(
  written: Record<string, unknown>,
  hours: { rotate?: number; lifetime?: number; wait?: number } = {},
): Fixture {
  const settings = targetSchema.parse({ group: 'www', ...written })
  const { rotate = 1, lifetime = rotate, wait = rotate } = hours
  const group = {
    name: 'www',
    rotateMs: rotate * HOUR_MS,
    lifetimeMs: lifetime * HOUR_MS,
    waitMs: wait * HOUR_MS,
  }
  const times = ringTimes(group, [terminatorLimits(settings, group.rotateMs)])
  const random = seededBytes('target runner')
  const groups = [{ name: 'www', times }]
  const authority = new TicketAuthority({ groups, nodeId: Buffer.from('n'), clock, random })
  const source = authority.source('www')
  assert.ok(source !== undefined)
  const target = createTarget(settings, { times, clock, ownerOf: () => ({ uid: 33, gid: 33 }) })
  const run = async ([program]: Command) => {
    ran.push({ program, atMs: clock.monotonicMs() })
    return answers[program]
  }
  const runner = new TargetRunner({ target, source, times, world: { clock, logger }, files, run })
  const view = () => source.view()
  return { authority, runner, view, names: () => openedKeys(view()).map(({ key }) => key.hexName) }
}

/** Moves the clock on in steps, and lets what became due run to its end after each. */
async function pass(durationMs: number, stepMs = SECOND_MS): Promise<void> {
  for (let left = durationMs; left > 0; left -= stepMs) {
    clock.advance(Math.min(left, stepMs))
    await nextTurn()
  }
}

function countOf(program: string): number {
  return ran.filter((one) => one.program === program).length
}

function textOf(path: string): string {
  return files.entries.get(path)?.bytes.toString() ?? ''
}

const NGINX = { kind: 'nginx', dir: '/run/www' }

describe('a terminator that needs reloads', () => {
  test('is given its first keys at once, after the check, and files of nobody else are touched', async () => {
    // The second one has the name of a key that is retired.
    await files.open('/run/www/other.key', 'wx', 0o600)
    await files.open(`/run/www/${'ab'.repeat(16)}.key`, 'wx', 0o600)
    const { authority, runner, names } = createFixture({ ...NGINX, ...commands, owner: 'www-data' })
    const started = runner.start()
    await pass(10 * SECOND_MS)
    assert.deepEqual(ran, [])
    authority.mayMake()
    await started
    const [name = ''] = names()
    assert.deepEqual(files.names, [
      `/run/www/${name}.key`,
      '/run/www/other.key',
      '/run/www/tickets.conf',
    ])
    assert.equal(
      textOf('/run/www/tickets.conf'),
      `ssl_session_ticket_key "/run/www/${name}.key";\n`,
    )
    const { uid, mode } = files.entries.get(`/run/www/${name}.key`) ?? {}
    assert.deepEqual([uid, mode], [33, 0o400])
    assert.equal(ran.map(({ program }) => program).join(), 'check-it,reload-it')
    assert.equal(runner.report().lastSuccessMs, clock.wallMs())
  })

  test('is reloaded once for each rotation, and always knows a key before it is minted', async () => {
    const { authority, runner, view, names } = createFixture({ ...NGINX, ...commands })
    authority.mayMake()
    await runner.start()
    await pass(2 * HOUR_MS, 20 * SECOND_MS)
    ran.length = 0
    for (let second = 0; second < 10 * 3600; second += 20) {
      await pass(20 * SECOND_MS, 20 * SECOND_MS)
      const include = textOf('/run/www/tickets.conf')
      const { current, previous } = view()
      assert.ok(include.includes(current?.key.hexName ?? 'none'))
      for (const { key, bornMs } of previous) {
        // Tickets of one that has just been retired are over; all others still open.
        if (clock.monotonicMs() - bornMs < 3 * HOUR_MS) assert.ok(include.includes(key.hexName))
      }
    }
    const reloads = countOf('reload-it')
    assert.ok(reloads >= 9 && reloads <= 11, `${reloads} reloads in ten hours`)
    assert.ok(files.names.length <= names().length + 2)
    const gaps = ran.filter(({ program }) => program === 'reload-it').map(({ atMs }) => atMs)
    assert.ok(gaps.every((atMs, index) => index === 0 || atMs - (gaps[index - 1] ?? 0) >= 30_000))
  })

  test('with a short wait knows a key long before it is minted', async () => {
    const { authority, runner, view } = createFixture({ ...NGINX, ...commands }, { wait: 0.1 })
    authority.mayMake()
    await runner.start()
    let waiting = 0
    for (let second = 0; second < 5 * 3600; second += 20) {
      await pass(20 * SECOND_MS, 20 * SECOND_MS)
      for (const { key, bornMs } of view().next) {
        if (clock.monotonicMs() - bornMs < 0.05 * HOUR_MS) continue
        waiting += 1
        assert.ok(textOf('/run/www/tickets.conf').includes(key.hexName))
      }
    }
    assert.ok(waiting > 0)
    assert.ok(countOf('reload-it') <= 11)
  })

  test('is reloaded at once when its key is revoked, and not again for half a minute', async () => {
    const { authority, runner, names } = createFixture({ ...NGINX, ...commands })
    authority.mayMake()
    await runner.start()
    await pass(MINUTE_MS)
    for (let index = 0; index < 5; index += 1) {
      authority.rotate('www', { isImmediate: true, isRevoking: true })
      await pass(2 * SECOND_MS)
    }
    assert.equal(countOf('reload-it'), 2)
    await pass(30 * SECOND_MS)
    assert.equal(countOf('reload-it'), 3)
    const kept = files.names.filter((name) => name.endsWith('.key'))
    assert.deepEqual(kept, [`/run/www/${names().join()}.key`])
  })

  test('with one key is reloaded when that changes, and for nothing else', async () => {
    const stunnel = { kind: 'stunnel', dir: '/run/stunnel', reload: RELOAD }
    const { authority, runner, view } = createFixture(stunnel)
    authority.mayMake()
    await runner.start()
    const first = view().current
    await pass(1.9 * HOUR_MS, 5 * SECOND_MS)
    assert.equal(view().current, first)
    assert.equal(countOf('reload-it'), 1)
    await pass(0.5 * HOUR_MS, 5 * SECOND_MS)
    assert.notEqual(view().current, first)
    assert.equal(countOf('reload-it'), 2)
    // stunnel reads every file of its folder: a temporary one must not be there.
    const paths = [...files.entries.keys()].filter((path) => path.startsWith('/run/stunnel/'))
    assert.deepEqual(paths, ['/run/stunnel/ticket.conf'])
  })
})

describe('what fails', () => {
  test('leaves the old file, is counted by reason, and is tried again after 1 s to 60 s', async () => {
    const { authority, runner } = createFixture({ ...NGINX, ...commands })
    authority.mayMake()
    await runner.start()
    const before = textOf('/run/www/tickets.conf')
    files.fault = 'ENOSPC'
    authority.rotate('www', { isImmediate: true, isRevoking: true })
    await pass(30 * SECOND_MS)
    const tries = () => runner.report().failures.space
    const seen: number[] = []
    for (let last = tries(); seen.length < 9; ) {
      await pass(SECOND_MS)
      if (tries() > last) seen.push(clock.monotonicMs())
      last = tries()
    }
    const gaps = seen.slice(1).map((atMs, index) => (atMs - (seen[index] ?? 0)) / SECOND_MS)
    assert.deepEqual(gaps, [2, 4, 8, 16, 32, 60, 60, 60])
    assert.equal(textOf('/run/www/tickets.conf'), before)
    assert.equal(countOf('reload-it'), 1)
    assert.match(runner.report().problem?.message ?? '', /cannot write \/run\/www/)
    files.fault = undefined
    await pass(MINUTE_MS)
    assert.equal(runner.report().problem, undefined)
    assert.equal(countOf('reload-it'), 2)
    assert.match(logger.lines.at(-1)?.message ?? '', /www-nginx has its ticket keys again/)
  })

  test('in the check brings the old files back, and there is no reload', async () => {
    const { authority, runner } = createFixture({ ...NGINX, ...commands })
    authority.mayMake()
    await runner.start()
    const before = new Map([...files.entries].map(([path, { bytes }]) => [path, bytes]))
    answers['check-it'] = { reason: 'check', message: 'nginx ended with 1' }
    authority.rotate('www', { isImmediate: true, isRevoking: true })
    await pass(31 * SECOND_MS)
    const now = new Map([...files.entries].map(([path, { bytes }]) => [path, bytes]))
    assert.deepEqual(now, before)
    assert.equal(countOf('reload-it'), 1)
    assert.ok(runner.report().failures.check > 0)
  })

  test('at the first check leaves no file that would stop the terminator from starting', async () => {
    const { authority, runner } = createFixture({ ...NGINX, ...commands })
    answers['check-it'] = { reason: 'check', message: 'nginx ended with 1' }
    authority.mayMake()
    await runner.start()
    assert.deepEqual([...files.entries.keys()], [])
  })

  test('in a reload is not asked of the terminator more than once in half a minute', async () => {
    const { authority, runner } = createFixture({ ...NGINX, ...commands })
    answers['reload-it'] = { reason: 'reload', message: 'nginx ended with 1' }
    authority.mayMake()
    await runner.start()
    await pass(10 * MINUTE_MS)
    const reloads = countOf('reload-it')
    assert.ok(reloads > 5 && reloads <= 21, `${reloads} reloads`)
    assert.equal(runner.report().failures.reload, reloads)
    assert.equal(runner.report().lastSuccessMs, undefined)
  })
})

test('a file that was cut, removed or given away is written again, without a reload', async () => {
  const { authority, runner, names } = createFixture({ ...NGINX, ...commands })
  authority.mayMake()
  await runner.start()
  const key = `/run/www/${names()[0]}.key`
  const whole = files.entries.get(key)?.bytes
  const faults: ((entry: MemoryFile) => void)[] = [
    (entry) => {
      entry.bytes = entry.bytes.subarray(0, 47)
    },
    (entry) => {
      entry.uid = 65_534
    },
    (entry) => {
      entry.mode = 0o444
    },
    () => files.entries.delete(key),
  ]
  for (const fault of faults) {
    const entry = files.entries.get(key)
    assert.ok(entry !== undefined)
    fault(entry)
    await pass(MINUTE_MS)
    const { bytes, uid, mode } = files.entries.get(key) ?? {}
    assert.deepEqual([bytes, uid, mode], [whole, 0, 0o400])
  }
  assert.equal(countOf('reload-it'), 1)
  // Also when the next key comes before somebody looks.
  await pass(MINUTE_MS)
  Object.assign(files.entries.get(key) ?? {}, { uid: 65_534 })
  authority.rotate('www', { isImmediate: false, isRevoking: false })
  await pass(0.3 * HOUR_MS, 20 * SECOND_MS)
  assert.equal(countOf('reload-it'), 2)
  assert.equal(files.entries.get(key)?.uid, 0)
  assert.ok(logger.lines.some(({ message }) => message.includes('changed by somebody else')))
})

test('a ring without keys leaves the files alone, and they stay at the stop', async () => {
  const { authority, runner } = createFixture({ kind: 'file', file: '/run/x/keys' })
  authority.mayMake()
  await runner.start()
  const before = textOf('/run/x/keys')
  authority.stop()
  await pass(3 * HOUR_MS, MINUTE_MS)
  assert.equal(textOf('/run/x/keys'), before)
  await runner.stop()
  assert.deepEqual([clock.pendingCount, textOf('/run/x/keys')], [0, before])
})

test('Caddy is given its file again every poll, although the keys are the same', async () => {
  const { authority, runner } = createFixture({ kind: 'caddy', file: '/run/c/stek.bin' })
  authority.mayMake()
  await runner.start()
  let inode = files.entries.get('/run/c/stek.bin')?.ino ?? 0
  let writes = 0
  for (let second = 0; second < 300; second += 1) {
    await pass(SECOND_MS)
    const { ino = 0 } = files.entries.get('/run/c/stek.bin') ?? {}
    if (ino !== inode) writes += 1
    inode = ino
  }
  assert.equal(writes, 15)
})

describe('lighttpd', () => {
  const stek = { kind: 'lighttpd', file: '/run/l/stek', owner: 'www-data' }

  test('reads each key once, long before it is minted, and mints the current one', async () => {
    const { authority, runner, view } = createFixture(stek)
    const lighttpd = new Lighttpd(clock, files, stek.file)
    authority.mayMake()
    void runner.start()
    let checks = 0
    for (let second = 0; second < 6 * 3600; second += 1) {
      await pass(SECOND_MS)
      lighttpd.tick()
      const names = lighttpd.names
      assert.equal(new Set(names).size, names.length)
      const { current, next } = view()
      if (current === undefined || second < 140) continue
      for (const { key, knownMs } of next) {
        if (clock.monotonicMs() - knownMs > 140_000) assert.ok(names.includes(key.hexName))
      }
      // Both turn within the same second, by clocks that are read a moment apart.
      if (next.length === 0 || clock.monotonicMs() - current.knownMs < HOUR_MS + 2000) continue
      checks += 1
      assert.equal(lighttpd.minted(), current.key.hexName)
    }
    assert.ok(checks > 1000)
    await runner.stop()
  })

  test('is not given a key again when its file is damaged, nor after a restart of the node', async () => {
    const { authority, runner } = createFixture(stek)
    const lighttpd = new Lighttpd(clock, files, stek.file)
    authority.mayMake()
    void runner.start()
    const passAndTick = async (seconds: number) => {
      for (let second = 0; second < seconds; second += 1) {
        await pass(SECOND_MS)
        lighttpd.tick()
      }
    }
    await passAndTick(130)
    assert.equal(lighttpd.names.length, 1)
    const entry = files.entries.get('/run/l/stek')
    assert.ok(entry !== undefined)
    entry.bytes = entry.bytes.subarray(0, 50)
    entry.mtimeMs = clock.wallMs()
    await passAndTick(62)
    assert.equal(files.entries.get('/run/l/stek')?.bytes.length, 92)
    await passAndTick(200)
    assert.equal(lighttpd.names.length, 1)
    await runner.stop()
  })
})
