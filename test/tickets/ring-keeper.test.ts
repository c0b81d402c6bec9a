// Rings that outlive a restart of their node: terminators keep the keys that they have, ages go on, and nothing comes back
// that was retired.

import assert from 'node:assert/strict'
import {
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { TicketAuthority } from '../../src/tickets/authority.ts'
import { type BootClock, decodeKeptRing } from '../../src/tickets/kept-ring.ts'
import { openedKeys } from '../../src/tickets/rule.ts'
import { terminatorLimits } from '../../src/tickets/targets/kinds.ts'
import { keptPlace, RingKeeper } from '../../src/tickets/targets/ring-keeper.ts'
import type { TargetFailure } from '../../src/tickets/targets/target.ts'
import { targetSchema } from '../../src/tickets/targets/target-schema.ts'
import { TicketTargets } from '../../src/tickets/targets/targets.ts'
import { ringTimes } from '../../src/tickets/times.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { until } from '../support/latch.ts'
import { MemoryFiles } from '../support/memory-files.ts'
import { whyWithoutRoot } from '../support/programs.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { seededBytes } from '../support/seeded-random.ts'

const SECOND_MS = 1000
const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000
const BOOT_ID = '01234567-89ab-cdef-0123-456789abcdef'
const OTHER_BOOT_ID = BOOT_ID.replace('0', 'f')

let folder: string
let random: (size: number) => Buffer
/** Time since the boot before the process that was started last. */
let bootedMs: number
let logger: RecordingLogger
const running: TestNode[] = []

beforeEach(() => {
  // In memory, where keys may lie.
  folder = mkdtempSync('/dev/shm/tlscached-ring-keeper-')
  random = seededBytes('ring keeper')
  bootedMs = 1e9
  logger = new RecordingLogger()
})
afterEach(async () => {
  await Promise.all(running.splice(0).map((node) => node.stop()))
  rmSync(folder, { recursive: true })
})

/** A node that was started on this machine, with nginx beside it. */
class TestNode {
  readonly clock = new FakeClock()
  readonly authority: TicketAuthority
  readonly targets: TicketTargets

  /** `sleptMs`: the machine was suspended for so long before, which the time since the boot leaves out. */
  constructor(bootId = BOOT_ID, sleptMs = 0) {
    this.clock.shiftWall(bootedMs + sleptMs)
    const written = { kind: 'nginx', group: 'www', dir: folder }
    const settings = targetSchema.parse(written)
    const hourly = { name: 'www', rotateMs: HOUR_MS, lifetimeMs: HOUR_MS, waitMs: HOUR_MS }
    const times = ringTimes(hourly, [terminatorLimits(settings, HOUR_MS)])
    const groups = [{ name: 'www', times }]
    const { clock } = this
    this.authority = new TicketAuthority({ groups, nodeId: Buffer.from('n'), clock, random })
    const startMs = clock.monotonicMs()
    const sinceBootMs = bootedMs
    const boot: BootClock = {
      bootId,
      monotonicMs: () => sinceBootMs + clock.monotonicMs() - startMs,
    }
    const world = { clock, logger }
    const { authority } = this
    this.targets = new TicketTargets({ targets: [settings], authority, world, boot })
    this.targets.restore()
    running.push(this)
  }

  get names(): string[] {
    const view = this.authority.source('www')?.view()
    return view === undefined ? [] : openedKeys(view).map(({ key }) => key.hexName)
  }

  get agesMs(): number[] {
    const nowMs = this.clock.monotonicMs()
    return (this.authority.rings[0]?.keys ?? []).map(({ bornMs }) => Math.round(nowMs - bornMs))
  }

  /** Moves on by hours, and waits until nginx has what is due. */
  async pass(hours: number): Promise<void> {
    for (let left = hours * 60; left > 0; left -= 1) {
      this.clock.advance(MINUTE_MS)
      await nextTurn()
    }
    // Files are real, and take their time by the real clock.
    await until('nginx has all keys', () => {
      this.clock.advance(SECOND_MS)
      return this.names.every((name) => include().includes(name))
    })
  }

  /** Ends, and the machine goes on for `awayMs` without it. */
  async stop(awayMs = 0): Promise<void> {
    bootedMs += this.clock.monotonicMs() - new FakeClock().monotonicMs() + awayMs
    await this.targets.stop()
    this.authority.stop()
    assert.equal(this.clock.pendingCount, 0)
  }
}

const include = () => readFileSync(join(folder, 'tickets.conf'), 'utf8')
const keptFile = () => join(folder, '.tlscached.ring')

async function startAlone(bootId?: string, sleptMs?: number): Promise<TestNode> {
  const node = new TestNode(bootId, sleptMs)
  node.authority.mayMake()
  await node.targets.start()
  return node
}

/** A node that had three keys and ended. */
async function endedNode(awayMs = 0): Promise<{ names: string[]; agesMs: number[] }> {
  const node = await startAlone()
  await node.pass(2.6)
  const { names, agesMs } = node
  assert.equal(names.length, 3)
  await node.stop(awayMs)
  running.length = 0
  return { names, agesMs }
}

describe('a node that is started again', () => {
  test('and finds no peer goes on with the keys that its terminators hold', async () => {
    const before = await endedNode(10 * MINUTE_MS)
    const held = include()
    const { mode } = statSync(keptFile())
    assert.equal(mode & 0o777, 0o600)
    const again = await startAlone()
    assert.deepEqual(again.names, before.names)
    assert.deepEqual(
      again.agesMs,
      before.agesMs.map((ageMs) => ageMs + 10 * MINUTE_MS),
    )
    assert.equal(include(), held)
    assert.equal(again.authority.rings[0]?.stats.madeHere, 0)
    // Rotation goes on where it was.
    await again.pass(1)
    assert.ok(again.names.some((name) => !before.names.includes(name)))
  })

  test('and finds a peer takes its keys first, and brings back none that was retired', async () => {
    const before = await endedNode()
    const again = new TestNode()
    void again.targets.start()
    // A peer without keys has nothing to say.
    again.authority.merge([{ group: 'www', keys: [], retired: [] }])
    assert.equal(again.names.length, 0)
    const [retired = '', ...kept] = before.names
    const peer = { name: random(16), secret: random(96), ageMs: 1000 }
    const gone = { name: Buffer.from(retired, 'hex'), ageMs: 1000 }
    again.authority.merge([{ group: 'www', keys: [peer], retired: [gone] }])
    assert.deepEqual([...again.names].sort(), [...kept, peer.name.toString('hex')].sort())
    again.authority.mayMake()
    assert.ok(!again.names.includes(retired))
  })

  test('when the next key is due leaves it to its peers, until it hears of one or for a while', async () => {
    const made = (node: TestNode) => node.authority.rings[0]?.stats.madeHere
    // The youngest key is more than half an hour old, and the next one comes after 1 h to 1 h 5 min.
    await endedNode(40 * MINUTE_MS)
    const alone = await startAlone()
    alone.clock.advance(6 * MINUTE_MS)
    assert.equal(made(alone), 0)
    alone.clock.advance(5 * SECOND_MS)
    assert.equal(made(alone), 1)
    await alone.stop(70 * MINUTE_MS)
    running.length = 0
    const heard = await startAlone()
    assert.equal(made(heard), 0)
    const peer = { name: random(16), secret: random(96), ageMs: 2 * HOUR_MS }
    heard.authority.merge([{ group: 'www', keys: [peer], retired: [] }])
    assert.equal(made(heard), 1)
  })

  test('after the machine was suspended doubts the ages of its keys, and goes on doubting', async () => {
    const doubted = (node: TestNode) => node.authority.rings[0]?.keys.map((one) => one.isDoubted)
    await endedNode()
    const awake = await startAlone(BOOT_ID, 5 * MINUTE_MS)
    assert.deepEqual(doubted(awake), [undefined, undefined, undefined])
    await awake.stop()
    const slept = await startAlone(BOOT_ID, HOUR_MS)
    assert.deepEqual(doubted(slept), [true, true, true])
    await slept.stop()
    running.length = 0
    const again = await startAlone(BOOT_ID, HOUR_MS)
    assert.deepEqual(doubted(again), [true, true, true])
  })

  test('long after its keys have ended makes a new one', async () => {
    const before = await endedNode(5 * HOUR_MS)
    const again = await startAlone()
    assert.equal(again.names.length, 1)
    assert.ok(!before.names.includes(again.names[0] ?? ''))
  })

  test('remembers what an operator revoked', async () => {
    const node = await startAlone()
    const offers = node.authority.offers()
    const revoked = node.names
    node.authority.rotate('www', { isImmediate: true, isRevoking: true })
    const { names } = node
    await node.stop()
    const again = await startAlone()
    again.authority.merge(offers)
    assert.deepEqual(again.names, names)
    assert.ok(!names.includes(revoked[0] ?? ''))
    assert.equal(again.authority.rings[0]?.stats.refused.retired, 1)
  })

  const faults: Record<string, () => void> = {
    'that was cut': () => writeFileSync(keptFile(), readFileSync(keptFile()).subarray(0, 200)),
    'of which a byte was changed': () => {
      const bytes = readFileSync(keptFile())
      bytes.writeUInt8(bytes.readUInt8(120) ^ 1, 120)
      writeFileSync(keptFile(), bytes)
    },
    'that is empty': () => writeFileSync(keptFile(), ''),
    'that is long': () => writeFileSync(keptFile(), Buffer.alloc(100_000)),
    'behind a link': () => {
      renameSync(keptFile(), join(folder, 'elsewhere'))
      symlinkSync(join(folder, 'elsewhere'), keptFile())
    },
    'that is a folder': () => {
      rmSync(keptFile())
      mkdirSync(keptFile())
    },
  }
  for (const [what, fault] of Object.entries(faults)) {
    test(`makes its own key beside a file ${what}, and says so`, async () => {
      const before = await endedNode()
      fault()
      const again = await startAlone()
      assert.ok(!before.names.includes(again.names[0] ?? ''))
      const said = /\.tlscached\.ring (has no|cannot be read)/
      assert.ok(logger.lines.some(({ message }) => said.test(message)))
    })
  }

  test('makes its own key after a reboot', async () => {
    const before = await endedNode()
    const again = await startAlone(OTHER_BOOT_ID)
    assert.ok(!before.names.includes(again.names[0] ?? ''))
  })

  test('takes no file of another user', { skip: whyWithoutRoot() }, async () => {
    const before = await endedNode()
    chownSync(keptFile(), 33, 33)
    const again = await startAlone()
    assert.ok(!before.names.includes(again.names[0] ?? ''))
  })
})

test('a ring that cannot be written leaves no older one, is counted, and is written later', async () => {
  const clock = new FakeClock()
  const files = new MemoryFiles()
  const settings = targetSchema.parse({ kind: 'file', group: 'www', file: '/run/x/keys' })
  const hourly = { name: 'www', rotateMs: HOUR_MS, lifetimeMs: HOUR_MS, waitMs: HOUR_MS }
  const groups = [{ name: 'www', times: ringTimes(hourly, []) }]
  const authority = new TicketAuthority({ groups, nodeId: Buffer.from('n'), clock, random })
  const failures: TargetFailure[] = []
  const place = keptPlace(settings)
  assert.ok(place !== undefined)
  const keeper = new RingKeeper({
    ...{ group: 'www', authority, place, files },
    world: { clock, logger },
    onFailure: (failure) => failures.push(failure),
    boot: { bootId: BOOT_ID, monotonicMs: () => clock.monotonicMs() },
  })
  const kept = () => {
    const { bytes } = files.entries.get('/run/x/.keys.ring') ?? {}
    const time = { bootId: BOOT_ID, skewMs: 0, aheadMs: 0 }
    return bytes && decodeKeptRing(bytes, time)?.keys.map(({ key }) => key.hexName)
  }
  const settle = async () => {
    for (let turn = 0; turn < 10; turn += 1) await nextTurn()
  }
  const names = () => authority.rings[0]?.keys.map(({ key }) => key.hexName)
  keeper.start()
  authority.mayMake()
  await settle()
  assert.deepEqual(kept(), names())
  files.fault = 'ENOSPC'
  authority.rotate('www', { isImmediate: true, isRevoking: true })
  await settle()
  assert.equal(kept(), undefined)
  assert.deepEqual(
    failures.map(({ reason }) => reason),
    ['space'],
  )
  files.fault = undefined
  clock.advance(30_000)
  await settle()
  assert.deepEqual(kept(), names())
  await keeper.stop()
  authority.stop()
  assert.equal(clock.pendingCount, 0)
})

test('the ring lies beside the files of the terminator, where that does not read it', () => {
  const pathOf = (written: Record<string, unknown>) =>
    keptPlace(targetSchema.parse({ group: 'www', ...written }))?.path
  assert.equal(pathOf({ kind: 'nginx', dir: '/run/t/www' }), '/run/t/www/.tlscached.ring')
  assert.equal(pathOf({ kind: 'h2o', file: '/run/t/www.h2o' }), '/run/t/.www.h2o.ring')
  // stunnel reads every file of its folder.
  assert.equal(pathOf({ kind: 'stunnel', dir: '/run/t/stunnel' }), '/run/t/.stunnel.ring')
  const secret = { kind: 'kubernetes-secret', namespace: 'web', secret: 'keys', allow_disk: true }
  assert.equal(pathOf(secret), undefined)
})
