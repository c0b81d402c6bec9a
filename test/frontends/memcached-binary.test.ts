// memcached's binary protocol: each conversation once in a table, run whole and byte by byte.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createCacheFixture } from '../support/cache-fixture.ts'
import { type BinaryAnswer, binaryAnswers, binaryRequest } from '../support/memcached-frames.ts'
import { everyByte, MemcachedPeer } from '../support/memcached-peer.ts'

const GET = 0x00
const SET = 0x01
const ADD = 0x02
const REPLACE = 0x03
const DELETE = 0x04
const INCREMENT = 0x05
const DECREMENT = 0x06
const QUIT = 0x07
const FLUSH = 0x08
const GETQ = 0x09
const NOOP = 0x0a
const VERSION = 0x0b
const GETK = 0x0c
const GETKQ = 0x0d
const APPEND = 0x0e
const PREPEND = 0x0f
const STAT = 0x10
const SETQ = 0x11
const ADDQ = 0x12
const REPLACEQ = 0x13
const DELETEQ = 0x14
const INCREMENTQ = 0x15
const DECREMENTQ = 0x16
const QUITQ = 0x17
const FLUSHQ = 0x18
const APPENDQ = 0x19
const PREPENDQ = 0x1a
const VERBOSITY = 0x1b
const TOUCH = 0x1c
const GAT = 0x1d
const GATQ = 0x1e
const SASL_LIST = 0x20
const GATK = 0x23
const GATKQ = 0x24

const BLOCKSIZE = 64
const LARGE = 'x'.repeat(100)

/** Extras of set, add and replace. */
function stored(flags: number, expirySec = 0): Buffer {
  return words(flags, expirySec)
}

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length)
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, 4 * index)
  return bytes
}

function counted(delta: number, initial: number, expirySec: number): Buffer {
  return words(0, delta, 0, initial, expirySec)
}

/** `opcode status extras key value`, as it is short to write down. */
function show({ opcode, status, extras, key, value }: BinaryAnswer): string {
  const shown = opcode === INCREMENT || opcode === DECREMENT ? value.toString('hex') : value
  return [opcode.toString(16), status.toString(16), extras.toString('hex'), key, shown].join('|')
}

interface Conversation {
  readonly name: string
  readonly says: readonly Buffer[]
  readonly answers: readonly string[]
  readonly closes?: boolean
}

