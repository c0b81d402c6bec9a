// Generated and mutated rpc, for both ends. Requests are told to two caches, to one whole, to the other cut at
// random places: both must answer the same, and hold no more than they may. Answers of a node that has lost
// its mind settle each call once, or end the connection.

import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import { zeros } from '../../src/base/counters.ts'
import { LogLimiter } from '../../src/base/world.ts'
import { Conversation } from '../../src/frontends/rpc/conversation.ts'
import { RPC_COUNTERS } from '../../src/frontends/rpc/stats.ts'
import { RemoteConnection } from '../../src/hooks/remote-link.ts'
import { FrameReader } from '../../src/wire/framing.ts'
import {
  decodeHooksResponse,
  encodeHooksRequest,
  encodeHooksResponse,
  HOOKS_ERRORS,
  type HooksCall,
  type HooksResult,
  MAX_HOOKS_FRAME_BYTES,
} from '../../src/wire/hooks-message.ts'
import { type CacheFixture, createCacheFixture } from '../support/cache-fixture.ts'
import { cuts, Dice, mutate } from '../support/dice.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { encodeSession } from '../support/session-encoder.ts'

const ROUNDS = 100_000
const SEED = 0x72_70_63_31
const ITEMS = 50
const BLOCKSIZE = 256
const LENGTH_BYTES = 4

/** One of them in an object, so that there may be none. */
const NAMES = [
  {},
  ...['', 'www.test', 'mail.test', 'n'.repeat(255), 'n'.repeat(256)].map((name) => ({ name })),
]
const CONTEXTS = ['shop', 'shop', 'bank', '', 'c'.repeat(32), 'c'.repeat(33)]
const LIFETIMES = [{}, ...[0, 1, 5000, 604_800_000, 604_800_001].map((ttlMs) => ({ ttlMs }))]
const CACHES = ['ssl', 'ssl', 'ssl', 'ssl', 'tls', '../ssl', '']

function requestCall(dice: Dice): HooksCall {
  if (dice.below(20) === 0) return { kind: 'watchTickets', group: dice.pick(['www', '']) }
  const cache = dice.pick(CACHES)
  const context = Buffer.from(dice.pick(CONTEXTS))
  const id = Buffer.alloc(dice.pick([32, 32, 32, 32, 0, 1, 255, 256]), 1 + dice.below(20))
  const { name: serverName } = dice.pick<{ readonly name?: string }>(NAMES)
  switch (dice.below(8)) {
    case 0:
      return { kind: 'ping' }
    case 1:
      return { kind: 'remove', cache, context, id }
    case 2:
    case 3:
    case 4:
      return { kind: 'get', cache, context, id, serverName }
    default: {
      const opaque = () => Buffer.alloc(dice.pick([0, 1, 256, 257]), 'x')
      const isOwn = dice.below(2) === 0 && context.length <= 32 && id.length === 32
      const session = isOwn ? encodeSession({ id, context }) : opaque()
      const { ttlMs } = dice.pick<{ readonly ttlMs?: number }>(LIFETIMES)
      return { kind: 'put', cache, context, id, session, ttlMs, serverName }
    }
  }
}

function conversationOf(cache: CacheFixture) {
  const caches = new Map([['ssl', cache.hooks]])
  const stats = zeros(RPC_COUNTERS)
  const failures = new LogLimiter(cache)
  return { stats, open: () => new Conversation({ caches, stats, failures }) }
}

/** Everything that is answered until the conversation is over. */
function tell(conversation: Conversation, pieces: readonly Buffer[]) {
  const answers: Buffer[] = []
  for (const piece of pieces) {
    conversation.append(Buffer.from(piece))
    for (let next = conversation.next(); next !== undefined; next = conversation.next()) {
      assert.ok(next === 'malformed' || Buffer.isBuffer(next))
      if (next === 'malformed') return { answers: Buffer.concat(answers), isOver: true }
      answers.push(next)
    }
    assert.ok(conversation.heldBytes <= MAX_HOOKS_FRAME_BYTES + LENGTH_BYTES)
  }
  return { answers: Buffer.concat(answers), isOver: false }
}

function inPieces(bytes: Buffer, dice: Dice): Buffer[] {
  const ends = [...cuts(bytes.length, dice), bytes.length]
  return ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end))
}

function assertWhole(answers: Buffer): void {
  const frames = new FrameReader(MAX_HOOKS_FRAME_BYTES)
  frames.append(answers)
  for (let frame = frames.next(); frame !== undefined; frame = frames.next()) {
    assert.ok(frame !== 'malformed')
    const response = decodeHooksResponse(frame)
    assert.ok(response !== undefined && response.result.kind !== 'unknown')
  }
  assert.equal(frames.heldBytes, 0)
}

