// What a node does with its keys after its machine was suspended: it does not know their ages any more.

import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { TicketAuthority } from '../../src/tickets/authority.ts'
import { TicketRing } from '../../src/tickets/ring.ts'
import { openedKeys } from '../../src/tickets/rule.ts'
import { ringTimes } from '../../src/tickets/times.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { seededBytes } from '../support/seeded-random.ts'

const HOUR_MS = 3_600_000
const times = ringTimes(
  { name: 'www', rotateMs: HOUR_MS, lifetimeMs: HOUR_MS, waitMs: HOUR_MS },
  [],
)

/** A node with a monotonic clock of its own, which stands still while its machine is suspended. */
class Sleeper {
  nowMs = 0
  readonly ring: TicketRing

  constructor(name: string) {
    this.ring = new TicketRing({
      ...{ group: 'www', times, nodeId: Buffer.from(name), random: seededBytes(name) },
    })
  }

  pass(ms: number, mayMake = true): void {
    const endMs = this.nowMs + ms
    for (;;) {
      const nextMs = Math.max(this.nowMs, this.ring.nextChangeMs(this.nowMs))
      if (nextMs > endMs) break
      this.nowMs = nextMs
      this.ring.tick(this.nowMs, mayMake)
      if (!mayMake) break
    }
    this.nowMs = endMs
  }

  get current(): string | undefined {
    return this.ring.view(this.nowMs).current?.key.hexName
  }

  get names(): string[] {
    return openedKeys(this.ring.view(this.nowMs)).map(({ key }) => key.hexName)
  }

  get doubted(): string[] {
    return this.ring.keys
      .filter(({ isDoubted }) => isDoubted === true)
      .map(({ key }) => key.hexName)
  }
}

function swap(one: Sleeper, other: Sleeper): void {
  const [offer, answer] = [one.ring.offer(one.nowMs), other.ring.offer(other.nowMs)]
  other.ring.merge(other.nowMs, offer)
  one.ring.merge(one.nowMs, answer)
}

let a: Sleeper
let b: Sleeper
let c: Sleeper
beforeEach(() => {
  a = new Sleeper('a')
  b = new Sleeper('b')
  c = new Sleeper('c')
  a.ring.tick(0, true)
  for (let hours = 0; hours < 4; hours += 1) {
    for (const other of [b, c]) swap(a, other)
    for (const node of [a, b, c]) node.pass(HOUR_MS, node === a)
  }
  for (const other of [b, c]) swap(a, other)
  assert.deepEqual(a.names, b.names)
})

test('a node alone makes a key and mints it at once, and opens the others as before', () => {
  const before = a.names
  a.ring.doubt(a.nowMs, 2 * HOUR_MS)
  assert.deepEqual(a.doubted.sort(), before.sort())
  // The peers are asked first; meanwhile everything is as it was.
  a.ring.tick(a.nowMs, false)
  assert.ok(before.includes(a.current ?? ''))
  assert.ok(a.ring.tick(a.nowMs, true))
  assert.ok(!before.includes(a.current ?? ''))
  for (const name of before) assert.ok(a.names.includes(name))
  // Only one.
  assert.equal(a.ring.tick(a.nowMs, true), false)
})

test('the tickets that it makes open everywhere when a peer is back, whose keys have all changed', () => {
  const before = a.names
  // c sleeps for the time in which its keys end.
  for (let hours = 0; hours < 4; hours += 1) {
    for (const node of [a, b]) node.pass(HOUR_MS, node === a)
    swap(a, b)
  }
  for (const name of before.slice(0, 1)) assert.ok(!a.names.includes(name))
  c.ring.doubt(c.nowMs, 4 * HOUR_MS)
  c.ring.tick(c.nowMs, true)
  const minted = c.current
  c.pass(HOUR_MS / 4)
  assert.equal(c.current, minted)
  swap(a, c)
  assert.ok(a.names.includes(minted ?? ''))
  // And c goes over to the key of the others as soon as its neighbours know that.
  c.pass(times.settleMs)
  assert.equal(c.current, a.current)
})

test('a peer that was awake ends the doubt, and no key is made', () => {
  const made = a.ring.stats.madeHere
  b.pass(HOUR_MS / 8, false)
  a.ring.doubt(a.nowMs, HOUR_MS / 8)
  swap(a, b)
  assert.deepEqual(a.doubted, [])
  for (const { key, bornMs } of a.ring.keys) {
    const known = b.ring.keys.find((one) => one.key.hexName === key.hexName)
    assert.equal(a.nowMs - bornMs, b.nowMs - (known?.bornMs ?? 0))
  }
  a.ring.tick(a.nowMs, true)
  assert.equal(a.ring.stats.madeHere, made)
})

