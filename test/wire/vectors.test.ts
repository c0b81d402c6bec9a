// Test vectors: datagrams of earlier versions must open, and sealing the same content must give the same bytes.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import type { Change } from '../../src/store/versions.ts'
import { ChangeBatch } from '../../src/wire/changes.ts'
import { type Channel, DEFAULT_DATAGRAM_BYTES, readHeader } from '../../src/wire/datagram.ts'
import { createIdentity } from '../../src/wire/identity.ts'
import { parseKeyring } from '../../src/wire/keyring.ts'
import {
  decodeMessage,
  encodeFragment,
  encodeGone,
  encodeGreeting,
  encodeHeartbeat,
  encodeLeave,
  encodeNack,
  encodePiece,
  encodeRoster,
  type Message,
} from '../../src/wire/message.ts'
import { Opener, Sealer } from '../../src/wire/seal.ts'

interface Vector {
  readonly name: string
  readonly channel: Channel
  readonly sequence: number
  readonly message: string
  readonly datagram: string
  readonly decoded: Record<string, unknown>
}

interface Vectors {
  readonly clusterKey: string
  readonly keyId: string
  readonly nodeName: string
  readonly senderId: string
  readonly bootId: string
  readonly origin: number
  readonly senderKey: string
  readonly vectors: readonly Vector[]
}

function readVectors<Content>(file: string): Content {
  return JSON.parse(readFileSync(new URL(`../vectors/${file}`, import.meta.url), 'utf8'))
}

const frozen = readVectors<Vectors>('replication.json')
/** More datagrams of the sender of `frozen`. */
const repair = readVectors<Pick<Vectors, 'vectors'>>('replication-repair.json')
const repeater = readVectors<Pick<Vectors, 'vectors'>>('replication-repeater.json')
const version2 = readVectors<
  Pick<Vectors, 'vectors'> & { readonly form2: readonly Omit<Vector, 'decoded'>[] }
>('replication-2.json')
const keyring = parseKeyring(frozen.clusterKey)
const identity = createIdentity(frozen.nodeName, () => Buffer.from(frozen.bootId, 'hex'))

test('identity and keys are derived as they were', () => {
  assert.equal(identity.senderId.toString('hex'), frozen.senderId)
  assert.equal(identity.origin, frozen.origin)
  assert.equal(keyring.primaryKeyId.toString(16).padStart(8, '0'), frozen.keyId)
  const key = keyring.senderKey(keyring.primaryKeyId, identity.senderId, identity.bootId)
  assert.equal(key?.export().toString('hex'), frozen.senderKey)
})

for (const vector of [
  ...frozen.vectors,
  ...repair.vectors,
  ...repeater.vectors,
  ...version2.vectors,
]) {
  test(`opens and decodes: ${vector.name}`, () => {
    const datagram = Buffer.from(vector.datagram, 'hex')
    const header = readHeader(datagram)
    assert.ok(header !== undefined)
    assert.equal(header.channel, vector.channel)
    assert.equal(header.sequence, vector.sequence)
    const key = keyring.senderKey(header.keyId, header.senderId, header.bootId)
    assert.ok(key !== undefined)
    const message = new Opener(key).open(datagram, header)
    assert.equal(message?.toString('hex'), vector.message)
    const decoded = decodeMessage(Buffer.from(vector.message, 'hex'), frozen.origin)
    assert.deepEqual(JSON.parse(JSON.stringify(decoded, withHex)), vector.decoded)
  })

  test(`is encoded and sealed again: ${vector.name}`, () => {
    const decoded = decodeMessage(Buffer.from(vector.message, 'hex'), frozen.origin)
    assert.ok(decoded !== undefined)
    const sealer = new Sealer(identity, { current: keyring })
    while (sealer.lastSequence(vector.channel) < vector.sequence - 1) {
      sealer.seal(vector.channel, Buffer.alloc(1))
    }
    const message = encodeAgain(decoded)
    assert.equal(message.toString('hex'), vector.message)
    assert.equal(sealer.seal(vector.channel, message).toString('hex'), vector.datagram)
  })
}

for (const vector of version2.form2) {
  test(`opens and is sealed again: ${vector.name}`, () => {
    const datagram = Buffer.from(vector.datagram, 'hex')
    const message = Buffer.from(vector.message, 'hex')
    const header = readHeader(datagram)
    assert.equal(header?.form, 2)
    const key = keyring.senderKey(header.keyId, header.senderId, header.bootId, 2)
    assert.ok(key !== undefined)
    assert.deepEqual(new Opener(key).open(datagram, header), message)
    assert.deepEqual(
      new Sealer(identity, { current: keyring }, 2).seal(vector.channel, message),
      datagram,
    )
  })
}

function encodeAgain(message: Message): Buffer {
  switch (message.kind) {
    case 'fragment':
      return encodeFragment(message)
    case 'greeting':
      return encodeGreeting(message)
    case 'heartbeat':
      return encodeHeartbeat(message.changesSequence)
    case 'nack':
      return encodeNack(message)
    case 'gone':
      return encodeGone(message.changesSequence)
    case 'roster':
      return encodeRoster(message.subscribers)
    case 'piece':
      return encodePiece(message)
    case 'leave':
      return encodeLeave(message.bootId)
    case 'changes': {
      const batch = new ChangeBatch(DEFAULT_DATAGRAM_BYTES, frozen.origin)
      for (const change of message.changes satisfies readonly Change[]) assert.ok(batch.add(change))
      return batch.take(message.sentWallMs)
    }
  }
}

/** JSON shows a Buffer as an object with its bytes, another array as one with its indices: make both hex. */
function withHex(_name: string, value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  const isBuffer = typeof value === 'object' && value !== null && 'data' in value
  return isBuffer ? Buffer.from(value.data as number[]).toString('hex') : value
}
