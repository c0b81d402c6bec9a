// Generated and mutated memcached conversations, each told to two caches: to one whole, to the other cut
// at random places. Both must answer the same, and hold no more than they may.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BINARY_COMMANDS } from '../../src/frontends/memcached/binary-protocol.ts'
import { MAX_GET_LINE_BYTES } from '../../src/frontends/memcached/text-parser.ts'
import { type CacheFixture, createCacheFixture } from '../support/cache-fixture.ts'
import { cuts, Dice, mutate } from '../support/dice.ts'
import { binaryAnswers, binaryRequest } from '../support/memcached-frames.ts'
import { MemcachedPeer, PeerMemory } from '../support/memcached-peer.ts'
import { encodeSession } from '../support/session-encoder.ts'

const ROUNDS = 100_000
const SEED = 0x6d_63_64_31
const ITEMS = 50
const BLOCKSIZE = 256

const session = encodeSession({ id: Buffer.alloc(32, 1), context: Buffer.from('shop') })
const VALUES = [
  Buffer.alloc(0),
  Buffer.from('1'),
  Buffer.from('18446744073709551615'),
  Buffer.from('get a\r\n'),
  Buffer.from('006d63660000', 'hex'),
  Buffer.alloc(400, 'x'),
  session,
  Buffer.from(session.toString('base64url')),
]
const KEYS = [
  'a',
  'b',
  'n',
  'k'.repeat(250),
  'k'.repeat(251),
  `mod_ssl-sess:${'01'.repeat(32)}`,
  `nghttpx:tls-session-cache:${'01'.repeat(32)}`,
  `h2o:ssl-session-cache:${Buffer.alloc(32, 1).toString('base64url')}`,
  `sess:${'01'.repeat(32)}`,
  `sess|${Buffer.alloc(32, 1).toString('base64')}`,
]
const NUMBERS = ['0', '1', '-1', '7', '60', '2592001', '4294967295', '4294967296', 'x', '']
const TAILS = ['', '', '', ' noreply', ' ', ' extra']
const META_FLAGS = [
  'v',
  'k',
  't',
  'c',
  'q',
  's',
  'f',
  'b',
  'h',
  'T9',
  'T-1',
  'F3',
  'D2',
  'N9',
  'J5',
]
const META_TOKENS = ['O1', 'C1', 'MS', 'ME', 'MA', 'MI', 'MD', 'Tx', '']

function textCommand(dice: Dice): Buffer {
  const key = dice.pick(KEYS)
  const number = () => dice.pick(NUMBERS)
  const data = dice.pick(VALUES)
  const length = dice.below(10) === 0 ? number() : String(data.length)
  const tail = dice.pick(TAILS)
  const withData = (line: string) =>
    Buffer.concat([Buffer.from(`${line}\r\n`), data, Buffer.from('\r\n')])
  const flags = () =>
    Array.from(
      { length: dice.below(4) },
      () => ` ${dice.pick(dice.below(2) === 0 ? META_FLAGS : META_TOKENS)}`,
    ).join('')
  switch (dice.below(10)) {
    case 0:
    case 1: {
      const verb = dice.pick(['set', 'add', 'replace', 'append', 'prepend'])
      return withData(`${verb} ${key} ${number()} ${number()} ${length}${tail}`)
    }
    case 2:
      return withData(`cas ${key} 0 0 ${length} ${number()}${tail}`)
    case 3:
      return withData(`ms ${key} ${length}${flags()}`)
    case 4:
      return Buffer.from(`${dice.pick(['mg', 'md', 'ma'])} ${key}${flags()}\r\n`)
    case 5:
      return Buffer.from(`${dice.pick(['incr', 'decr', 'touch'])} ${key} ${number()}${tail}\r\n`)
    case 6:
      return Buffer.from(`${dice.pick(['get', 'gets'])} ${key} ${dice.pick(KEYS)}\r\n`)
    case 7:
      return Buffer.from(`${dice.pick(['gat', 'gats'])} ${number()} ${key}\r\n`)
    case 8:
      return Buffer.from(`delete ${key}${dice.pick([' 0', '', ' noreply', ' 9'])}\r\n`)
    default:
      return Buffer.from(
        `${dice.pick(['mn', 'version', 'stats settings', 'flush_all', 'quit', 'verbosity 1'])}${tail}\r\n`,
      )
  }
}

