// Two lighttpd, each with its own node beside it, in simulated time: a ticket of either is opened by both for its whole
// lifetime, also where both nodes make a key at once.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { silentLogger } from '../../src/base/world.ts'
import { TicketAuthority } from '../../src/tickets/authority.ts'
import { createTarget, terminatorLimits } from '../../src/tickets/targets/kinds.ts'
import { TargetRunner } from '../../src/tickets/targets/runner.ts'
import { targetSchema } from '../../src/tickets/targets/target-schema.ts'
import { ringTimes } from '../../src/tickets/times.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { MemoryFiles } from '../support/memory-files.ts'
import { seededBytes, seededNumbers } from '../support/seeded-random.ts'
import { Lighttpd } from './lighttpd.ts'

const SECOND_MS = 1000
const FILE = '/run/l/stek'
/** The shortest that lighttpd allows; lifetime and wait are as long, which is the most that its three keys allow. */
const ROTATE_SEC = 140
const ROTATIONS = 60
/** Nodes hear from each other at this pace. */
const SWAP_SEC = 3
/** lighttpd has its first key at its third look at the latest. */
const FIRST_KEY_SEC = 3 * 64
const CHECKED_TICKETS = 4

interface Ticket {
  readonly keyName: string
  readonly madeSec: number
}

/** A node with one lighttpd beside it. */
function createSide(clock: FakeClock, name: string) {
  const settings = targetSchema.parse({ kind: 'lighttpd', group: 'www', file: FILE })
  const rotateMs = ROTATE_SEC * SECOND_MS
  const group = { name: 'www', rotateMs, lifetimeMs: rotateMs, waitMs: rotateMs }
  const times = ringTimes(group, [terminatorLimits(settings, rotateMs)])
  const authority = new TicketAuthority({
    groups: [{ name: 'www', times }],
    nodeId: Buffer.from(name),
    clock,
    random: seededBytes(name),
  })
  const source = authority.source('www')
  assert.ok(source !== undefined)
  const files = new MemoryFiles(() => clock.wallMs())
  const target = createTarget(settings, { times, clock })
  const world = { clock, logger: silentLogger }
  const runner = new TargetRunner({ target, source, times, files, world })
  return { authority, runner, source, lighttpd: new Lighttpd(clock, files, FILE) }
}

for (const seed of [1, 2, 3]) {
  test(`every ticket is opened by both for its lifetime, seed ${seed}`, async () => {
    const clock = new FakeClock()
    const random = seededNumbers(`lighttpd ${seed}`)
    const [a, b] = [createSide(clock, `${seed} a`), createSide(clock, `${seed} b`)]
    const swap = () => {
      const [ofA, ofB] = [a.authority.offers(), b.authority.offers()]
      a.authority.merge(ofB)
      b.authority.merge(ofA)
    }
    a.authority.mayMake()
    swap()
    b.authority.mayMake()
    for (const { runner } of [a, b]) void runner.start()
    let tickets: Ticket[] = []
    /** Names of keys of which two were to come at the same time. */
    const madeAtOnce = new Set<string>()
    for (let second = 1; second < ROTATIONS * ROTATE_SEC; second += 1) {
      clock.advance(SECOND_MS)
      await nextTurn()
      if (second % SWAP_SEC === 0) swap()
      const { next } = a.source.view()
      if (next.length > 1) for (const { key } of next) madeAtOnce.add(key.hexName)
      tickets = tickets.filter(({ madeSec }) => second - madeSec < ROTATE_SEC)
      for (const { lighttpd } of [a, b]) {
        lighttpd.tick()
        if (second < FIRST_KEY_SEC) continue
        const keyName = lighttpd.minted()
        assert.ok(keyName !== undefined)
        tickets.push({ keyName, madeSec: second })
      }
      const drawn = Array.from({ length: CHECKED_TICKETS }, () =>
        tickets.at(Math.floor(random() * tickets.length)),
      )
      // The oldest is the one whose key may be gone, the newest the one whose key may not have come.
      for (const ticket of [tickets[0], ...drawn, tickets.at(-1)]) {
        if (ticket === undefined) continue
        const { keyName, madeSec } = ticket
        for (const { lighttpd } of [a, b])
          assert.ok(lighttpd.names.includes(keyName), `made at ${madeSec} s, looked at ${second} s`)
      }
    }
    assert.ok(madeAtOnce.size >= 4)
    for (const { runner, authority } of [a, b]) {
      await runner.stop()
      authority.stop()
    }
  })
}
