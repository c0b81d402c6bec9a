// A ring over its hours: making, minting, opening, retiring, revoking, and what it accepts of peers.

import assert from 'node:assert/strict'
import { beforeEach, describe, test } from 'node:test'
import { inspect } from 'node:util'
import { TicketRing } from '../../src/tickets/ring.ts'
import { openedKeys } from '../../src/tickets/rule.ts'
import { TicketKey } from '../../src/tickets/ticket-key.ts'
import { ringTimes } from '../../src/tickets/times.ts'
import { MAX_RETIRED_NAMES, MAX_RING_KEYS, type RingOffer } from '../../src/wire/ring-message.ts'
import { seededBytes } from '../support/seeded-random.ts'

const HOUR_MS = 3_600_000
const times = ringTimes(
  { name: 'www', rotateMs: HOUR_MS, lifetimeMs: HOUR_MS, waitMs: HOUR_MS },
  [],
)

function createRing(node: string, random = seededBytes(node)): TicketRing {
  return new TicketRing({ group: 'www', times, nodeId: Buffer.from(node), random })
}

/** The short names of the keys by use, the current one first. */
function usesOf(
  ring: TicketRing,
  nowMs: number,
): Record<'current' | 'next' | 'previous', string[]> {
  const { current, next, previous } = ring.view(nowMs)
  const namesOf = (keys: readonly ({ key: TicketKey } | undefined)[]) =>
    keys.map((one) => one?.key.hexName ?? 'none')
  return { current: namesOf([current]), next: namesOf(next), previous: namesOf(previous) }
}

/** Swaps the rings of two nodes, as one call between them does. */
function swap(a: TicketRing, b: TicketRing, nowMs: number): void {
  const offer = a.offer(nowMs)
  const answer = b.offer(nowMs)
  b.merge(nowMs, offer)
  a.merge(nowMs, answer)
}

describe('one node', () => {
  let ring: TicketRing
  beforeEach(() => {
    ring = createRing('edge-1')
  })

  test('makes no key before it has asked its peers, then one, and mints with it at once', () => {
    assert.equal(ring.tick(0, false), false)
    assert.equal(ring.view(0).current, undefined)
    assert.equal(ring.tick(1000, true), true)
    assert.equal(ring.keys.length, 1)
    assert.equal(ring.view(1000).current, ring.keys[0])
    assert.equal(ring.tick(2000, true), false)
  })

  test('moves keys from next to current to previous, and retires them by age', () => {
    ring.tick(0, true)
    const [first] = usesOf(ring, 0).current
    // The next change is always the only moment at which something happens.
    let nowMs = 0
    const seen: string[] = []
    while (nowMs < 4.5 * HOUR_MS) {
      nowMs = ring.nextChangeMs(nowMs)
      ring.tick(nowMs, true)
      const { current, next, previous } = usesOf(ring, nowMs)
      seen.push(`${current.length} ${next.length} ${previous.length}`)
      if (nowMs < times.openMs) assert.ok(ring.keys.some(({ key }) => key.hexName === first))
    }
    assert.deepEqual([...new Set(seen)], ['1 0 0', '1 1 0', '1 0 1', '1 1 1', '1 0 2', '1 1 2'])
    assert.ok(!ring.keys.some(({ key }) => key.hexName === first))
    assert.equal(ring.stats.retired, 2)
    assert.equal(ring.stats.madeHere, 5)
  })

  test('mints with a new key only when it has waited', () => {
    ring.tick(0, true)
    const dueMs = HOUR_MS + times.jitterMs
    ring.tick(dueMs, true)
    const [first, second] = ring.keys
    assert.equal(ring.view(dueMs + HOUR_MS - 1).current, first)
    assert.equal(ring.view(dueMs + HOUR_MS).current, second)
  })

  test('erases what it retires, and goes on with a new key when it slept too long', () => {
    ring.tick(0, true)
    const secret = ring.keys[0]?.key.secret ?? Buffer.alloc(0)
    assert.ok(secret.some((byte) => byte !== 0))
    ring.tick(times.openMs - 1, false)
    assert.ok(secret.some((byte) => byte !== 0))
    ring.tick(times.openMs, true)
    assert.ok(secret.every((byte) => byte === 0))
    assert.equal(ring.keys.length, 1)
    assert.notEqual(ring.view(times.openMs).current, undefined)
  })

  test('says that it is overdue: a merge just before does not hide the end of a key', () => {
    ring.tick(0, true)
    assert.ok(ring.nextChangeMs(times.openMs + 5) <= times.openMs + 5)
  })

  test('rotates on command: a next key, one that is minted at once, or one that is left alone', () => {
    ring.tick(0, true)
    ring.rotate(10, { isImmediate: false, isRevoking: false })
    assert.equal(usesOf(ring, 10).next.length, 1)
    ring.rotate(20, { isImmediate: true, isRevoking: false })
    assert.equal(ring.view(20 + times.settleMs - 1).current, ring.keys[0])
    assert.equal(ring.view(20 + times.settleMs).current, ring.keys[2])
    const secrets = ring.keys.map(({ key }) => key.secret)
    ring.rotate(30, { isImmediate: false, isRevoking: true })
    assert.deepEqual(usesOf(ring, 30), {
      current: [ring.keys[0]?.key.hexName],
      next: [],
      previous: [],
    })
    assert.ok(secrets.every((secret) => secret.every((byte) => byte === 0)))
  })

  test('opens what it mints for the whole lifetime of the last ticket', () => {
    let nowMs = 0
    ring.tick(0, true)
    const lastMintedMs = new Map<string, number>()
    while (nowMs < 12 * HOUR_MS) {
      const untilMs = ring.nextChangeMs(nowMs)
      const { current } = ring.view(nowMs)
      if (current !== undefined) lastMintedMs.set(current.key.hexName, untilMs)
      nowMs = untilMs
      ring.tick(nowMs, true)
      for (const [name, mintedMs] of lastMintedMs) {
        if (nowMs >= mintedMs + times.lifetimeMs) continue
        const opened = openedKeys(ring.view(nowMs)).map(({ key }) => key.hexName)
        assert.ok(opened.includes(name), `${name} at ${nowMs}`)
      }
    }
    assert.ok(lastMintedMs.size >= 10)
  })

  test('shows no secret when it is printed', () => {
    ring.tick(0, true)
    const secret = ring.keys[0]?.key.secret ?? Buffer.alloc(0)
    const shown = [
      inspect(ring, { depth: 9 }),
      JSON.stringify(ring.keys),
      String(ring.keys[0]?.key),
    ]
    for (const text of shown) {
      for (const part of [secret.subarray(0, 16), secret.subarray(32, 48)]) {
        assert.ok(!text.includes(part.toString('hex')) && !text.includes(part.toString('base64')))
        assert.ok(!text.includes([...part].join(',')))
      }
    }
  })
})

