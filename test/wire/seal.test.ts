// Sealed datagrams: sizes, header, and that nothing but the right key opens them untouched.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type Header,
  MAX_DATAGRAM_BYTES,
  MAX_SEQUENCE,
  NONCE_BYTES,
  readHeader,
  SEAL_OVERHEAD_BYTES,
  writeNonce,
} from '../../src/wire/datagram.ts'
import { bootKeyOf, createIdentity } from '../../src/wire/identity.ts'
import { Keyring } from '../../src/wire/keyring.ts'
import { Opener, Sealer } from '../../src/wire/seal.ts'
import { seededBytes } from '../support/seeded-random.ts'

const random = seededBytes('seal')
const ring = new Keyring([random(32)])
const identity = createIdentity('edge-1', random)

function headerOf(datagram: Buffer): Header {
  const header = readHeader(datagram)
  assert.ok(header !== undefined)
  return header
}

/** What a receiver makes of the bytes, with every key it has. */
function open(datagram: Buffer, keyring = ring): Buffer | undefined {
  const header = readHeader(datagram)
  if (header === undefined) return undefined
  const key = keyring.senderKey(header.keyId, header.senderId, header.bootId)
  return key === undefined ? undefined : new Opener(key).open(datagram, header)
}

test('what was sealed opens, is as much longer as the constant says, and counts per channel', () => {
  const sealer = new Sealer(identity, { current: ring })
  for (const size of [1, 2, 100, 1352, MAX_DATAGRAM_BYTES - SEAL_OVERHEAD_BYTES]) {
    const message = random(size)
    const datagram = sealer.seal('changes', message)
    assert.equal(datagram.length, size + SEAL_OVERHEAD_BYTES)
    assert.deepEqual(open(datagram), message)
  }
  assert.equal(sealer.lastSequence('changes'), 5)
  assert.equal(sealer.lastSequence('control'), 0)
  const header = headerOf(sealer.seal('control', random(10)))
  const { channel, keyId, senderId, bootId, sequence, bootKey } = header
  assert.deepEqual(
    { channel, keyId, senderId, bootId, sequence },
    {
      channel: 'control',
      keyId: ring.primaryKeyId,
      senderId: identity.senderId,
      bootId: identity.bootId,
      sequence: 1,
    },
  )
  assert.equal(bootKey, bootKeyOf(identity))
})

test('the message is not to be seen in the datagram, and equal messages look different', () => {
  const sealer = new Sealer(identity, { current: ring })
  const message = Buffer.from('a session is a secret and stays one')
  const first = sealer.seal('changes', message)
  const second = sealer.seal('changes', message)
  const onControl = sealer.seal('control', message)
  assert.ok(!first.includes(message.subarray(0, 6)))
  assert.notDeepEqual(first.subarray(32), second.subarray(32))
  assert.notDeepEqual(first.subarray(32), onControl.subarray(32))
})

test('what was made ready beforehand gives the same bytes, and goes with the key it was made for', () => {
  const next = new Keyring([random(32)])
  const keys = { current: ring }
  const [plain, ready] = [new Sealer(identity, keys), new Sealer(identity, keys)]
  const steps = ['changes', 'control', 'changes', 'changes', 'control', 'changes'] as const
  for (const [index, channel] of steps.entries()) {
    ready.prepare()
    ready.prepare()
    if (index === 3) keys.current = next
    const message = random(20)
    assert.deepEqual(ready.seal(channel, message), plain.seal(channel, message))
  }
})

test('an opener that was made ready opens the same, once, and nothing else by it', () => {
  const sealer = new Sealer(identity, { current: ring })
  const key = ring.senderKey(ring.primaryKeyId, identity.senderId, identity.bootId)
  assert.ok(key !== undefined)
  const opener = new Opener(key)
  const openWith = (datagram: Buffer) => opener.open(datagram, headerOf(datagram))
  const messages = [random(10), random(20), random(30)]
  const [first, second, third] = messages.map((message) => sealer.seal('changes', message))
  assert.ok(first !== undefined && second !== undefined && third !== undefined)
  const control = sealer.seal('control', Buffer.from('the first on its channel'))
  opener.prepare(1)
  assert.deepEqual(openWith(control), Buffer.from('the first on its channel'))
  const forged = Buffer.from(first)
  forged.writeUInt8(forged.readUInt8(40) ^ 1, 40)
  assert.equal(openWith(forged), undefined)
  assert.deepEqual(openWith(first), messages[0])
  opener.prepare(2)
  assert.deepEqual(openWith(third), messages[2], 'one that came too early')
  assert.deepEqual(openWith(second), messages[1])
  assert.deepEqual(openWith(second), messages[1], 'once more: that is for the replay window to see')
  opener.prepare(MAX_SEQUENCE + 1)
  opener.prepare(MAX_SEQUENCE)
})

