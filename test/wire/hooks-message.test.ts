// Requests and responses of the hooks: what is encoded is decoded, and what is beyond a limit is malformed.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import protobuf from 'protobufjs'
import { PUT_RESULTS } from '../../src/store/stats.ts'
import {
  decodeHooksRequest,
  decodeHooksResponse,
  encodeHooksRequest,
  encodeHooksResponse,
  HOOKS_ERRORS,
  type HooksCall,
  type HooksResult,
  MAX_HOOKS_FRAME_BYTES,
} from '../../src/wire/hooks-message.ts'

const LENGTH_BYTES = 4
const LONGEST_MS = 604_800_000
/** Objects as literals make them. */
const PLAIN = { noNullPrototype: true }

const bytes = (minLength: number, maxLength: number) =>
  fc.uint8Array({ minLength, maxLength }).map((array) => Buffer.from(array))
const cache = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/)
const session = { cache, context: bytes(0, 32), id: bytes(1, 255) }
const serverName = fc.option(fc.string({ unit: 'grapheme', maxLength: 20 }), { nil: undefined })
const number = fc.integer({ min: 1, max: 2 ** 32 - 1 })

const calls: fc.Arbitrary<HooksCall> = fc.oneof(
  fc.record({ kind: fc.constant('get' as const), ...session, serverName }, PLAIN),
  fc.record(
    {
      kind: fc.constant('put' as const),
      ...session,
      session: bytes(1, 300),
      ttlMs: fc.option(fc.integer({ min: 0, max: LONGEST_MS }), { nil: undefined }),
      serverName,
    },
    PLAIN,
  ),
  fc.record({ kind: fc.constant('remove' as const), ...session }, PLAIN),
  fc.constant({ kind: 'ping' as const }),
  fc.record({ kind: fc.constant('watchTickets' as const), group: cache }, PLAIN),
)

const ticketKey = fc.record(
  { name: bytes(16, 16), secret: bytes(96, 96), ageMs: fc.integer({ min: 0, max: 2 ** 32 - 1 }) },
  PLAIN,
)
const ticketKeys = fc.array(ticketKey, { maxLength: 15 })

const results: fc.Arbitrary<HooksResult> = fc.oneof(
  fc.record(
    {
      kind: fc.constant('found' as const),
      session: bytes(1, 300),
      ttlMs: fc.integer({ min: 1, max: LONGEST_MS }),
    },
    PLAIN,
  ),
  fc.constantFrom({ kind: 'miss' as const }, { kind: 'pong' as const }),
  fc.record(
    { kind: fc.constant('stored' as const), result: fc.constantFrom(...PUT_RESULTS) },
    PLAIN,
  ),
  fc.record({ kind: fc.constant('removed' as const), wasThere: fc.boolean() }, PLAIN),
  fc.record({ kind: fc.constant('error' as const), code: fc.constantFrom(...HOOKS_ERRORS) }, PLAIN),
  fc.record(
    {
      kind: fc.constant('ticketKeys' as const),
      current: ticketKey,
      next: ticketKeys,
      previous: ticketKeys,
    },
    PLAIN,
  ),
)

test('every request is decoded as it was encoded', () => {
  fc.assert(
    fc.property(number, calls, (sent, call) => {
      const frame = encodeHooksRequest(sent, call)
      assert.equal(frame.readUInt32BE(), frame.length - LENGTH_BYTES)
      assert.deepEqual(decodeHooksRequest(frame.subarray(LENGTH_BYTES)), { number: sent, call })
    }),
  )
})

test('every response is decoded as it was encoded', () => {
  fc.assert(
    fc.property(number, results, (sent, result) => {
      const frame = encodeHooksResponse(sent, result)
      assert.equal(frame.readUInt32BE(), frame.length - LENGTH_BYTES)
      assert.deepEqual(decodeHooksResponse(frame.subarray(LENGTH_BYTES)), { number: sent, result })
    }),
  )
})

test('a lifetime below a millisecond is still one', () => {
  const result = { kind: 'found', session: Buffer.from('x'), ttlMs: 0.25 } as const
  const frame = encodeHooksResponse(1, result).subarray(LENGTH_BYTES)
  assert.deepEqual(decodeHooksResponse(frame)?.result, { ...result, ttlMs: 1 })
})

