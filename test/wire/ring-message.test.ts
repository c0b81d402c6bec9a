// Rings of ticket keys on the wire: frozen bytes, malformed messages, and the hash in greetings.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { parseKeyring } from '../../src/wire/keyring.ts'
import { eraseSecrets, hashRings, MAX_RINGS, type RingOffer } from '../../src/wire/ring-message.ts'
import { loadMessageType } from '../../src/wire/schema.ts'
import { decodeSyncFrame, encodeSyncFrame } from '../../src/wire/sync-message.ts'

interface Vectors {
  readonly messages: readonly { name: string; bytes: string; rings: unknown }[]
  readonly hashes: readonly {
    name: string
    clusterKey?: string
    hashKey: string
    rings: { group: string; names: string[] }[]
    hash: string
  }[]
}

const vectors: Vectors = JSON.parse(
  readFileSync(new URL('../vectors/ticket-rings.json', import.meta.url), 'utf8'),
)

const encodeRings = (rings: readonly RingOffer[]) => encodeSyncFrame({ kind: 'rings', rings })

function decodeRings(bytes: Buffer): readonly RingOffer[] | undefined {
  const frame = decodeSyncFrame(bytes)
  return frame?.kind === 'rings' ? frame.rings : undefined
}

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

for (const { name, clusterKey, hashKey, rings, hash } of vectors.hashes) {
  test(`hash: ${name}`, () => {
    if (clusterKey !== undefined) {
      assert.equal(parseKeyring(clusterKey).ringsKeys[0]?.toString('hex'), hashKey)
    }
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

test('erases the secrets of a received frame, and nothing else', () => {
  const secret = Buffer.alloc(96, 7)
  const key = { name: Buffer.alloc(16, 1), secret, ageMs: 3 }
  const bytes = encodeRings([{ group: 'www', keys: [key, key], retired: [] }])
  const offers = decodeRings(bytes) ?? []
  assert.equal(bytes.filter((byte) => byte === 7).length, 192)
  eraseSecrets(offers)
  assert.equal(bytes.includes(7), false)
  assert.equal(offers[0]?.keys[0]?.name.equals(key.name), true)
})

test('the doubt of an age crosses the wire in two bytes, and none takes none', () => {
  const key = { name: Buffer.alloc(16, 1), secret: Buffer.alloc(96, 2), ageMs: 3 }
  const encode = (keys: RingOffer['keys']) => encodeRings([{ group: 'www', keys, retired: [] }])
  // Two, so that all lengths take two bytes either way.
  const other = { ...key, name: Buffer.alloc(16, 4) }
  const [plain, doubted] = [encode([key, other]), encode([{ ...key, isDoubted: true }, other])]
  assert.equal(doubted.length, plain.length + 2)
  assert.equal(decodeRings(plain)?.[0]?.keys[0]?.isDoubted, undefined)
  assert.equal(decodeRings(doubted)?.[0]?.keys[0]?.isDoubted, true)
})

describe('malformed', () => {
  const frame = loadMessageType('sync.proto', 'tlscached.sync.Frame')
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
    test(what, () => assert.equal(decodeRings(frame.encode({ rings: { rings: list } })), undefined))
  }

  test('an age of another wire type', () => {
    // A varint of four bytes, so that a fixed32 takes its place without another length.
    const bytes = encodeRings([{ ...ring, keys: [{ ...key, ageMs: 2 ** 27 }], retired: [] }])
    const at = bytes.indexOf(Buffer.from([0x18, 0x80, 0x80, 0x80, 0x40]))
    assert.notEqual(decodeRings(bytes), undefined)
    const wrong = Buffer.from(bytes)
    wrong[at] = 0x1d
    assert.equal(decodeRings(wrong), undefined)
  })

  test('an offer with too many keys is not: the ring counts it', () => {
    const keys = Array.from({ length: 33 }, () => key)
    assert.equal(decodeRings(encodeRings([{ ...ring, keys }]))?.[0]?.keys.length, 33)
  })
})
