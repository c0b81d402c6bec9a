// Rings of ticket keys on the wire: frozen bytes, malformed messages, and the hash in greetings.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import {
  decodeRings,
  encodeRings,
  hashRings,
  MAX_RINGS,
  type RingOffer,
} from '../../src/wire/ring-message.ts'
import { loadMessageType } from '../../src/wire/schema.ts'

interface Vectors {
  readonly messages: readonly { name: string; bytes: string; rings: unknown }[]
  readonly hashes: readonly {
    name: string
    hashKey: string
    rings: { group: string; names: string[] }[]
    hash: string
  }[]
}

const vectors: Vectors = JSON.parse(
  readFileSync(new URL('../vectors/ticket-rings.json', import.meta.url), 'utf8'),
)

function withHex(_: string, value: unknown): unknown {
  const isBuffer =
    typeof value === 'object' && value !== null && Reflect.get(value, 'type') === 'Buffer'
  return isBuffer ? Buffer.from(Reflect.get(value, 'data') as number[]).toString('hex') : value
}

for (const { name, bytes, rings } of vectors.messages) {
  test(`decodes and encodes: ${name}`, () => {
    const decoded = decodeRings(Buffer.from(bytes, 'hex'))
    assert.deepEqual(JSON.parse(JSON.stringify(decoded, withHex)), rings)
    assert.equal(encodeRings(decoded ?? []).toString('hex'), bytes)
  })

  test(`a part of it is malformed or shorter: ${name}`, () => {
    for (let length = 1; length < bytes.length / 2; length += 1) {
      const decoded = decodeRings(Buffer.from(bytes, 'hex').subarray(0, length))
      assert.ok(decoded === undefined || encodeRings(decoded).length <= length)
    }
  })
}

for (const { name, hashKey, rings, hash } of vectors.hashes) {
  test(`hash: ${name}`, () => {
    assert.equal(hashRings(rings, Buffer.from(hashKey, 'hex')).toString('hex'), hash)
  })
}

test('the hash does not depend on an order, but on every name, group and on the cluster', () => {
  const key = Buffer.alloc(32, 1)
  const hash = (rings: { group: string; names: string[] }[], hashKey = key) =>
    hashRings(rings, hashKey).toString('hex')
  const first = hash([
    { group: 'api', names: [] },
    { group: 'www', names: ['bb', 'aa'] },
  ])
  assert.equal(
    first,
    hash([
      { group: 'www', names: ['aa', 'bb'] },
      { group: 'api', names: [] },
    ]),
  )
  const others = [
    hash([{ group: 'www', names: ['aa', 'bb'] }]),
    hash([
      { group: 'api', names: ['aa'] },
      { group: 'www', names: ['bb'] },
    ]),
    hash(
      [
        { group: 'api', names: [] },
        { group: 'www', names: ['aa', 'bb'] },
      ],
      Buffer.alloc(32, 2),
    ),
  ]
  assert.equal(new Set([first, ...others]).size, 4)
})

describe('malformed', () => {
  const rings = loadMessageType('tickets.proto', 'tlscached.tickets.Rings')
  const name = Buffer.alloc(16, 1)
  const key = { name, secret: Buffer.alloc(96, 2), ageMs: 3 }
  const ring: RingOffer = { group: 'www', keys: [key], retired: [{ name, ageMs: 1 }] }
  const cases: Record<string, unknown[]> = {
    'a name of 15 bytes': [{ ...ring, keys: [{ ...key, name: name.subarray(1) }] }],
    'a secret of 80 bytes': [{ ...ring, keys: [{ ...key, secret: Buffer.alloc(80, 1) }] }],
    'a secret of 97 bytes': [{ ...ring, keys: [{ ...key, secret: Buffer.alloc(97, 1) }] }],
    'a key without anything': [{ ...ring, keys: [{}] }],
    'a retired name of no bytes': [{ ...ring, retired: [{ ageMs: 1 }] }],
    'no group': [{ keys: [key] }],
    'a group with a slash': [{ ...ring, group: '../www' }],
    'a group of 64 letters': [{ ...ring, group: 'a'.repeat(64) }],
    'a group twice': [ring, ring],
    'one group too many': Array.from({ length: MAX_RINGS + 1 }, (_, index) => ({
      group: `g${index}`,
    })),
  }
  for (const [what, list] of Object.entries(cases)) {
    test(what, () => assert.equal(decodeRings(rings.encode({ rings: list })), undefined))
  }

  test('an age of another wire type', () => {
    const bytes = encodeRings([{ ...ring, retired: [] }])
    const at = bytes.lastIndexOf(Buffer.from([0x18, 3]))
    const wrong = Buffer.concat([
      bytes.subarray(0, at),
      Buffer.from([0x1d]),
      bytes.subarray(at + 1),
    ])
    assert.equal(decodeRings(wrong), undefined)
  })

  test('an offer with too many keys is not: the ring counts it', () => {
    const keys = Array.from({ length: 33 }, () => key)
    assert.equal(decodeRings(encodeRings([{ ...ring, keys }]))?.[0]?.keys.length, 33)
  })
})