const CONVERSATIONS: readonly Conversation[] = [
  {
    name: 'set and get',
    says: [
      binaryRequest(SET, { key: 'a', extras: stored(7), value: 'hi' }),
      binaryRequest(GET, { key: 'a' }),
      binaryRequest(GETK, { key: 'a' }),
      binaryRequest(SETQ, { key: 'a', extras: stored(0), value: '' }),
      binaryRequest(GETQ, { key: 'a' }),
      binaryRequest(GETKQ, { key: 'a' }),
    ],
    answers: [
      '1|0|||',
      '0|0|00000007||hi',
      'c|0|00000007|a|hi',
      '9|0|00000000||',
      'd|0|00000000|a|',
    ],
  },
  {
    name: 'misses',
    says: [
      binaryRequest(GET, { key: 'a' }),
      binaryRequest(GETK, { key: 'a' }),
      binaryRequest(GETQ, { key: 'a' }),
      binaryRequest(GETKQ, { key: 'a' }),
      binaryRequest(NOOP),
    ],
    answers: ['0|1|||Not found', 'c|1||a|', 'a|0|||'],
  },
  {
    name: 'add and replace',
    says: [
      binaryRequest(REPLACE, { key: 'a', extras: stored(0), value: '0' }),
      binaryRequest(ADD, { key: 'a', extras: stored(0), value: '1' }),
      binaryRequest(ADD, { key: 'a', extras: stored(0), value: '2' }),
      binaryRequest(ADDQ, { key: 'a', extras: stored(0), value: '2' }),
      binaryRequest(ADDQ, { key: 'b', extras: stored(0), value: '2' }),
      binaryRequest(REPLACEQ, { key: 'a', extras: stored(0), value: '3' }),
      binaryRequest(REPLACEQ, { key: 'x', extras: stored(0), value: '3' }),
      binaryRequest(GET, { key: 'a' }),
    ],
    answers: [
      '3|1|||Not found',
      '2|0|||',
      '2|2|||Data exists for key.',
      '12|2|||Data exists for key.',
      '13|1|||Not found',
      '0|0|00000000||3',
    ],
  },
  {
    name: 'a token that is not the right one',
    says: [
      binaryRequest(SET, { key: 'a', extras: stored(0), value: '1', cas: 1n }),
      binaryRequest(SETQ, { key: 'a', extras: stored(0), value: '1' }),
      binaryRequest(SET, { key: 'a', extras: stored(0), value: '2', cas: 1n }),
      binaryRequest(DELETE, { key: 'a', cas: 1n }),
      binaryRequest(GET, { key: 'a' }),
    ],
    answers: [
      '1|1|||Not found',
      '1|2|||Data exists for key.',
      '4|2|||Data exists for key.',
      '0|0|00000000||1',
    ],
  },
  {
    name: 'delete',
    says: [
      binaryRequest(DELETE, { key: 'a' }),
      binaryRequest(DELETEQ, { key: 'a' }),
      binaryRequest(SETQ, { key: 'a', extras: stored(0), value: '1' }),
      binaryRequest(DELETEQ, { key: 'a' }),
      binaryRequest(SETQ, { key: 'a', extras: stored(0), value: '1' }),
      binaryRequest(DELETE, { key: 'a' }),
      binaryRequest(GETQ, { key: 'a' }),
    ],
    answers: ['4|1|||Not found', '14|1|||Not found', '4|0|||'],
  },
  {
    name: 'counters',
    says: [
      binaryRequest(INCREMENT, { key: 'n', extras: counted(1, 5, 0xffff_ffff) }),
      binaryRequest(INCREMENT, { key: 'n', extras: counted(1, 5, 0) }),
      binaryRequest(INCREMENT, { key: 'n', extras: counted(3, 0, 0) }),
      binaryRequest(INCREMENTQ, { key: 'n', extras: counted(1, 0, 0) }),
      binaryRequest(DECREMENTQ, { key: 'n', extras: counted(2, 0, 0) }),
      binaryRequest(GET, { key: 'n' }),
      binaryRequest(DECREMENT, { key: 'n', extras: counted(20, 0, 0) }),
      binaryRequest(SETQ, { key: 'n', extras: stored(0), value: 'x' }),
      binaryRequest(DECREMENTQ, { key: 'n', extras: counted(1, 0, 0) }),
    ],
    answers: [
      `5|1|||${Buffer.from('Not found').toString('hex')}`,
      '5|0|||0000000000000005',
      '5|0|||0000000000000008',
      '0|0|00000000||7',
      '6|0|||0000000000000000',
      '16|6|||Non-numeric server-side value for incr or decr',
    ],
  },
  {
    name: 'append and prepend',
    says: [
      binaryRequest(APPEND, { key: 'a', value: '1' }),
      binaryRequest(SETQ, { key: 'a', extras: stored(9), value: '1' }),
      binaryRequest(APPEND, { key: 'a', value: '2' }),
      binaryRequest(APPENDQ, { key: 'a', value: '3' }),
      binaryRequest(PREPEND, { key: 'a', value: '0' }),
      binaryRequest(PREPENDQ, { key: 'x', value: '0' }),
      binaryRequest(GET, { key: 'a' }),
    ],
    answers: ['e|5|||Not stored.', 'e|0|||', 'f|0|||', '1a|5|||Not stored.', '0|0|00000009||0123'],
  },
  {
    name: 'touch and gat',
    says: [
      binaryRequest(TOUCH, { key: 'a', extras: words(10) }),
      binaryRequest(SETQ, { key: 'a', extras: stored(1), value: '1' }),
      binaryRequest(TOUCH, { key: 'a', extras: words(10) }),
      binaryRequest(GAT, { key: 'a', extras: words(10) }),
      binaryRequest(GATK, { key: 'a', extras: words(10) }),
      binaryRequest(GATQ, { key: 'x', extras: words(10) }),
      binaryRequest(GATKQ, { key: 'x', extras: words(10) }),
    ],
    answers: ['1c|1|||Not found', '1c|0|00000001||', '1d|0|00000001||1', '23|0|00000001|a|1'],
  },
  {
    name: 'flush',
    says: [
      binaryRequest(SETQ, { key: 'a', extras: stored(0), value: '1' }),
      binaryRequest(FLUSH),
      binaryRequest(GET, { key: 'a' }),
      binaryRequest(FLUSHQ, { extras: words(0) }),
    ],
    answers: ['8|0|||', '0|1|||Not found'],
  },
  {
    name: 'what every client asks',
    says: [
      binaryRequest(VERSION),
      binaryRequest(NOOP),
      binaryRequest(VERBOSITY, { extras: words(1) }),
    ],
    answers: ['b|0|||1.6.0', 'a|0|||', '1b|0|||'],
  },
  {
    name: 'unknown and malformed',
    says: [
      binaryRequest(SASL_LIST),
      binaryRequest(SET, { key: 'a', value: '1' }),
      binaryRequest(GET),
      binaryRequest(GET, { key: 'a', value: '1' }),
      binaryRequest(NOOP, { key: 'a' }),
      binaryRequest(GET, { key: 'k'.repeat(251) }),
      binaryRequest(GET, { key: 'a', keyBytes: 9 }),
      binaryRequest(STAT, { key: 'bogus' }),
      binaryRequest(NOOP),
    ],
    answers: [
      '20|81|||Unknown command',
      '1|4|||Invalid arguments',
      '0|4|||Invalid arguments',
      '0|4|||Invalid arguments',
      'a|4|||Invalid arguments',
      '0|4|||Invalid arguments',
      '0|4|||Invalid arguments',
      '10|1|||Not found',
      'a|0|||',
    ],
  },
  {
    name: 'too large a value is skipped, and what was there stays',
    says: [
      binaryRequest(SETQ, { key: 'a', extras: stored(0), value: '1' }),
      binaryRequest(SETQ, { key: 'a', extras: stored(0), value: LARGE }),
      binaryRequest(SETQ, { key: 'a', extras: stored(0), value: 'y'.repeat(65) }),
      binaryRequest(GET, { key: 'a' }),
    ],
    answers: ['11|3|||Too large.', '11|3|||Too large.', '0|0|00000000||1'],
  },
  {
    name: 'quit',
    says: [binaryRequest(QUIT), binaryRequest(NOOP)],
    answers: ['7|0|||'],
    closes: true,
  },
  { name: 'quit without an answer', says: [binaryRequest(QUITQ)], answers: [], closes: true },
  {
    name: 'a frame that is none',
    says: [binaryRequest(NOOP), Buffer.alloc(24, 'x')],
    answers: ['a|0|||', '78|81|||Unknown command'],
    closes: true,
  },
]

