// Generated and mutated datagrams for the sessiond frontend: stored is only what is a session of its ID.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SessiondFrontend } from '../../src/frontends/sessiond/frontend.ts'
import { createCacheFixture } from '../support/cache-fixture.ts'
import { Dice, mutate } from '../support/dice.ts'
import { encodeSession } from '../support/session-encoder.ts'

const ROUNDS = 100_000
const SEED = 0x73_65_73_64
const ITEMS = 50

test(`${ROUNDS} datagrams`, () => {
  const dice = new Dice(SEED)
  const cache = createCacheFixture({ items: ITEMS, timeoutMs: 3_600_000 })
  const address = { host: '127.0.0.1', port: 0 }
  const frontend = new SessiondFrontend({ ...cache, address, removePolicy: 'honour' })
  const timeSec = cache.clock.wallMs() / 1000
  cache.store.onChange = (change) => {
    assert.equal(change.id.length, 32)
    if (change.kind === 'put') assert.ok(change.session.length <= 512 && change.session[0] === 0x30)
  }
  for (let round = 0; round < ROUNDS; round += 1) {
    const id = Buffer.alloc(32, dice.below(100))
    const type = dice.pick([0, 0, 1, 2, 3])
    const session = encodeSession({ id, context: Buffer.from('www'), timeSec, timeoutSec: 10_000 })
    const body = type === 0 ? session : dice.bytes(dice.below(2))
    let datagram: Buffer = Buffer.concat([Buffer.from([1, type, 1, 0]), id, body])
    for (let left = dice.below(3); left > 0; left -= 1) datagram = mutate(datagram, dice)
    // It was not started: what it answers goes nowhere.
    frontend.receive(datagram, 1, '127.0.0.1')
    assert.ok(cache.store.stats.items <= ITEMS)
  }
  const { gets, hits, news, refused, removes, malformed } = frontend.stats
  assert.equal(gets + news + removes + malformed, ROUNDS)
  for (const count of [hits, refused, removes, malformed, news - refused]) {
    assert.ok(count > ROUNDS / 500, JSON.stringify(frontend.stats))
  }
})