test('the largest request and response fit into a frame', () => {
  const largest = Buffer.alloc(65_536, 1)
  const put = encodeHooksRequest(2 ** 32 - 1, {
    kind: 'put',
    cache: 'c'.repeat(63),
    context: Buffer.alloc(32),
    id: Buffer.alloc(255),
    session: largest,
    ttlMs: LONGEST_MS,
    serverName: 's'.repeat(255),
  })
  assert.ok(put.length - LENGTH_BYTES <= MAX_HOOKS_FRAME_BYTES)
  assert.ok(decodeHooksRequest(put.subarray(LENGTH_BYTES)) !== undefined)
  const found = encodeHooksResponse(2 ** 32 - 1, {
    kind: 'found',
    session: largest,
    ttlMs: LONGEST_MS,
  })
  assert.ok(found.length - LENGTH_BYTES <= MAX_HOOKS_FRAME_BYTES)
})

const schema = protobuf.loadSync(new URL('../../proto/hooks.proto', import.meta.url).pathname)

/** Encodes without the checks of this project. */
function encode(type: 'Request' | 'Response', fields: Record<string, unknown>): Buffer {
  const message = schema.lookupType(`tlscached.hooks.${type}`)
  return Buffer.from(message.encode(fields).finish())
}

const id = Buffer.from('id')
const get = { cache: 'ssl', id }
const put = { ...get, session: id }
const malformedRequests: readonly (readonly [string, Buffer])[] = [
  ['nothing', Buffer.alloc(0)],
  ['no protobuf', Buffer.from([0xff, 0xff])],
  ['no number', encode('Request', { ping: {} })],
  ['no cache', encode('Request', { number: 1, get: { id } })],
  ['a cache that cannot be', encode('Request', { number: 1, get: { ...get, cache: '../x' } })],
  ['no ID', encode('Request', { number: 1, get: { cache: 'ssl' } })],
  ['a long ID', encode('Request', { number: 1, remove: { ...get, id: Buffer.alloc(256) } })],
  ['a long context', encode('Request', { number: 1, get: { ...get, context: Buffer.alloc(33) } })],
  ['a long name', encode('Request', { number: 1, get: { ...get, serverName: 'n'.repeat(256) } })],
  ['no session', encode('Request', { number: 1, put: get })],
  ['a large one', encode('Request', { number: 1, put: { ...put, session: Buffer.alloc(65_537) } })],
  [
    'a lifetime above 7 days',
    encode('Request', { number: 1, put: { ...put, ttlMs: LONGEST_MS + 1 } }),
  ],
  // Field 1 as bytes, field 2 as a number, and field 1 of Get as a number.
  ['a number of another type', Buffer.from('0a0101', 'hex')],
  ['a call of another type', Buffer.from('08011001', 'hex')],
  ['a cache of another type', Buffer.from('080112020801', 'hex')],
  ['a watch of no group', encode('Request', { number: 1, watchTickets: {} })],
  ['a group that cannot be', encode('Request', { number: 1, watchTickets: { group: '../x' } })],
]
for (const [name, frame] of malformedRequests) {
  test(`malformed request: ${name}`, () => assert.equal(decodeHooksRequest(frame), undefined))
}

const key = { name: Buffer.alloc(16, 1), secret: Buffer.alloc(96, 2), ageMs: 3 }
const tickets = (fields: Record<string, unknown>) =>
  encode('Response', { number: 1, ticketKeys: fields })
const malformedResponses: readonly (readonly [string, Buffer])[] = [
  ['nothing', Buffer.alloc(0)],
  ['no number', encode('Response', { miss: {} })],
  ['found without a session', encode('Response', { number: 1, found: { ttlMs: 1 } })],
  ['found without lifetime', encode('Response', { number: 1, found: { session: id } })],
  ['a short name of a key', tickets({ current: { ...key, name: Buffer.alloc(15) } })],
  ['a short secret', tickets({ current: key, next: [{ ...key, secret: Buffer.alloc(95) }] })],
  ['no secret', tickets({ current: key, previous: [{ name: key.name }] })],
  ['past keys without a current one', tickets({ previous: [key] })],
  ['more keys than a ring has', tickets({ current: key, next: Array(32).fill(key) })],
]
for (const [name, frame] of malformedResponses) {
  test(`malformed response: ${name}`, () => assert.equal(decodeHooksResponse(frame), undefined))
}

