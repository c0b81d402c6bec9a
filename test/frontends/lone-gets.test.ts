// Gets that came in alone: they are answered as the text protocol answers them, byte for byte, and counted as there.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { zeros } from '../../src/base/counters.ts'
import { Entries } from '../../src/frontends/memcached/entries.ts'
import { Turn } from '../../src/frontends/memcached/fast/turn.ts'
import { MAX_KEY_BYTES, MIN_SPELLED_BYTES } from '../../src/frontends/memcached/keys.ts'
import { MEMCACHED_COUNTERS } from '../../src/frontends/memcached/stats.ts'
import { TLS_1_3 } from '../../src/session/encoded-session.ts'
import { createCacheFixture } from '../support/cache-fixture.ts'
import { MemcachedPeer } from '../support/memcached-peer.ts'
import { encodeSession } from '../support/session-encoder.ts'

/** Creates two equal caches: one is asked with lone gets, the other by the text protocol. */
function setup(singleUse = false) {
  const lone = createCacheFixture({}, singleUse)
  const plain = createCacheFixture({}, singleUse)
  const stats = zeros(MEMCACHED_COUNTERS)
  const turn = new Turn(lone.hooks, new Entries(lone.hooks, lone.clock, stats))
  const writer = new MemcachedPeer(lone, 'text')
  const peer = new MemcachedPeer(plain, 'text')
  const write = (command: string) => {
    assert.deepEqual(writer.send(Buffer.from(command)), peer.send(Buffer.from(command)))
  }
  /** What each of these lines, all of one turn, is answered with; undefined: it was no lone get. */
  const ask = (lines: readonly (string | Buffer)[]) => {
    const answers: (string | undefined)[] = []
    for (const [at, line] of lines.entries()) {
      let isTaken = true
      const member = {
        takeOver(start: number, length: number) {
          isTaken = false
          const bytes = Buffer.from(line)
          assert.deepEqual(turn.input.bytes.subarray(start, start + length), bytes)
        },
        carryOut: () => assert.ok(!isTaken),
        sendAnswers(start: number, length: number) {
          const bytes = turn.output.memory.subarray(start, start + length)
          answers[at] = isTaken ? bytes.toString('latin1') : undefined
        },
      }
      // A socket also reads into this buffer.
      const { readBuffer } = turn.input
      turn.addInput(member, readBuffer, Buffer.from(line).copy(readBuffer))
    }
    turn.end()
    return answers
  }
  const say = (line: string) => peer.send(Buffer.from(line)).toString('latin1')
  return { lone, plain, stats, peer, write, ask, say }
}

const ID = Buffer.from(Array.from({ length: 32 }, (_value, index) => index * 8 + 3))
const KEYS = [
  'a',
  'four',
  'twelve_bytes',
  'k'.repeat(MIN_SPELLED_BYTES - 1),
  `mod_ssl-sess:${ID.toString('hex')}`,
  `nghttpx:tls-session-cache:${ID.toString('hex')}`,
  `h2o:ssl-session-cache:${ID.toString('base64url')}`,
  'mod_ssl-sess:',
]

test('each answer is that of the text protocol, and so is what is counted', () => {
  const key = fc.constantFrom(...KEYS)
  const value = fc.string({ unit: fc.constantFrom('x', '\r', '\n', ' ', '\0'), maxLength: 700 })
  const set = fc.record({ key, value, flags: fc.constantFrom(0, 0, 7, 2 ** 32 - 1) })
  const step = fc.oneof(
    set.map((one) => ({ kind: 'set' as const, ...one })),
    fc.array(key, { maxLength: 20 }).map((keys) => ({ kind: 'get' as const, keys })),
    fc.constant({ kind: 'wait' as const }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      const { lone, plain, stats, peer, write, ask, say } = setup()
      for (const one of steps) {
        if (one.kind === 'set') {
          write(`set ${one.key} ${one.flags} 2 ${one.value.length}\r\n${one.value}\r\n`)
        } else if (one.kind === 'wait') {
          for (const { clock } of [lone, plain]) clock.advance(1000)
        } else {
          const lines = one.keys.map((name) => `get ${name}\r\n`)
          assert.deepEqual(ask(lines), lines.map(say))
        }
      }
      assert.deepEqual(lone.store.stats, plain.store.stats)
      assert.deepEqual([stats.gets, stats.getHits], [peer.stats.gets, peer.stats.getHits])
      assert.equal(lone.hooks.stats.getDurations.count, plain.hooks.stats.getDurations.count)
    }),
  )
})

