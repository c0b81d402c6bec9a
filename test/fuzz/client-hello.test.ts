// Mutated ClientHellos of real clients, whole and cut at random places, as they come from a socket: read alike,
// bounded, and never waited for beyond the limit.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type ClientHello,
  ClientHelloReader,
  MAX_CLIENT_HELLO_BYTES,
} from '../../src/session/client-hello.ts'
import { captureHello, inRecordsOf, readClientHello } from '../support/captured-hello.ts'
import { cuts, Dice, mutate } from '../support/dice.ts'

const ROUNDS = 100_000
const SEED = 0x68_65_6c_6f

/** Pieces one after the other, until it is decided what they are. */
function readInPieces(bytes: Buffer, dice: Dice): ClientHello | 'incomplete' | undefined {
  const reader = new ClientHelloReader()
  for (const end of [...cuts(bytes.length, dice), bytes.length]) {
    const hello = reader.read(bytes.subarray(0, end))
    if (hello !== 'incomplete') return hello
  }
  return 'incomplete'
}

function assertBounded({ sessionId, serverName, pskIdentity }: ClientHello, bytes: Buffer): void {
  assert.ok(sessionId.length <= 32)
  assert.ok(serverName.length <= bytes.length)
  assert.ok((pskIdentity?.length ?? 0) <= bytes.length)
}

test(`${ROUNDS} ClientHellos`, async () => {
  const dice = new Dice(SEED)
  const servername = 'www.test'
  const hellos = [
    await captureHello({ minVersion: 'TLSv1.3', servername }),
    await captureHello({ maxVersion: 'TLSv1.2', servername }),
    await captureHello({ maxVersion: 'TLSv1.2', servername: '' }),
  ]
  const samples = [...hellos, ...hellos.map((hello) => inRecordsOf(40, hello))]
  const counts = { hello: 0, incomplete: 0, none: 0 }
  for (let round = 0; round < ROUNDS; round += 1) {
    let bytes = dice.pick(samples)
    for (let left = dice.below(4); left > 0; left -= 1) bytes = mutate(bytes, dice)
    const whole = readClientHello(bytes)
    const again = readInPieces(bytes, dice)
    assert.deepEqual(again, whole, bytes.toString('hex'))
    if (whole === 'incomplete') counts.incomplete += 1
    else if (whole === undefined) counts.none += 1
    else {
      counts.hello += 1
      assertBounded(whole, bytes)
    }
  }
  for (const count of Object.values(counts)) assert.ok(count > ROUNDS / 20, JSON.stringify(counts))
})

test('no stream is waited for beyond the limit, whatever it announces', () => {
  const dice = new Dice(SEED)
  for (let round = 0; round < 1000; round += 1) {
    const lengths = [1, 2, 16, 255, 1 + dice.below(16_384), 65_535]
    const records: Buffer[] = []
    for (let total = 0; total <= 2 * MAX_CLIENT_HELLO_BYTES; ) {
      const length = dice.pick(lengths)
      const record = Buffer.alloc(5 + length, 1)
      record.set([22, 3, 1, length >> 8, length & 0xff])
      records.push(record)
      total += length
    }
    const announced = dice.below(2 ** 24)
    const bytes = Buffer.concat(records)
    // This overwrites the handshake header, or the part of it that is in the first record.
    bytes.set(
      [1, announced >> 16, (announced >> 8) & 0xff, announced & 0xff].slice(
        0,
        bytes.readUInt16BE(3),
      ),
      5,
    )
    assert.notEqual(readClientHello(bytes), 'incomplete')
  }
})
