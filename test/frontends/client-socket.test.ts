// The socket of an accepted connection, over real ones, with the handle that it reads by and without: what comes in,
// what goes out, and both ends of it.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { syncBuiltinESMExports } from 'node:module'
import net, {
  type AddressInfo,
  createServer,
  type Socket,
  type SocketConstructorOpts,
} from 'node:net'
import { type TestContext, test } from 'node:test'
import { ClientSocket } from '../../src/frontends/memcached/fast/client-socket.ts'
import { until } from '../support/latch.ts'
import { StreamClient } from '../support/stream-client.ts'

const READ_BYTES = 1000

class Accepted {
  readonly socket: ClientSocket
  received = ''
  hasEnded = false
  drains = 0
  closes = 0

  constructor(accepted: Socket, input: Buffer) {
    this.socket = new ClientSocket(accepted, input, {
      received: (bytes, length) => {
        this.received += bytes.toString('latin1', 0, length)
        // The next socket that is read overwrites this buffer.
        bytes.fill('?')
      },
      ended: () => {
        this.hasEnded = true
      },
      drained: () => {
        this.drains += 1
      },
      closed: () => {
        this.closes += 1
      },
    })
  }

  send(text: string): void {
    const bytes = Buffer.from(`..${text}..`, 'latin1')
    this.socket.send(bytes, 2, text.length)
    bytes.fill('?')
  }
}

/** `handle`: as on the Nodes of today. The others are Nodes without one of the internals. */
const WAYS = ['handle', 'no handle', 'no onread'] as const
type Way = (typeof WAYS)[number]

/** The constructor of sockets no longer knows the option, until the test ends. */
function withoutOnread(t: TestContext): void {
  const { Socket: Original } = net
  net.Socket = class extends Original {
    constructor({ onread: _, ...options }: SocketConstructorOpts & { onread?: unknown } = {}) {
      super(options)
    }
  }
  syncBuiltinESMExports()
  t.after(() => {
    net.Socket = Original
    syncBuiltinESMExports()
  })
}

/** The sockets stand on something else. */
function withoutHandle(socket: Socket): void {
  const { _handle: handle } = socket as unknown as { _handle: object }
  Object.defineProperty(handle, 'useUserBuffer', { value: undefined })
}

interface Pair {
  readonly client: StreamClient
  readonly accepted: Accepted
}

async function connectPairs(t: TestContext, way: Way, count = 1): Promise<Pair[]> {
  if (way === 'no onread') withoutOnread(t)
  const input = Buffer.alloc(READ_BYTES)
  const accepted: Accepted[] = []
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    if (way === 'no handle') withoutHandle(socket)
    accepted.push(new Accepted(socket, input))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const pairs: Pair[] = []
  t.after(() => {
    server.close()
    for (const { client } of pairs) client.close()
    for (const one of accepted) one.socket.destroy()
  })
  while (pairs.length < count) {
    const client = await StreamClient.connect({ host: '127.0.0.1', port })
    await until('it is accepted', () => accepted.length > pairs.length)
    const one = accepted.at(-1)
    assert.ok(one !== undefined)
    assert.equal(one.socket.isFast, way === 'handle')
    pairs.push({ client, accepted: one })
  }
  return pairs
}

for (const way of WAYS) {
  test(`two connections read into one memory keep their bytes apart, with ${way}`, async (t) => {
    const pairs = await connectPairs(t, way, 2)
    for (const [index, { client }] of pairs.entries()) client.send(`${index}`.repeat(5000))
    for (const [index, { accepted }] of pairs.entries()) {
      await until('all came in', () => accepted.received.length === 5000)
      assert.equal(accepted.received, `${index}`.repeat(5000))
    }
  })

  test(`what the peer does not read waits, in its order, with ${way}`, async (t) => {
    const [pair] = await connectPairs(t, way)
    assert.ok(pair !== undefined)
    const { client, accepted } = pair
    client.socket.pause()
    const line = `${'x'.repeat(60_000)}\r\n`
    let lines = 0
    while (accepted.socket.waitingBytes < 100_000) {
      accepted.send(`${lines} ${line}`)
      lines += 1
      assert.ok(lines < 1000, 'the kernel takes no end of it')
    }
    accepted.send('the last one')
    client.socket.resume()
    const received = await client.until('the last one')
    const numbers = [...received.matchAll(/(\d+) x+\r\n/g)].map((match) => Number(match[1]))
    assert.deepEqual(
      numbers,
      Array.from({ length: lines }, (_line, index) => index),
    )
    await until('it drained', () => accepted.drains > 0)
    assert.equal(accepted.socket.waitingBytes, 0)
    accepted.send('and one more')
    assert.match(await client.until('more'), /^and one more$/)
  })

  test(`a peer that ended its half still gets answers, then the end, with ${way}`, async (t) => {
    const [pair] = await connectPairs(t, way)
    assert.ok(pair !== undefined)
    const { client, accepted } = pair
    client.socket.end('the last question')
    await until('its end is seen', () => accepted.hasEnded)
    assert.equal(accepted.received, 'the last question')
    assert.equal(accepted.closes, 0)
    accepted.send('the answer')
    accepted.socket.end()
    assert.equal(await client.until('answer'), 'the answer')
    await client.closed
    await until('it is closed', () => accepted.closes === 1)
  })

  test(`while it is paused nothing comes in, with ${way}`, async (t) => {
    const [pair, other] = await connectPairs(t, way, 2)
    assert.ok(pair !== undefined && other !== undefined)
    pair.accepted.socket.pause()
    pair.client.send('early')
    other.client.send('later')
    await until('the other one came in', () => other.accepted.received === 'later')
    assert.equal(pair.accepted.received, '')
    pair.accepted.socket.resume()
    await until('it came in', () => pair.accepted.received === 'early')
  })

  test(`after a reset, or its own end, sending does nothing, with ${way}`, async (t) => {
    const [reset, destroyed] = await connectPairs(t, way, 2)
    assert.ok(reset !== undefined && destroyed !== undefined)
    reset.client.socket.resetAndDestroy()
    await until('the reset is seen', () => reset.accepted.closes === 1)
    reset.accepted.send('to nobody')
    destroyed.accepted.socket.destroy()
    destroyed.accepted.send('to nobody')
    assert.equal(destroyed.accepted.socket.waitingBytes, 0)
    await destroyed.client.closed
    assert.equal(destroyed.client.received, '')
    await until('it is closed', () => destroyed.accepted.closes === 1)
  })
}

test('a reset that only the kernel knows of yet ends the connection when it is sent to', async (t) => {
  const [pair] = await connectPairs(t, 'handle')
  assert.ok(pair !== undefined)
  const { client, accepted } = pair
  accepted.socket.pause()
  client.socket.resetAndDestroy()
  await client.closed
  while (accepted.closes === 0) {
    accepted.send('x')
    await new Promise(setImmediate)
  }
  assert.equal(accepted.closes, 1)
})