function binaryCommand(dice: Dice): Buffer {
  const opcode = dice.below(0x26)
  const command = BINARY_COMMANDS.get(opcode)
  const isRight = command !== undefined && dice.below(8) > 0
  const extras = dice.bytes(dice.pick(isRight ? command.extrasBytes : [0, 4, 8, 20]))
  // Most with a lifetime that is not over at once.
  if (dice.below(2) === 0) extras.fill(0)
  return binaryRequest(opcode, {
    key: isRight && command.key === 'none' ? '' : dice.pick(KEYS),
    extras,
    value: !isRight || command.hasValue ? dice.pick(VALUES) : '',
    opaque: dice.below(1000),
    cas: BigInt(dice.below(4) === 0 ? 1 : 0),
  })
}

function conversation(dice: Dice, command: (dice: Dice) => Buffer): Buffer {
  let bytes: Buffer = Buffer.concat(Array.from({ length: 1 + dice.below(4) }, () => command(dice)))
  for (let left = dice.below(3); left > 0; left -= 1) bytes = mutate(bytes, dice)
  return bytes
}

function assertBounded({ store }: CacheFixture, peer: MemcachedPeer): void {
  assert.ok(store.stats.items <= ITEMS)
  assert.ok(store.stats.storedBytes <= ITEMS * BLOCKSIZE)
  // A get's line, or a value and its line, and the piece that came last.
  assert.ok(peer.input.length <= MAX_GET_LINE_BYTES + 4096)
}

function fuzz(protocol: 'text' | 'binary', command: (dice: Dice) => Buffer) {
  const dice = new Dice(SEED)
  const limits = { items: ITEMS, blocksize: BLOCKSIZE, keysize: 100 }
  const whole = createCacheFixture(limits)
  const cut = createCacheFixture(limits)
  const memory = new PeerMemory()
  for (let round = 0; round < ROUNDS; round += 1) {
    const bytes = conversation(dice, command)
    const wholePeer = new MemcachedPeer(whole, protocol, memory)
    const cutPeer = new MemcachedPeer(cut, protocol, memory)
    const answered = wholePeer.send(bytes)
    const again = cutPeer.sendInPieces(bytes, cuts(bytes.length, dice))
    if (!answered.equals(again)) {
      assert.equal(
        again.toString('latin1'),
        answered.toString('latin1'),
        JSON.stringify(bytes.toString('latin1')),
      )
    }
    assert.equal(cutPeer.isClosed, wholePeer.isClosed)
    if (protocol === 'binary') binaryAnswers(answered)
    else if (answered.length > 0)
      assert.equal(answered.toString('latin1', answered.length - 2), '\r\n')
    assertBounded(whole, wholePeer)
    assertBounded(cut, cutPeer)
    if (round % 100 === 0) for (const { clock } of [whole, cut]) clock.advance(1000)
  }
  return whole.store.stats
}

for (const [form, command] of [
  ['text', textCommand],
  ['binary', binaryCommand],
] as const) {
  test(`${ROUNDS} conversations, ${form}`, () => {
    const { puts, gets, removes } = fuzz(form, command)
    const { stored, replaced, context, blocksize, key_mismatch: otherId } = puts
    // Much of it meant something.
    for (const count of [stored, replaced, context + otherId, blocksize, gets.hit, removes]) {
      assert.ok(count > ROUNDS / 500, `${JSON.stringify({ puts, gets, removes })}`)
    }
  })
}
