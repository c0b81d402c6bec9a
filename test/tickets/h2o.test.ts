// What h2o makes of its file: it looks every 10 s whether the second of the last change is another one, and takes each
// key for as long as the times in the file say by the clock of the host.

import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { silentLogger } from '../../src/base/world.ts'
import { TicketAuthority } from '../../src/tickets/authority.ts'
import { openedKeys } from '../../src/tickets/rule.ts'
import { createTarget, terminatorLimits } from '../../src/tickets/targets/kinds.ts'
import { TargetRunner } from '../../src/tickets/targets/runner.ts'
import { targetSchema } from '../../src/tickets/targets/target-schema.ts'
import { ringTimes } from '../../src/tickets/times.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { MemoryFiles } from '../support/memory-files.ts'
import { seededBytes } from '../support/seeded-random.ts'

const SECOND_MS = 1000
const HOUR_MS = 3_600_000
const FILE = '/run/h/www.h2o'

let clock: FakeClock
let files: MemoryFiles
let authority: TicketAuthority
let runner: TargetRunner

beforeEach(async () => {
  clock = new FakeClock()
  files = new MemoryFiles(() => clock.wallMs())
  const settings = targetSchema.parse({ kind: 'h2o', group: 'www', file: FILE })
  const hourly = { name: 'www', rotateMs: HOUR_MS, lifetimeMs: HOUR_MS, waitMs: HOUR_MS }
  const times = ringTimes(hourly, [terminatorLimits(settings, HOUR_MS)])
  const random = seededBytes('h2o')
  const groups = [{ name: 'www', times }]
  authority = new TicketAuthority({ groups, nodeId: Buffer.from('n'), clock, random })
  const source = authority.source('www')
  assert.ok(source !== undefined)
  const target = createTarget(settings, { times, clock })
  runner = new TargetRunner({
    ...{ source, times, files, target },
    world: { clock, logger: silentLogger },
  })
  authority.mayMake()
  await runner.start()
})

afterEach(async () => {
  await runner.stop()
  authority.stop()
  assert.equal(clock.pendingCount, 0)
})

async function pass(durationMs: number): Promise<void> {
  for (let left = durationMs; left > 0; left -= SECOND_MS) {
    clock.advance(Math.min(left, SECOND_MS))
    await nextTurn()
  }
}

interface Key {
  readonly name: string
  readonly notBeforeSec: number
  readonly notAfterSec: number
}

function keysOfFile(): Key[] {
  const text = files.entries.get(FILE)?.bytes.toString() ?? ''
  const records = text.matchAll(
    /- name: (\S+)\n(?: {2}.*\n){3} {2}not_before: (\d+)\n {2}not_after: (\d+)/g,
  )
  return [...records].map(([, name = '', notBefore, notAfter]) => ({
    ...{ name, notBeforeSec: Number(notBefore), notAfterSec: Number(notAfter) },
  }))
}

/** What h2o has read; it takes a file whose change has the same second for the one that it knows. */
class Looks {
  #changedSec = 1
  names: readonly string[] = []

  look(): void {
    const changedSec = Math.floor((files.entries.get(FILE)?.mtimeMs ?? 0) / SECOND_MS)
    if (changedSec === this.#changedSec) return
    this.#changedSec = changedSec
    this.names = keysOfFile().map(({ name }) => name)
  }
}

test('h2o reads every change, also those of one second with a look in between', async () => {
  const h2o = new Looks()
  const names = () => openedKeys(authority.source('www')?.view() ?? assert.fail()).length
  h2o.look()
  for (let change = 0; change < 3; change += 1) {
    authority.rotate('www', { isImmediate: false, isRevoking: false })
    await pass(100)
    h2o.look()
    assert.equal(h2o.names.length, names())
  }
  // The second that the file says is ahead of the clock now, and what comes then must not be taken for it.
  await pass(2 * SECOND_MS)
  authority.rotate('www', { isImmediate: false, isRevoking: false })
  await pass(100)
  h2o.look()
  assert.equal(h2o.names.length, names())
})

for (const [direction, jumpMs] of [
  ['ahead', 24 * HOUR_MS],
  ['back', -24 * HOUR_MS],
] as const) {
  test(`a clock that jumps ${direction} ends no key of h2o, and makes none late`, async () => {
    await pass(1.5 * HOUR_MS)
    assert.equal(keysOfFile().length, 2)
    clock.shiftWall(jumpMs)
    await pass(31 * SECOND_MS)
    const nowSec = clock.wallMs() / SECOND_MS
    for (const { notBeforeSec, notAfterSec } of keysOfFile()) {
      assert.ok(notAfterSec > nowSec && notAfterSec < nowSec + 5 * 3600)
      assert.ok(notBeforeSec < nowSec + 3600)
    }
    const inode = files.entries.get(FILE)?.ino
    await pass(120 * SECOND_MS)
    assert.equal(files.entries.get(FILE)?.ino, inode, 'written again without a reason')
  })
}