test('no nonce comes twice', () => {
  const nonce = Buffer.alloc(NONCE_BYTES)
  const positions = [
    ['changes', 1],
    ['control', 1],
    ['changes', 256],
    ['changes', 2 ** 48 - 1],
    ['changes', 2 ** 32],
  ] as const
  // One after the other into the same bytes, as they are used.
  const nonces = positions.map(([channel, sequence]) => {
    writeNonce(nonce, channel, sequence)
    return nonce.toString('hex')
  })
  assert.equal(nonces[0], '000000000000000000000001')
  assert.equal(nonces[1], '000000010000000000000001')
  assert.equal(nonces[3], '000000000000ffffffffffff')
  assert.equal(new Set(nonces).size, nonces.length)
})

test('a flip of any bit of any byte opens nowhere', () => {
  const datagram = new Sealer(identity, { current: ring }).seal('changes', random(40))
  for (let position = 0; position < datagram.length; position += 1) {
    for (let bit = 0; bit < 8; bit += 1) {
      const flipped = Buffer.from(datagram)
      flipped[position] = (flipped[position] ?? 0) ^ (1 << bit)
      assert.equal(open(flipped), undefined, `byte ${position} bit ${bit}`)
    }
  }
})

test('a datagram cut off anywhere or with bytes behind it opens nowhere', () => {
  const datagram = new Sealer(identity, { current: ring }).seal('changes', random(40))
  for (let length = 0; length < datagram.length; length += 1) {
    assert.equal(open(datagram.subarray(0, length)), undefined, `${length} bytes`)
  }
  assert.equal(open(Buffer.concat([datagram, Buffer.alloc(1)])), undefined)
})

test('another cluster cannot open it, nor with the same key ID', () => {
  const datagram = new Sealer(identity, { current: ring }).seal('changes', random(40))
  const other = new Keyring([random(32)])
  assert.equal(open(datagram, other), undefined)
  datagram.writeUInt32BE(other.primaryKeyId, 4)
  assert.equal(open(datagram, other), undefined)
})

test('keys rotate in three steps while the sequence goes on', () => {
  const [oldKey, newKey] = [random(32), random(32)]
  const both = new Keyring([oldKey, newKey])
  const switched = new Keyring([newKey, oldKey])
  const onlyNew = new Keyring([newKey])
  const keys = { current: new Keyring([oldKey]) }
  const sealer = new Sealer(identity, keys)
  const underOld = sealer.seal('changes', Buffer.from('old'))
  keys.current = switched
  const underNew = sealer.seal('changes', Buffer.from('new'))
  assert.equal(headerOf(underNew).sequence, 2)
  assert.equal(open(underOld, both)?.toString(), 'old')
  assert.equal(open(underNew, both)?.toString(), 'new')
  assert.equal(open(underOld, switched)?.toString(), 'old')
  assert.equal(open(underOld, onlyNew), undefined)
  assert.equal(open(underNew, onlyNew)?.toString(), 'new')
})

const notHeaders: readonly [string, (datagram: Buffer) => Buffer][] = [
  ['empty', () => Buffer.alloc(0)],
  ['no message in it', (datagram) => datagram.subarray(0, SEAL_OVERHEAD_BYTES)],
  ['longer than UDP carries', () => Buffer.alloc(MAX_DATAGRAM_BYTES + 1)],
  ['wrong magic', (datagram) => changed(datagram, 0, 0x55)],
  ['a later form', (datagram) => changed(datagram, 2, 3)],
  ['an unknown channel', (datagram) => changed(datagram, 3, 2)],
  ['upper bits of the sequence', (datagram) => changed(datagram, 24, 1)],
  ['lower of the upper bits', (datagram) => changed(datagram, 25, 1)],
  ['sequence 0', (datagram) => changed(datagram, 31, 0)],
]

for (const [name, change] of notHeaders) {
  test(`no header: ${name}`, () => {
    const datagram = new Sealer(identity, { current: ring }).seal('changes', random(40))
    assert.ok(readHeader(datagram) !== undefined)
    assert.equal(readHeader(change(datagram)), undefined)
  })
}

function changed(datagram: Buffer, position: number, value: number): Buffer {
  const copy = Buffer.from(datagram)
  copy[position] = value
  return copy
}