test('a key that may contain an ID in a way of its own is no lone get', () => {
  const { ask } = setup()
  const keys = [
    `mod_ssl-sess:${ID.toString('hex').toUpperCase()}`,
    'k'.repeat(MIN_SPELLED_BYTES),
    'k'.repeat(MAX_KEY_BYTES),
  ]
  const answers = ask(keys.map((key) => `get ${key}\r\n`))
  assert.deepEqual(answers, [undefined, undefined, undefined])
})

test('a session is found by the writing of every terminator', () => {
  const { lone, ask } = setup()
  const timeSec = lone.clock.wallMs() / 1000
  const session = encodeSession({ id: ID, context: Buffer.from('shop'), timeSec, timeoutSec: 300 })
  lone.hooks.putOwn(ID, session)
  const [, , , , apache = '', nghttpx = '', h2o = ''] = KEYS
  const der = session.toString('latin1')
  const text = session.toString('base64url')
  const lines = [apache, nghttpx, h2o].map((key) => `get ${key}\r\n`)
  assert.deepEqual(ask(lines), [
    `VALUE ${apache} 0 ${der.length}\r\n${der}\r\nEND\r\n`,
    `VALUE ${nghttpx} 0 ${der.length}\r\n${der}\r\nEND\r\n`,
    `VALUE ${h2o} 0 ${text.length}\r\n${text}\r\nEND\r\n`,
  ])
})

test('of two clients that ask in one turn for a session of single use, one gets it', () => {
  const { lone, ask } = setup(true)
  const timeSec = lone.clock.wallMs() / 1000
  const context = Buffer.from('shop')
  const fields = { id: ID, context, timeSec, timeoutSec: 300, protocolVersion: TLS_1_3 }
  lone.hooks.putOwn(ID, encodeSession(fields))
  const [, , , , apache = ''] = KEYS
  const [first, second] = ask([`get ${apache}\r\n`, `get ${apache}\r\n`])
  assert.match(first ?? '', /^VALUE /)
  assert.equal(second, 'END\r\n')
})

test('input that is not a single get is left to its connection', () => {
  const { ask } = setup()
  const lines = [
    'get a b\r\n',
    'get a\r\nget b\r\n',
    'get a',
    'get a\n',
    'get \r\n',
    'get  a\r\n',
    'get a \r\n',
    'get a\tb\r\n',
    'get abc\0\r\n',
    'gets a\r\n',
    'GET a\r\n',
    'delete a\r\n',
    '\r\n',
    'g',
    `get ${'k'.repeat(MAX_KEY_BYTES + 1)}\r\n`,
    'set a 0 0 1\r\nx\r\n',
  ]
  assert.deepEqual(
    ask(lines),
    lines.map(() => undefined),
  )
  // Bytes above 0x7f are a key's like others.
  assert.deepEqual(ask([Buffer.from('get \xff\x80\xfe\xa0\xff\r\n', 'latin1')]), ['END\r\n'])
})

test('more gets than are looked up together', () => {
  const { ask } = setup()
  const answers = ask(Array.from({ length: 300 }, (_value, at) => `get ${at}\r\n`))
  assert.equal(answers.filter((answer) => answer === 'END\r\n').length, 256)
  assert.deepEqual(ask(['get a\r\n']), ['END\r\n'])
})
