// Messages between nodes and repeaters: roles in greetings, rosters, leaving.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import protobuf from 'protobufjs'
import {
  decodeMessage,
  encodeGreeting,
  encodeLeave,
  encodeRoster,
  GREETING_BYTES,
  MAX_ROSTER_ADDRESSES,
} from '../../src/wire/message.ts'

/** The schema by itself, so that the tests can encode what the code never would. */
const schema = protobuf
  .loadSync(fileURLToPath(new URL('../../proto/replication.proto', import.meta.url)))
  .lookupType('tlscached.replication.Message')

function encode(message: Record<string, unknown>): Buffer {
  return Buffer.from(schema.encode(message).finish())
}

const greeting = {
  challenge: undefined,
  answer: undefined,
  changesSequence: 9,
  sentWallMs: 9,
  nodeName: 'edge',
}

test('a greeting has the same size in every role', () => {
  for (const role of ['subscriber', 'repeater'] as const) {
    const message = encodeGreeting({ ...greeting, role })
    assert.equal(message.length, GREETING_BYTES)
    assert.deepEqual(decodeMessage(message, 0), { kind: 'greeting', ...greeting, role })
  }
})

test('a roster tells addresses of both versions as they were', () => {
  const port = fc.integer({ min: 1, max: 65_535 })
  const hextets = fc.uint16Array({ minLength: 7, maxLength: 7 }).map((all) => [...all])
  const host = fc.oneof(
    fc.ipV4().filter((address) => !/^(0|2[2-9]\d)\./.test(address)),
    hextets.map((all) => ['fd00', ...all.map((one) => one.toString(16))].join(':')),
  )
  const address = fc.tuple(host, port).map(([one, its]) => ({ host: one, port: its }))
  const addresses = fc.array(address, { maxLength: MAX_ROSTER_ADDRESSES })
  fc.assert(
    fc.property(addresses, (subscribers) => {
      const decoded = decodeMessage(encodeRoster(subscribers), 0)
      assert.deepEqual(decoded, { kind: 'roster', subscribers })
    }),
  )
})

test('leaving names the repeater', () => {
  const bootId = Buffer.from('repeater')
  assert.deepEqual(decodeMessage(encodeLeave(bootId), 0), { kind: 'leave', bootId })
})

const rosterOf = (...subscribers: unknown[]) => encode({ roster: { subscribers } })

const malformed: readonly [string, Buffer][] = [
  ['a role that nobody has', encode({ greeting: { ...greeting, role: 3 } })],
  ['a roster with a name', rosterOf('nodes.test:7171')],
  ['a roster without a port', rosterOf('10.0.0.1')],
  ['a roster with port 0', rosterOf('10.0.0.1:0')],
  ['a roster with a port too great', rosterOf('10.0.0.1:65536')],
  ['a roster with nothing in it', rosterOf('')],
  ['a roster with every address', rosterOf('*:7171')],
  ['a roster with every IPv4 address', rosterOf('0.0.0.0:7171')],
  ['a roster with a group', rosterOf('225.1.1.1:7171')],
  ['a roster with an IPv6 group', rosterOf('[ff02::1]:7171')],
  ['a roster with an IPv6 address without brackets', rosterOf('fd00::1:7171')],
  ['a roster with a path', rosterOf('unix:/run/node.sock')],
  ['a roster with one bad address', rosterOf('10.0.0.1:7171', '10.0.0.256:7171')],
  ['a roster with an address too long', rosterOf(`[${'0'.repeat(40)}::1]:7171`)],
  ['a roster too long', rosterOf(...Array(MAX_ROSTER_ADDRESSES + 1).fill('10.0.0.1:7171'))],
  ['a roster of numbers', Buffer.from('6202080a', 'hex')],
  ['leaving nobody', encode({ leave: {} })],
  ['leaving with a short boot ID', encode({ leave: { bootId: Buffer.alloc(7) } })],
  ['leaving by number', Buffer.from('6a020801', 'hex')],
]

for (const [name, message] of malformed) {
  test(`malformed: ${name}`, () => {
    assert.equal(decodeMessage(message, 0), undefined)
  })
}
