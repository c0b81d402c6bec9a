// Frames with ticket keys that arrive in pieces of any size: none of the pieces keeps a part of a key.

import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import { FrameStream } from '../../src/replication/sync/stream.ts'
import { eraseSecrets, type RingOffer } from '../../src/wire/ring-message.ts'
import { encodeSyncFrame } from '../../src/wire/sync-message.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { SecretSearch } from '../support/secret-search.ts'
import { seededBytes } from '../support/seeded-random.ts'

const random = seededBytes('secret pieces')
const key = { name: random(16), secret: random(96), ageMs: 1000 }
const search = new SecretSearch()
search.add('key', Buffer.from(key.secret))

function framed(): Buffer {
  const rings: RingOffer[] = [{ group: 'www', keys: [key], retired: [] }]
  const body = encodeSyncFrame({ kind: 'rings', rings })
  const bytes = Buffer.alloc(4 + body.length)
  bytes.writeUInt32BE(body.length)
  bytes.set(body, 4)
  return bytes
}

/** A stream and the frames out of it, while its other side sends pieces. */
function stream() {
  const duplex = new Duplex({ read() {}, write: (_bytes, _encoding, done) => done() })
  duplex.on('error', () => {})
  return { duplex, frames: new FrameStream(duplex, new FakeClock()) }
}

function piecesOf(bytes: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
    Buffer.from(bytes.subarray(index * size, (index + 1) * size)),
  )
}

for (const size of [1, 3, 17, 60, 1000]) {
  test(`in pieces of ${size} bytes, with another frame behind it`, async () => {
    const { duplex, frames } = stream()
    const both = Buffer.concat([framed(), framed()])
    const pieces = piecesOf(both, size)
    const first = frames.receive()
    for (const piece of pieces) duplex.push(piece)
    for (const received of [await first, await frames.receive()]) {
      assert.equal(received?.kind, 'rings')
      assert.ok(received.rings[0]?.keys[0]?.secret.equals(key.secret))
      eraseSecrets(received.rings)
    }
    assert.deepEqual(search.find(Buffer.concat(pieces)), [])
    duplex.push(null)
    assert.equal(await frames.receive(), undefined)
  })
}

test('a frame that is cut off, and what was not read when the stream was closed, are erased', async () => {
  const cut = stream()
  const pieces = piecesOf(framed().subarray(0, 100), 30)
  const received = cut.frames.receive()
  for (const piece of pieces) cut.duplex.push(piece)
  cut.duplex.push(null)
  await assert.rejects(received, { message: 'ended within a frame' })
  assert.deepEqual(search.find(Buffer.concat(pieces)), [])

  const closed = stream()
  const [whole = Buffer.alloc(0), ...more] = piecesOf(Buffer.concat([framed(), framed()]), 400)
  const frame = closed.frames.receive()
  for (const piece of [whole, ...more]) closed.duplex.push(piece)
  const one = await frame
  assert.equal(one?.kind, 'rings')
  eraseSecrets(one.rings)
  closed.frames.close()
  assert.deepEqual(search.find(whole), [])
})