function check(conversation: Conversation, isBytewise: boolean): void {
  const peer = new MemcachedPeer(createCacheFixture({ blocksize: BLOCKSIZE }), 'binary')
  const bytes = Buffer.concat(conversation.says)
  const answers = binaryAnswers(peer.sendInPieces(bytes, isBytewise ? everyByte(bytes) : []))
  assert.deepEqual(answers.map(show), conversation.answers)
  assert.equal(peer.isClosed, conversation.closes ?? false)
  if (!peer.isClosed) assert.equal(peer.isMidway, false)
}

for (const conversation of CONVERSATIONS) {
  test(`${conversation.name}, whole`, () => check(conversation, false))
  test(`${conversation.name}, byte by byte`, () => check(conversation, true))
}

function setup() {
  const cache = createCacheFixture()
  const peer = new MemcachedPeer(cache, 'binary')
  const ask = (request: Buffer) => binaryAnswers(peer.send(request))
  return { cache, ask }
}

test('the opaque comes back, and the token is that of the entry', () => {
  const { ask } = setup()
  const [set] = ask(binaryRequest(SET, { key: 'a', extras: stored(0), value: '1', opaque: 77 }))
  const [get] = ask(binaryRequest(GET, { key: 'a', opaque: 0xffff_fffe }))
  assert.deepEqual([set?.opaque, get?.opaque], [77, 0xffff_fffe])
  assert.ok(set !== undefined && set.cas > 0n)
  assert.equal(get?.cas, set.cas)
  const again = { key: 'a', extras: stored(0), value: '2', cas: set.cas }
  assert.equal(ask(binaryRequest(SET, again))[0]?.status, 0)
  assert.equal(ask(binaryRequest(SET, again))[0]?.status, 2)
})

test('expiry above 30 days is an absolute time', () => {
  const { cache, ask } = setup()
  const nowSec = cache.clock.wallMs() / 1000
  ask(binaryRequest(SETQ, { key: 'a', extras: stored(0, nowSec + 60), value: '1' }))
  cache.clock.advance(59_999)
  assert.equal(ask(binaryRequest(GET, { key: 'a' }))[0]?.status, 0)
  cache.clock.advance(1)
  assert.equal(ask(binaryRequest(GET, { key: 'a' }))[0]?.status, 1)
})

test('stats end with an empty frame', () => {
  const { ask } = setup()
  const answers = ask(binaryRequest(STAT))
  assert.ok(answers.some(({ key, value }) => key === 'curr_items' && value.toString() === '0'))
  assert.equal(show(answers.at(-1) as BinaryAnswer), '10|0|||')
  assert.equal(ask(binaryRequest(STAT, { key: 'settings' })).at(-1)?.key, '')
})
