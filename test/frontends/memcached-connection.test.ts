// One connection: however its bytes come in, in which pieces and in how many turns of the event loop, the answers are
// the same.

import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import { zeros } from '../../src/base/counters.ts'
import { Connection } from '../../src/frontends/memcached/connection.ts'
import { Entries } from '../../src/frontends/memcached/entries.ts'
import { Turn } from '../../src/frontends/memcached/fast/turn.ts'
import { ServerStatus } from '../../src/frontends/memcached/server-status.ts'
import { MEMCACHED_COUNTERS } from '../../src/frontends/memcached/stats.ts'
import { createCacheFixture } from '../support/cache-fixture.ts'
import { MemcachedPeer, SERVER_PROCESS } from '../support/memcached-peer.ts'

const NEVER_MS = 1e9

function setup() {
  const { hooks, clock } = createCacheFixture()
  const stats = zeros(MEMCACHED_COUNTERS)
  const entries = new Entries(hooks, clock, stats)
  const turn = new Turn(hooks, entries)
  const parts = {
    output: turn.output,
    entries,
    status: new ServerStatus(hooks, stats, { clock, maxConnections: 10, process: SERVER_PROCESS }),
    stats,
    maxValueBytes: 4096,
    flush: () => true,
  }
  const options = { clock, turn, idleTimeoutMs: NEVER_MS, stallTimeoutMs: 1000 }
  const connect = () => {
    const answers: Buffer[] = []
    const stream = new Duplex({
      allowHalfOpen: true,
      read() {},
      write(chunk: Buffer, _encoding, done) {
        answers.push(chunk)
        done()
      },
    })
    const connection = new Connection(stream as unknown as Socket, parts, options, () => {})
    const answered = () => Buffer.concat(answers).toString('latin1')
    return { stream, connection, answered }
  }
  return { clock, stats, connect }
}

const command = fc.oneof(
  { arbitrary: fc.constantFrom('get a\r\n', 'get b\r\n', 'get none\r\n'), weight: 6 },
  fc.constantFrom('set a 0 0 3\r\none\r\n', 'set b 5 0 5\r\nt\r\nwo\r\n'),
  fc.constantFrom(
    'gets a b\r\n',
    'get a b none\r\n',
    'delete a\r\n',
    'version\r\n',
    'nonsense\r\n',
  ),
  fc.constantFrom('set a 0 0 9999\r\n', 'get \r\n', '\r\n'),
)
/** Where a piece ends, and whether the turn does, too. */
const cut = fc.record({ at: fc.nat(400), endsTurn: fc.boolean() })

test('pieces and turns make no difference', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(command, { maxLength: 20 }),
      fc.array(cut, { maxLength: 20 }),
      fc.boolean(),
      async (commands, cuts, isWhole) => {
        const { stats, connect } = setup()
        const { stream, answered } = connect()
        const script = commands.join('')
        // Between commands, too: so most gets come in alone.
        let end = 0
        const ends = isWhole ? commands.map((one) => (end += one.length)) : []
        const all = [...ends.map((at) => ({ at, endsTurn: at % 2 === 0 })), ...cuts]
        let start = 0
        for (const { at, endsTurn } of all.sort((a, b) => a.at - b.at)) {
          if (at > start) stream.push(Buffer.from(script.slice(start, at)))
          start = Math.max(start, at)
          if (endsTurn) await nextTurn()
        }
        if (start < script.length) stream.push(Buffer.from(script.slice(start)))
        stream.push(null)
        await nextTurn()
        await nextTurn()
        const peer = new MemcachedPeer(createCacheFixture(), 'text')
        assert.equal(answered(), peer.send(Buffer.from(script)).toString('latin1'))
        assert.deepEqual([stats.gets, stats.getHits], [peer.stats.gets, peer.stats.getHits])
        assert.equal(stats.bytesRead, script.length)
        assert.equal(stats.bytesWritten, answered().length)
      },
    ),
  )
})

test('a get alone is progress, and half a command behind it is waited for as long as any', async () => {
  const { clock, connect } = setup()
  const { stream, connection, answered } = connect()
  stream.push(Buffer.from('get a\r\n'))
  await nextTurn()
  clock.advance(NEVER_MS - 1)
  stream.push(Buffer.from('get a\r\n'))
  await nextTurn()
  clock.advance(NEVER_MS - 1)
  assert.ok(!connection.isOverdue(clock.monotonicMs()))
  stream.push(Buffer.from('get a\r\n'))
  stream.push(Buffer.from('get '))
  await nextTurn()
  assert.equal(answered(), 'END\r\n'.repeat(3))
  clock.advance(999)
  assert.ok(!connection.isOverdue(clock.monotonicMs()))
  clock.advance(1)
  assert.ok(connection.isOverdue(clock.monotonicMs()))
})