describe('two nodes', () => {
  test('have the same current key after one call, whoever started first', () => {
    const a = createRing('edge-1')
    const b = createRing('edge-2')
    a.tick(1000, true)
    b.tick(5000, true)
    swap(a, b, 6000)
    assert.deepEqual(usesOf(a, 6000), usesOf(b, 6000))
    assert.deepEqual(usesOf(a, 6000).current, [a.keys[0]?.key.hexName])
    assert.equal(b.stats.fromPeers, 1)
  })

  test('give neighbours time to hear of a key that a healed partition brings', () => {
    const a = createRing('edge-1')
    const b = createRing('edge-2')
    for (const ring of [a, b]) ring.tick(0, true)
    a.tick(1.5 * HOUR_MS, true)
    b.tick(2 * HOUR_MS, true)
    const healedMs = 3.1 * HOUR_MS
    const before = a.view(healedMs).current
    swap(a, b, healedMs)
    const [newer] = usesOf(b, healedMs).current
    assert.equal(a.view(healedMs + times.settleMs - 1).current, before)
    assert.deepEqual(usesOf(a, healedMs).next, [newer])
    assert.deepEqual(usesOf(a, healedMs + times.settleMs).current, [newer])
  })

  test('mint at once with a key of a peer when their own ends before a ticket would', () => {
    const a = createRing('edge-1')
    const b = createRing('edge-2')
    for (const ring of [a, b]) ring.tick(0, true)
    swap(a, b, 0)
    // a is paused; b goes on, and its newer key is new to a when that is back.
    for (let hour = 1.2; hour <= 2.5; hour += 0.1) b.tick(hour * HOUR_MS, true)
    const backMs = 2.9 * HOUR_MS
    const before = a.view(backMs).current
    swap(a, b, backMs)
    const { current } = a.view(backMs)
    assert.ok(before !== undefined && current !== undefined)
    assert.ok(backMs - before.bornMs + times.lifetimeMs > times.openMs)
    assert.notEqual(current.key.hexName, before.key.hexName)
    assert.equal(current.key.hexName, usesOf(b, backMs).current[0])
  })

  test('take the lowest name of keys that they made at once', () => {
    const a = createRing('edge-1')
    const b = createRing('edge-2')
    a.tick(0, true)
    b.tick(2, true)
    swap(a, b, 3000)
    const lowest = [...a.keys].map(({ key }) => key.hexName).sort()[0]
    assert.deepEqual(usesOf(a, HOUR_MS + 3).current, [lowest])
    assert.deepEqual(usesOf(b, HOUR_MS + 3).current, [lowest])
  })

  test('mint with no key of those that they made at once before the lowest name has waited', () => {
    const ring = createRing('edge-1')
    ring.tick(0, true)
    const { current: first } = usesOf(ring, 0)
    const madeMs = 1.2 * HOUR_MS
    const keyOf = (digit: number, ageMs: number) => {
      return { name: Buffer.alloc(16, digit), secret: Buffer.alloc(96, digit), ageMs }
    }
    const keys = [keyOf(9, 2000), keyOf(5, 500)]
    ring.merge(madeMs, { group: 'www', keys, retired: [] })
    const [high, low] = ['09'.repeat(16), '05'.repeat(16)]
    const lowMs = madeMs - 500 + times.waitMs
    assert.deepEqual(usesOf(ring, lowMs - 1), { current: first, next: [low, high], previous: [] })
    assert.deepEqual(usesOf(ring, lowMs), { current: [low], next: [], previous: [high, ...first] })
  })

  test('mostly make one key for both', () => {
    let made = 0
    const rotations = 40
    const a = createRing('edge-1')
    const b = createRing('edge-2')
    for (let nowMs = 0; nowMs < rotations * HOUR_MS; nowMs += 30_000) {
      for (const ring of [a, b]) ring.tick(nowMs, true)
      swap(a, b, nowMs)
      made = a.stats.madeHere + b.stats.madeHere
    }
    assert.ok(made <= rotations + 2, `${made} keys in ${rotations} hours`)
    assert.ok(made >= rotations * 0.9, `${made} keys in ${rotations} hours`)
  })

  test('believe the greater age', () => {
    const a = createRing('edge-1')
    const b = createRing('edge-2')
    a.tick(0, true)
    // The clock of b stands still for half an hour after this, as in a paused machine.
    swap(a, b, 0)
    assert.equal(b.merge(0, a.offer(HOUR_MS / 2)), true)
    assert.equal(b.offer(0).keys[0]?.ageMs, HOUR_MS / 2)
    assert.equal(a.merge(HOUR_MS, b.offer(0)), false)
    assert.equal(a.offer(HOUR_MS).keys[0]?.ageMs, HOUR_MS)
  })

  test('do not bring a retired key back, and the one that still has it drops it', () => {
    const a = createRing('edge-1')
    const b = createRing('edge-2')
    a.tick(0, true)
    swap(a, b, 0)
    const name = a.keys[0]?.key.hexName
    const secret = b.keys[0]?.key.secret
    a.tick(times.openMs, true)
    // b was paused: to it no time has passed.
    a.merge(times.openMs, b.offer(0))
    b.merge(0, a.offer(times.openMs))
    b.tick(0, true)
    for (const ring of [a, b]) assert.ok(ring.keys.every(({ key }) => key.hexName !== name))
    assert.equal(a.stats.refused.retired, 1)
    assert.ok(secret?.every((byte) => byte === 0))
    assert.ok(b.view(0).current !== undefined)
  })

  test('both drop what one revokes', () => {
    const a = createRing('edge-1')
    const b = createRing('edge-2')
    a.tick(0, true)
    swap(a, b, 0)
    a.rotate(1000, { isImmediate: false, isRevoking: true })
    swap(a, b, 2000)
    assert.deepEqual(usesOf(b, 2000), usesOf(a, 2000))
    assert.equal(b.keys.length, 1)
  })

  test('forget the names of retired keys in the end, also when they remind each other', () => {
    const a = createRing('edge-1')
    const b = createRing('edge-2')
    a.tick(0, true)
    a.rotate(0, { isImmediate: false, isRevoking: true })
    const retired = a.offer(0).retired[0]?.name.toString('hex')
    const stepMs = HOUR_MS / 4
    for (let nowMs = 0; nowMs < times.rememberMs + 3 * stepMs; nowMs += stepMs) {
      for (const ring of [a, b]) ring.tick(nowMs, true)
      swap(a, b, nowMs)
      const names = a.offer(nowMs).retired.map(({ name }) => name.toString('hex'))
      assert.equal(names.includes(retired ?? ''), nowMs < times.rememberMs, `at ${nowMs}`)
    }
  })
})