test('two nodes that both slept do not reassure each other, and use one new key', () => {
  a.ring.doubt(a.nowMs, 2 * HOUR_MS)
  a.ring.tick(a.nowMs, true)
  const minted = a.current
  b.ring.doubt(b.nowMs, 2 * HOUR_MS)
  swap(b, a)
  assert.equal(b.current, minted)
  assert.equal(b.ring.tick(b.nowMs, true), false)
  assert.equal(a.doubted.length, b.doubted.length)
  assert.ok(a.doubted.length > 0)
  // A third one that was awake tells both.
  swap(b, c)
  swap(a, c)
  assert.deepEqual([...a.doubted, ...b.doubted, ...c.doubted], [])
})

test('a key that comes in doubt is doubted until it comes from somebody else', () => {
  const d = new Sleeper('d')
  a.ring.doubt(a.nowMs, 2 * HOUR_MS)
  swap(a, d)
  assert.deepEqual(d.doubted.sort(), a.names.sort())
  assert.ok(d.ring.tick(d.nowMs, true))
  swap(b, d)
  assert.deepEqual(d.doubted, [])
})

test('what is shorter than the jitter is no matter, nor is a second doubt within an interval', () => {
  a.ring.doubt(a.nowMs, times.jitterMs - 1)
  assert.equal(a.doubted.length, 0)
  a.ring.doubt(a.nowMs, times.jitterMs)
  a.ring.tick(a.nowMs, true)
  const minted = a.current
  const made = a.ring.stats.madeHere
  for (let jumps = 0; jumps < 20; jumps += 1) {
    a.nowMs += 60_000
    a.ring.doubt(a.nowMs, HOUR_MS)
    a.ring.tick(a.nowMs, true)
  }
  assert.equal(a.current, minted)
  assert.equal(a.ring.stats.madeHere, made)
  a.nowMs += HOUR_MS
  a.ring.doubt(a.nowMs, HOUR_MS)
  assert.ok(a.doubted.includes(minted ?? ''))
})

function createAuthority(name: string, clock: FakeClock): TicketAuthority {
  return new TicketAuthority({
    ...{ groups: [{ name: 'www', times }], nodeId: Buffer.from(name), clock },
    random: seededBytes(name),
  })
}

function currentOf(authority: TicketAuthority): string | undefined {
  return authority.source('www')?.view().current?.key.hexName
}

test('an authority that was suspended leaves its peers 4 s, and then gives a new key to its users', () => {
  const clock = new FakeClock()
  const authority = createAuthority('n', clock)
  authority.mayMake()
  const before = currentOf(authority)
  let changes = 0
  authority.source('www')?.onChange(() => {
    changes += 1
  })
  clock.shiftWall(HOUR_MS)
  authority.wake()
  clock.advance(3000)
  assert.deepEqual([currentOf(authority), changes], [before, 0])
  clock.advance(2000)
  assert.notEqual(currentOf(authority), before)
  assert.equal(changes, 1)
  clock.advance(10 * HOUR_MS)
  assert.ok(changes > 8 && changes < 40, String(changes))
  authority.stop()
  assert.equal(clock.pendingCount, 0)
})

test('a peer that calls before the suspension was noticed is told of the doubt, or ends it', () => {
  const [clock, awake] = [new FakeClock(), new FakeClock()]
  const authority = createAuthority('n', clock)
  const peer = createAuthority('p', awake)
  authority.mayMake()
  peer.merge(authority.offers())
  clock.shiftWall(HOUR_MS)
  assert.equal(authority.offers()[0]?.keys[0]?.isDoubted, true)
  clock.shiftWall(HOUR_MS)
  authority.merge(peer.offers())
  assert.equal(authority.offers()[0]?.keys[0]?.isDoubted, undefined)
  clock.advance(10_000)
  assert.equal(authority.rings[0]?.stats.madeHere, 1)
  for (const one of [authority, peer]) one.stop()
})

test('a time of day that is set back, or forward by less than 5 s, is no suspension', () => {
  const clock = new FakeClock()
  const authority = createAuthority('n', clock)
  authority.mayMake()
  for (const ms of [-HOUR_MS, 4999, -HOUR_MS]) {
    clock.shiftWall(ms)
    assert.equal(authority.offers()[0]?.keys[0]?.isDoubted, undefined)
  }
  authority.stop()
})
