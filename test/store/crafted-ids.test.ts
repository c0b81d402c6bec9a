// Session IDs chosen so that they collide: they crowd nobody out, whatever seed a node has.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SessionIndex } from '../../src/store/session-index.ts'
import { SessionStore } from '../../src/store/session-store.ts'
import { Sharding } from '../../src/store/sharding.ts'
import { VersionClock } from '../../src/store/versions.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { seededBytes } from '../support/seeded-random.ts'

const ITEMS = 20_000
const NEW_SESSIONS = 300
const CONTEXT = Buffer.from('shop')
const SESSION = Buffer.from('session')

/**
 * IDs that all had one fingerprint under every seed while the seed was only what the hash began with: the top bit of a
 * word passed the multiplication and became the top bit and bit 16, which the next word took away again. Seven such
 * pairs of words overlap in 32 bytes, so 128 IDs collide, from any ID on; in 128 bytes 2^31.
 */
function collidingWith(base: Buffer, most: number): Buffer[] {
  const pairs = base.length / 4 - 1
  return Array.from({ length: Math.min(most, 2 ** pairs) }, (_, choice) => {
    const id = Buffer.from(base)
    for (let pair = 0; pair < pairs; pair += 1) {
      if (((choice >>> pair) & 1) === 0) continue
      flip(id, pair * 4, 0x80000000)
      flip(id, pair * 4 + 4, 0x80010000)
    }
    return id
  })
}

function flip(id: Buffer, at: number, bits: number): void {
  id.writeUInt32LE((id.readUInt32LE(at) ^ bits) >>> 0, at)
}

function craftedIds(count: number, idBytes: number): Buffer[] {
  const random = seededBytes('crafted')
  const ids: Buffer[] = []
  while (ids.length < count) ids.push(...collidingWith(random(idBytes), count - ids.length))
  return ids
}

function createStore(clock: FakeClock, seed: Buffer, origin: number): SessionStore {
  return new SessionStore(
    { name: 'ssl', items: ITEMS, keysize: 128, blocksize: 64, timeoutMs: 60_000, full: 'evict' },
    { clock, versions: new VersionClock(clock), origin, seed },
  )
}

for (const idBytes of [32, 128]) {
  test(`20,000 crafted IDs of ${idBytes} bytes leave every new session alive, here and on a peer`, () => {
    const random = seededBytes('seeds')
    const clock = new FakeClock()
    const store = createStore(clock, random(32), 1)
    const peer = createStore(clock, random(32), 2)
    store.onChange = (change) => void peer.apply(change)
    const put = (id: Buffer) =>
      store.put({ id, context: CONTEXT, serverName: '', session: SESSION, ttlMs: 60_000 })
    for (const id of craftedIds(ITEMS, idBytes)) assert.equal(put(id), 'stored')
    const sessions = Array.from({ length: NEW_SESSIONS }, () => random(32))
    for (const id of sessions) put(id)
    for (const one of [store, peer]) {
      const alive = sessions.filter((id) => typeof one.get(id, CONTEXT) !== 'string')
      assert.equal(alive.length, NEW_SESSIONS)
      assert.equal(one.stats.items, ITEMS)
      assert.equal(one.stats.evicted, NEW_SESSIONS)
    }
  })
}

test('crafted IDs have fingerprints of their own, whatever the seed is', () => {
  const ids = craftedIds(1024, 32)
  const random = seededBytes('many seeds')
  for (const items of [ITEMS, 1_000_000]) {
    for (let round = 0; round < 50; round += 1) {
      const sharding = new Sharding(items, random(32))
      const fingerprints = new Set(ids.map((id) => sharding.fingerprint(id)))
      assert.equal(fingerprints.size, ids.length, `round ${round}`)
    }
  }
})

test('every bit of an ID and its length change the fingerprint', () => {
  const random = seededBytes('bits')
  const sharding = new Sharding(1_000_000, random(32))
  for (const length of [1, 2, 3, 4, 5, 31, 32, 33, 250, 254]) {
    const id = random(length)
    const before = sharding.fingerprint(id)
    for (let bit = 0; bit < length * 8; bit += 1) {
      const other = Buffer.from(id)
      other[bit >>> 3] = (other[bit >>> 3] ?? 0) ^ (1 << (bit & 7))
      assert.notEqual(sharding.fingerprint(other), before, `bit ${bit} of ${length} bytes`)
    }
    assert.notEqual(sharding.fingerprint(Buffer.concat([id, Buffer.alloc(1)])), before)
  }
})

test('IDs that share a fingerprint give way in the order in which they were used', () => {
  class OneFingerprint extends Sharding {
    override fingerprint(): number {
      return 7
    }
  }
  const idOfSlot = new Map<number, string>()
  const left: (string | undefined)[] = []
  const index = new SessionIndex(new OneFingerprint(100, Buffer.from('seed')), 0, {
    holdsId: (slot, id) => idOfSlot.get(slot) === id.toString(),
    onLeave: (slot) => left.push(idOfSlot.get(slot)),
  })
  for (const id of ['a', 'b', 'c']) idOfSlot.set(index.claim(Buffer.from(id)), id)
  index.use(Buffer.from('a'))
  for (let count = 0; count < 3; count += 1) index.evictFor(Buffer.from('new'))
  assert.deepEqual(left, ['b', 'c', 'a'])
})
