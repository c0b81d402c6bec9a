// The authority: rings run by the clock, their users hear of every change, and two authorities agree after one swap.

import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { TicketAuthority } from '../../src/tickets/authority.ts'
import { openedKeys } from '../../src/tickets/rule.ts'
import { ringTimes } from '../../src/tickets/times.ts'
import type { RingOffer } from '../../src/wire/ring-message.ts'
import { decodeSyncFrame, encodeSyncFrame } from '../../src/wire/sync-message.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { seededBytes } from '../support/seeded-random.ts'

const HOUR_MS = 3_600_000
const hourly = { rotateMs: HOUR_MS, lifetimeMs: HOUR_MS, waitMs: HOUR_MS }
const HASH_KEY = Buffer.alloc(32, 1)
let clock: FakeClock
beforeEach(() => {
  clock = new FakeClock()
})

function createAuthority(node: string, names = ['www', 'api']): TicketAuthority {
  const groups = names.map((name) => ({ name, times: ringTimes({ name, ...hourly }, []) }))
  const nodeId = Buffer.from(node)
  return new TicketAuthority({ groups, nodeId, clock, random: seededBytes(node) })
}

function namesOf(authority: TicketAuthority, group = 'www'): string[] {
  const view = authority.source(group)?.view()
  return view === undefined ? [] : openedKeys(view).map(({ key }) => key.hexName)
}

/** Sends all rings over the wire, as one call does, both ways. */
function swap(a: TicketAuthority, b: TicketAuthority): void {
  const [toB, toA] = [overWire(a.offers()), overWire(b.offers())]
  b.merge(toB)
  a.merge(toA)
}

function overWire(rings: readonly RingOffer[]): readonly RingOffer[] {
  const frame = decodeSyncFrame(encodeSyncFrame({ kind: 'rings', rings }))
  assert.equal(frame?.kind, 'rings')
  return frame.rings
}

test('makes no key before it may, then one for each group, and rotates by the clock', () => {
  const authority = createAuthority('edge-1')
  let changes = 0
  authority.source('www')?.onChange(() => {
    changes += 1
    assert.ok(namesOf(authority).length > 0)
  })
  clock.advance(5000)
  assert.deepEqual(namesOf(authority), [])
  authority.mayMake()
  assert.equal(namesOf(authority).length, 1)
  assert.equal(namesOf(authority, 'api').length, 1)
  const first = namesOf(authority)[0] ?? ''
  clock.advance(10 * HOUR_MS)
  assert.ok(!namesOf(authority).includes(first))
  // A key comes, takes over and goes: about three changes an hour, never one for nothing.
  assert.ok(changes >= 20 && changes <= 32, `${changes} changes in ten hours`)
  assert.equal(clock.pendingCount, 1)
  authority.stop()
  authority.stop()
  authority.mayMake()
  assert.equal(clock.pendingCount, 0)
})

test('takes the rings of a peer before it makes any, and both have the same hash', () => {
  const a = createAuthority('edge-1')
  const b = createAuthority('edge-2')
  a.mayMake()
  clock.advance(30 * 60_000)
  assert.notDeepEqual(a.hash(HASH_KEY), b.hash(HASH_KEY))
  swap(a, b)
  b.mayMake()
  assert.deepEqual(namesOf(b), namesOf(a))
  assert.deepEqual(b.hash(HASH_KEY), a.hash(HASH_KEY))
  assert.equal(b.rings[0]?.stats.madeHere, 0)
})

test('revokes on all nodes, and a node never stands without a key', () => {
  const a = createAuthority('edge-1')
  const b = createAuthority('edge-2')
  for (const authority of [a, b]) authority.mayMake()
  swap(a, b)
  const before = namesOf(a)
  assert.equal(a.rotate('www', { isImmediate: false, isRevoking: true }), true)
  assert.equal(a.rotate('nobody', { isImmediate: true, isRevoking: false }), false)
  // Only the retired names arrive at b, as from a node that was too full to send keys.
  b.merge(a.offers().map((offer) => ({ ...offer, keys: [] })))
  assert.equal(namesOf(b).length, 1)
  swap(a, b)
  assert.deepEqual([...namesOf(b)].sort(), [...namesOf(a)].sort())
  assert.ok(before.every((name) => !namesOf(b).includes(name)))
})

test('goes on when a listener throws, and counts groups that it does not have', () => {
  const a = createAuthority('edge-1', ['www'])
  const b = createAuthority('edge-2', ['shop'])
  a.mayMake()
  b.mayMake()
  const end = a.source('www')?.onChange(() => {
    throw new Error('made up')
  })
  assert.throws(() => a.rotate('www', { isImmediate: true, isRevoking: false }), /made up/)
  assert.equal(clock.pendingCount, 2)
  end?.()
  a.merge(b.offers())
  assert.equal(a.unknownGroups, 1)
  assert.equal(a.source('shop'), undefined)
})

test('a node whose process was stopped hears its peers before it makes a key', () => {
  const { jitterMs } = ringTimes({ name: 'www', ...hourly }, [])
  const [awake, stopped] = ['edge-1', 'edge-2'].map((name) => {
    clock = new FakeClock()
    return { clock, authority: createAuthority(name, ['www']) }
  })
  assert.ok(awake !== undefined && stopped !== undefined)
  const counts = () => [awake, stopped].map(({ authority }) => namesOf(authority).length)
  awake.authority.mayMake()
  swap(awake.authority, stopped.authority)
  stopped.authority.mayMake()
  for (const one of [awake, stopped]) one.clock.advance(HOUR_MS - 1000)
  assert.deepEqual(counts(), [1, 1])
  // A key that is made so late has a turn of its own, and HAProxy has no room for it.
  awake.clock.advance(2 * jitterMs)
  stopped.clock.stall(2 * jitterMs)
  for (const one of [awake, stopped]) one.clock.advance(1000)
  assert.deepEqual(counts(), [2, 1])
  swap(awake.authority, stopped.authority)
  for (const one of [awake, stopped]) one.clock.advance(60_000)
  assert.deepEqual(counts(), [2, 2])
  // When nobody answers it makes one itself.
  stopped.clock.stall(HOUR_MS)
  stopped.clock.advance(5000)
  assert.deepEqual(counts(), [2, 3])
  for (const { authority } of [awake, stopped]) authority.stop()
})