test('what a later version may say is known as such, and new fields are skipped', () => {
  const later = Buffer.from('08077a00', 'hex')
  assert.deepEqual(decodeHooksRequest(later), { number: 7, call: { kind: 'unknown' } })
  assert.deepEqual(decodeHooksResponse(later), { number: 7, result: { kind: 'unknown' } })
  for (const unknown of [{ stored: { result: 99 } }, { error: { code: 99 } }, { error: {} }]) {
    const { result } = decodeHooksResponse(encode('Response', { number: 7, ...unknown })) ?? {}
    assert.deepEqual(result, { kind: 'unknown' })
  }
  const more = Buffer.concat([
    encode('Request', { number: 7, ping: {} }),
    Buffer.from('7a00', 'hex'),
  ])
  assert.deepEqual(decodeHooksRequest(more), { number: 7, call: { kind: 'ping' } })
})

test('the last of two calls in one message counts, as protobuf defines it', () => {
  const both = Buffer.concat([
    encode('Request', { number: 7, get }),
    encode('Request', { ping: {} }),
  ])
  assert.deepEqual(decodeHooksRequest(both), { number: 7, call: { kind: 'ping' } })
})

test('results and errors have the numbers of the schema', () => {
  const { values: puts } = schema.lookupEnum('tlscached.hooks.PutResult')
  for (const result of PUT_RESULTS) {
    const frame = encode('Response', {
      number: 1,
      stored: { result: puts[`PUT_RESULT_${result.toUpperCase()}`] },
    })
    assert.deepEqual(decodeHooksResponse(frame)?.result, { kind: 'stored', result })
  }
  const { values: errors } = schema.lookupEnum('tlscached.hooks.ErrorCode')
  for (const code of HOOKS_ERRORS) {
    const frame = encode('Response', {
      number: 1,
      error: { code: errors[`ERROR_CODE_${code.toUpperCase()}`] },
    })
    assert.deepEqual(decodeHooksResponse(frame)?.result, { kind: 'error', code })
  }
})

interface Vectors {
  readonly requests: readonly Vector[]
  readonly responses: readonly Vector[]
}
interface Vector {
  readonly name: string
  readonly frame: string
  readonly number: number
  readonly content: Readonly<Record<string, unknown>>
}

const vectors: Vectors = JSON.parse(
  readFileSync(new URL('../vectors/hooks.json', import.meta.url), 'utf8'),
)

for (const { name, frame, number: expected, content } of vectors.requests) {
  test(`frozen request: ${name}`, () => {
    const request = decodeHooksRequest(Buffer.from(frame, 'hex').subarray(LENGTH_BYTES))
    assert.ok(request !== undefined && request.call.kind !== 'unknown')
    assert.equal(request.number, expected)
    assert.deepEqual(JSON.parse(JSON.stringify(request.call, withHex)), content)
    assert.equal(encodeHooksRequest(expected, request.call).toString('hex'), frame)
  })
}

for (const { name, frame, number: expected, content } of vectors.responses) {
  test(`frozen response: ${name}`, () => {
    const response = decodeHooksResponse(Buffer.from(frame, 'hex').subarray(LENGTH_BYTES))
    assert.ok(response !== undefined && response.result.kind !== 'unknown')
    assert.equal(response.number, expected)
    assert.deepEqual(JSON.parse(JSON.stringify(response.result, withHex)), content)
    assert.equal(encodeHooksResponse(expected, response.result).toString('hex'), frame)
  })
}

/** JSON shows a Buffer as an object with its bytes: make it hex. */
function withHex(_name: string, value: unknown): unknown {
  const isBuffer = typeof value === 'object' && value !== null && 'data' in value
  return isBuffer ? Buffer.from(value.data as number[]).toString('hex') : value
}
