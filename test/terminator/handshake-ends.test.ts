// Clients that end a connection before its handshake is over: each frees its place at once and is counted.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import type { HostAddress } from '../../src/base/address.ts'
import type { TlsFront } from '../../src/terminator/tls-front.ts'
import { captureHello } from '../support/captured-hello.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { until } from '../support/latch.ts'
import { closed, greet, readAll, startFront } from '../support/terminator-fixture.ts'

const HANDSHAKE_MS = 10_000
/** Far below the handshake timeout, which never passes on the fake clock. */
const AT_ONCE_MS = 5000

/** A client that keeps its reading side open, as an attacker does: only the server can end the connection. */
async function open(address: HostAddress): Promise<Socket> {
  const socket = connectTcp({ ...address, allowHalfOpen: true, noDelay: true })
  socket.on('error', () => {})
  // A test that fails leaves it open, and then it must not keep the process.
  socket.unref()
  await once(socket, 'connect')
  return socket
}

const HELLO_1_2 = await captureHello({ maxVersion: 'TLSv1.2', servername: 'localhost' })
const HELLO_1_3 = await captureHello({ minVersion: 'TLSv1.3', servername: 'localhost' })

type Attack = (address: HostAddress) => Promise<Socket>

const sendAndEnd =
  (bytes: Buffer): Attack =>
  async (address) => {
    const socket = await open(address)
    socket.end(bytes)
    return socket.resume()
  }

/** Ends when the first flight of the server has come. */
const endAfterFlight =
  (hello: Buffer, isReset = false): Attack =>
  async (address) => {
    const socket = await open(address)
    socket.write(hello)
    await once(socket, 'data')
    if (isReset) socket.resetAndDestroy()
    else socket.end()
    return socket.resume()
  }

const inSingleBytes: Attack = async (address) => {
  const socket = await open(address)
  for (const byte of HELLO_1_3) {
    socket.write(Buffer.from([byte]))
    // Every byte is a segment of its own: the server reads between two of them.
    await new Promise((resolve) => setImmediate(resolve))
  }
  socket.end()
  return socket.resume()
}

const ATTACKS: Readonly<Record<string, Attack>> = {
  'the end without a byte': sendAndEnd(Buffer.alloc(0)),
  'the end in a ClientHello': sendAndEnd(HELLO_1_3.subarray(0, 100)),
  'a ClientHello of TLS 1.2 and the end': sendAndEnd(HELLO_1_2),
  'a ClientHello of TLS 1.3 and the end': sendAndEnd(HELLO_1_3),
  'a ClientHello in single bytes and the end': inSingleBytes,
  'the end after the first flight of TLS 1.2': endAfterFlight(HELLO_1_2),
  'the end after the first flight of TLS 1.3': endAfterFlight(HELLO_1_3),
  'a reset after the first flight of TLS 1.2': endAfterFlight(HELLO_1_2, true),
  'a reset after the first flight of TLS 1.3': endAfterFlight(HELLO_1_3, true),
}

/** What is counted in the next turn of the event loop is counted when the fake clock runs it. */
async function untilClosedIs(front: TlsFront, clock: FakeClock, count: number): Promise<void> {
  await until(
    `${count} are counted as closed`,
    () => {
      clock.advance(0)
      return front.readStats().failures.closed === count && front.readStats().connections === 0
    },
    AT_ONCE_MS,
  )
}

for (const [name, attack] of Object.entries(ATTACKS)) {
  test(`${name}: the connection is over at once, and counted as closed`, async (t) => {
    const clock = new FakeClock()
    const { front, address } = await startFront(t, { clock })
    const socket = await attack(address)
    await untilClosedIs(front, clock, 1)
    await closed(socket)
    const failures = Object.values(front.readStats().failures).reduce((sum, one) => sum + one, 0)
    assert.equal(failures, 1)
    assert.equal(clock.pendingCount, 0)
  })

  test(`${name}, three times as often as there are places: nobody else is denied`, async (t) => {
    const clock = new FakeClock()
    const places = 4
    const { front, address } = await startFront(t, { clock, maxConnections: places })
    for (let done = 0; done < 3 * places; done += places) {
      const attackers = await Promise.all(Array.from({ length: places }, () => attack(address)))
      await untilClosedIs(front, clock, done + places)
      for (const attacker of attackers) attacker.destroy()
    }
    const client = await greet(address)
    assert.equal(await readAll(client), 'hello')
    client.destroy()
    assert.equal(front.readStats().refused, 0)
  })
}

test('clients that never say a word deny others no longer than the handshake timeout', async (t) => {
  const clock = new FakeClock()
  const places = 4
  const options = { clock, maxConnections: places, handshakeTimeoutMs: HANDSHAKE_MS }
  const { front, address } = await startFront(t, options)
  const silent = await Promise.all(Array.from({ length: places }, () => open(address)))
  await until('all places are taken', () => front.readStats().connections === places)
  await assert.rejects(greet(address))
  assert.equal(front.readStats().refused, 1)
  clock.advance(HANDSHAKE_MS)
  await Promise.all(silent.map((socket) => once(socket.resume(), 'end')))
  for (const socket of silent) socket.destroy()
  await until('the places are free', () => front.readStats().connections === 0)
  clock.advance(0)
  assert.equal(front.readStats().failures.timeout, places)
  assert.equal(await visitOnce(t, address), 'hello')
})

async function visitOnce(t: TestContext, address: HostAddress): Promise<string> {
  const client = await greet(address)
  t.after(() => client.destroy())
  return readAll(client)
}

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`${version}: a client that ends its side after the handshake still gets its answer`, async (t) => {
    const { address } = await startFront(t, {
      serve: (client) => {
        client.on('error', () => client.destroy())
        void readAll(client).then((question) => client.end(`answer to ${question}`))
      },
    })
    const client = await greet(address, { minVersion: version, maxVersion: version })
    client.end('question')
    assert.equal(await readAll(client), 'answer to question')
  })
}