describe('an offer of a faulty peer', () => {
  const ownSecret = seededBytes('own')(96)
  const ownName = seededBytes('own name')(16)
  const random = seededBytes('peer')
  let ring: TicketRing

  beforeEach(() => {
    ring = createRing('edge-1')
    ring.merge(0, offerOf({ name: ownName, secret: ownSecret }))
  })

  function offerOf(...keys: Partial<RingOffer['keys'][number]>[]): RingOffer {
    return { group: 'www', retired: [], keys: keys.map((key) => ({ ...newKey(), ...key })) }
  }

  function newKey(): RingOffer['keys'][number] {
    return { name: Buffer.from(random(16)), secret: Buffer.from(random(96)), ageMs: 5 }
  }

  /** Merges the offer and returns what was refused. The key of the ring must be as it was. */
  function refusedOf(offer: RingOffer): Record<string, number> {
    ring.merge(10, offer)
    assert.deepEqual(ring.keys[0]?.key.secret, ownSecret)
    assert.equal(ring.keys[0]?.bornMs, -5)
    return Object.fromEntries(Object.entries(ring.stats.refused).filter(([, count]) => count > 0))
  }

  test('with a key that was never filled in, or whose part for some terminator was not', () => {
    const cases = [
      { name: Buffer.alloc(16) },
      { secret: Buffer.alloc(96) },
      { secret: Buffer.concat([Buffer.alloc(16), random(80)]) },
      { secret: Buffer.concat([random(32), Buffer.alloc(64)]) },
    ]
    assert.deepEqual(refusedOf(offerOf(...cases)), { zero: 4 })
    assert.equal(ring.keys.length, 1)
  })

  test('with a key twice', () => {
    const key = newKey()
    assert.deepEqual(refusedOf(offerOf(key, key)), { repeated: 1 })
    assert.equal(ring.keys.length, 2)
  })

  test('with other bytes under a name that is known', () => {
    assert.deepEqual(refusedOf(offerOf({ name: ownName })), { renamed: 1 })
    assert.equal(ring.keys.length, 1)
  })

  test('with known bytes under another name', () => {
    const key = newKey()
    const offer = offerOf({ secret: ownSecret }, key, { ...key, name: random(16) })
    assert.deepEqual(refusedOf(offer), { renamed: 2 })
    assert.equal(ring.keys.length, 2)
  })

  test('with a key over age, or an age that would retire a key of ours', () => {
    const ageMs = times.openMs
    const offer = offerOf({ ageMs }, { name: ownName, secret: ownSecret, ageMs })
    assert.deepEqual(refusedOf(offer), { over_age: 2 })
    assert.equal(ring.keys.length, 1)
    assert.deepEqual(refusedOf(offerOf({ ageMs: ageMs - 1 })), { over_age: 2 })
    assert.equal(ring.keys.length, 2)
  })

  test('with more keys than a ring has: none of it is used', () => {
    const many = Array.from({ length: MAX_RING_KEYS + 1 }, newKey)
    assert.deepEqual(refusedOf(offerOf(...many)), { flood: 1 })
    assert.equal(ring.keys.length, 1)
  })

  test('with keys for which there is no room: the ring has its bound and still makes its own', () => {
    const many = Array.from({ length: MAX_RING_KEYS }, newKey)
    assert.deepEqual(refusedOf(offerOf(...many)), { flood: 1 })
    assert.equal(ring.keys.length, MAX_RING_KEYS)
    ring.rotate(20, { isImmediate: true, isRevoking: false })
    assert.equal(ring.keys.length, MAX_RING_KEYS)
    assert.equal(ring.view(20 + times.settleMs).current?.key.origin, 'self')
  })

  test('with more retired names than there is room for: our own are kept', () => {
    ring.rotate(10, { isImmediate: false, isRevoking: true })
    const retired = (count: number) =>
      Array.from({ length: count }, () => ({ name: Buffer.from(random(16)), ageMs: 1 }))
    ring.merge(10, { group: 'www', keys: [], retired: retired(MAX_RETIRED_NAMES + 1) })
    assert.equal(ring.offer(10).retired.length, 1)
    ring.merge(10, { group: 'www', keys: [], retired: retired(MAX_RETIRED_NAMES) })
    assert.equal(ring.stats.refused.flood, 2)
    const names = ring.offer(10).retired.map(({ name }) => name.toString('hex'))
    assert.equal(names.length, MAX_RETIRED_NAMES)
    assert.ok(names.includes(ownName.toString('hex')))
    ring.merge(10, offerOf({ name: ownName, secret: ownSecret }))
    assert.equal(ring.stats.refused.retired, 1)
  })
})

test('a new key has a first byte of its own in the ring, for h2o', () => {
  const random = () => Buffer.alloc(112, 7)
  const taken = new Set([7, 8])
  assert.equal(TicketKey.generate(random, taken).firstNameByte, 9)
  assert.equal(TicketKey.generate(random).firstNameByte, 7)
  const all = new Set(Array.from({ length: 256 }, (_, index) => index))
  assert.equal(TicketKey.generate(random, all).firstNameByte, 7)
})