test(`${ROUNDS} conversations`, () => {
  const dice = new Dice(SEED)
  const limits = { items: ITEMS, blocksize: BLOCKSIZE, keysize: 100 }
  const whole = createCacheFixture(limits)
  const cut = createCacheFixture(limits)
  const [tellWhole, tellCut] = [conversationOf(whole), conversationOf(cut)]
  for (let round = 0; round < ROUNDS; round += 1) {
    const frames = Array.from({ length: 1 + dice.below(3) }, () =>
      encodeHooksRequest(dice.pick([1, 2, 3, 0, 2 ** 32 - 1]), requestCall(dice)),
    )
    let bytes: Buffer = Buffer.concat(frames)
    for (let left = dice.below(3); left > 0; left -= 1) bytes = mutate(bytes, dice)
    const first = tell(tellWhole.open(), [bytes])
    const second = tell(tellCut.open(), inPieces(bytes, dice))
    if (!first.answers.equals(second.answers) || first.isOver !== second.isOver) {
      assert.deepEqual(second, first, bytes.toString('hex'))
    }
    assertWhole(first.answers)
    for (const { store } of [whole, cut]) {
      assert.ok(store.stats.items <= ITEMS && store.stats.storedBytes <= ITEMS * BLOCKSIZE)
    }
    if (round % 100 === 0) for (const { clock } of [whole, cut]) clock.advance(1000)
  }
  // Much of it meant something, and nothing made the hooks throw.
  const { stats } = tellWhole
  const { getHits, puts, refused, removeHits, pings, unknownCaches } = stats
  const { malformedLength, malformedRequest, failed } = stats
  const counts = [getHits, puts - refused, refused, removeHits, pings, unknownCaches]
  for (const count of [...counts, malformedLength, malformedRequest]) {
    assert.ok(count > ROUNDS / 500, JSON.stringify(stats))
  }
  assert.equal(failed, 0)
})

/** Takes whatever is written. */
class Sink extends Duplex {
  override _read(): void {}
  override _write(_bytes: Buffer, _encoding: string, done: () => void): void {
    done()
  }
}

function responseResult(dice: Dice): HooksResult {
  const session = Buffer.alloc(1 + dice.below(40), dice.below(256))
  return dice.pick<HooksResult>([
    { kind: 'found', session, ttlMs: 1 + dice.below(1000) },
    { kind: 'miss' },
    { kind: 'pong' },
    { kind: 'stored', result: dice.pick(['stored', 'full'] as const) },
    { kind: 'removed', wasThere: true },
    { kind: 'error', code: dice.pick(HOOKS_ERRORS) },
  ])
}

test(`${ROUNDS} answers`, () => {
  const dice = new Dice(SEED)
  const clock = new FakeClock()
  const ends = new Map<string, number>()
  let [asked, settled, answered, lateAnswers] = [0, 0, 0, 0]
  let last = 0
  const open = () => {
    // The ping that every connection begins with.
    last = 1
    const stream = new Sink()
    const connection = new RemoteConnection(stream, clock, {
      onReady: () => {},
      onLateAnswer: () => {
        lateAnswers += 1
      },
      onEnd: (reason) => {
        ends.set(reason, (ends.get(reason) ?? 0) + 1)
        current = undefined
      },
    })
    return { stream, connection }
  }
  let current: ReturnType<typeof open> | undefined
  for (let round = 0; round < ROUNDS; round += 1) {
    // What was cut off or inserted makes nonsense of all that follows: so not for long.
    if (dice.below(4) === 0) {
      current?.connection.close()
      current = undefined
    }
    current ??= open()
    const { stream, connection } = current
    asked += 1
    last += 1
    connection.send({ kind: 'ping' }, 50, (outcome) => {
      settled += 1
      if (typeof outcome !== 'string') answered += 1
    })
    if (dice.below(10) === 0) clock.advance(dice.pick([60, 2000]))
    const number = dice.below(20) === 0 ? dice.below(10) : last
    let bytes = encodeHooksResponse(number, responseResult(dice))
    if (dice.below(3) === 0) bytes = mutate(bytes, dice)
    for (const piece of inPieces(bytes, dice)) {
      if (current !== undefined) stream.emit('data', Buffer.from(piece))
    }
  }
  current?.connection.close()
  assert.equal(settled, asked)
  assert.equal(clock.pendingCount, 0)
  assert.ok(answered > ROUNDS / 4, `${answered} were answered`)
  assert.ok(lateAnswers > ROUNDS / 100, `${lateAnswers} came late`)
  assert.deepEqual([...ends.keys()].sort(), ['the node is silent', 'what came is no answer'])
})
