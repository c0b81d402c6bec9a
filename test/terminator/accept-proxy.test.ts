// A front behind balancers: whom their PROXY headers tell, who must send one, and who must not.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { type TestContext, test } from 'node:test'
import { type ConnectionOptions, connect } from 'node:tls'
import { parseSubnet } from '../../src/base/address.ts'
import { silentLogger, systemClock } from '../../src/base/world.ts'
import {
  type Endpoints,
  type ProxyVersion,
  proxyHeader,
} from '../../src/terminator/proxy-protocol.ts'
import { BackendPool, createRelay } from '../../src/terminator/relay.ts'
import type { TlsFrontOptions } from '../../src/terminator/tls-front.ts'
import { speakFor } from '../support/balancer-client.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { until } from '../support/latch.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import {
  closed,
  greet,
  type RunningFront,
  readAll,
  startBackend,
  startFront,
} from '../support/terminator-fixture.ts'

const LISTED = ['127.0.0.0/8', '::1'].map(parseSubnet)
const ELSEWHERE = [parseSubnet('192.0.2.0/24')]
const LOCAL_HEADER = Buffer.from('0d0a0d0a000d0a515549540a20000007030004a9b87e8f', 'hex')
const CLIENT: Endpoints = {
  sourceHost: '198.51.100.7',
  sourcePort: 40_001,
  destinationHost: '203.0.113.1',
  destinationPort: 443,
}
const CLIENT_V6 = { ...CLIENT, sourceHost: '2001:db8::7', destinationHost: '2001:db8::1' }

function headerFor(version: ProxyVersion, endpoints: Endpoints): Buffer {
  return proxyHeader(version, {
    ...endpoints,
    tlsVersion: '',
    cipher: '',
    serverName: 'told.test',
    applicationProtocol: '',
    hasClientCertificate: false,
    clientCommonName: '',
  })
}

/** A front that tells each client where it comes from. */
function startTelling(t: TestContext, options: Partial<TlsFrontOptions> = {}) {
  return startFront(t, {
    balancers: LISTED,
    serve: (client, { endpoints }) => {
      client.on('error', () => client.destroy())
      client.resume()
      client.end(JSON.stringify(endpoints))
    },
    ...options,
  })
}

interface VisitOptions extends ConnectionOptions {
  readonly isByteByByte?: boolean
}

async function visit(
  { address }: RunningFront,
  header: Buffer,
  { isByteByByte = false, ...options }: VisitOptions = {},
) {
  const { stream } = speakFor(address, header, { isByteByByte })
  const socket = connect({ socket: stream, rejectUnauthorized: false, ...options })
  let session: Buffer | undefined
  socket.on('session', (bytes: Buffer) => {
    session = bytes
  })
  await once(socket, 'secureConnect')
  const isReused = socket.isSessionReused()
  const told: Endpoints = JSON.parse(await readAll(socket))
  socket.destroy()
  return { isReused, told, session }
}

for (const version of ['v1', 'v2'] as const) {
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`${version}, ${maxVersion}: the header tells who the client is, and it resumes`, async (t) => {
      const running = await startTelling(t)
      const first = await visit(running, headerFor(version, CLIENT), { maxVersion })
      assert.deepEqual([first.told, first.isReused], [CLIENT, false])
      // From another address, as clients that move have it.
      const options = { maxVersion, ...(first.session && { session: first.session }) }
      const second = await visit(running, headerFor(version, CLIENT_V6), options)
      assert.deepEqual([second.told, second.isReused], [CLIENT_V6, true])
    })
  }

  test(`${version}: header and ClientHello in single bytes`, async (t) => {
    const running = await startTelling(t)
    const { told } = await visit(running, headerFor(version, CLIENT), { isByteByByte: true })
    assert.deepEqual(told, CLIENT)
  })

  test(`${version}: a header from an address that is not listed is refused and counted`, async (t) => {
    const logger = new RecordingLogger()
    for (const balancers of [[], ELSEWHERE]) {
      const running = await startTelling(t, { balancers, logger })
      const { socket } = speakFor(running.address, Buffer.alloc(0))
      socket.write(headerFor(version, CLIENT))
      await closed(socket)
      await until('it is counted', () => {
        return running.front.readStats().failures.proxy_unlisted === 1
      })
    }
    const warnings = logger.lines.filter(({ level }) => level === 'warn')
    assert.equal(warnings.length, 2)
    assert.equal(warnings[0]?.fields['address'], '127.0.0.1')
  })
}

test('a client that is not listed needs no header', async (t) => {
  const { address } = await startTelling(t, { balancers: ELSEWHERE })
  const client = await greet(address)
  const told: Endpoints = JSON.parse(await readAll(client))
  assert.deepEqual([told.sourceHost, told.sourcePort], ['127.0.0.1', client.localPort])
  client.destroy()
})

test('a listed balancer without a header is refused at once, counted and logged', async (t) => {
  const logger = new RecordingLogger()
  const { front, address } = await startTelling(t, { logger })
  await assert.rejects(greet(address))
  await until('it is counted', () => front.readStats().failures.proxy_header === 1)
  const [line] = logger.lines.filter(({ level }) => level === 'warn')
  assert.match(String(line?.fields['problem']), /does not begin with a PROXY header/)
})

test('a health check is served like a client, and is no failure when it says nothing', async (t) => {
  const running = await startTelling(t)
  const { front, address } = running
  const { told } = await visit(running, LOCAL_HEADER)
  assert.deepEqual([told.sourceHost, told.destinationPort], ['127.0.0.1', address.port])
  const { socket } = speakFor(address, Buffer.alloc(0))
  socket.end(LOCAL_HEADER)
  await closed(socket.resume())
  await until('it is over', () => front.readStats().connections === 0)
  const broken = speakFor(address, Buffer.alloc(0)).socket
  broken.end(Buffer.concat([LOCAL_HEADER, Buffer.from('GET / HTTP/1.0\r\n\r\n')]))
  await closed(broken.resume())
  await until('what is no TLS is counted', () => front.readStats().failures.malformed === 1)
  assert.equal(front.readStats().failures.closed, 0)
})

test('half a header: counted as closed at its end, and as a timeout at the handshake timeout', async (t) => {
  const clock = new FakeClock()
  const { front, address } = await startTelling(t, { clock, handshakeTimeoutMs: 3000 })
  const half = headerFor('v2', CLIENT).subarray(0, 20)
  const ending = connectTcp(address).resume()
  ending.end(half)
  await closed(ending)
  await until('the first one is over', () => front.readStats().connections === 0)
  clock.advance(0)
  assert.equal(front.readStats().failures.closed, 1)
  const waiting = connectTcp(address).resume()
  waiting.write(half)
  await until('the second one is there', () => front.readStats().connections === 1)
  clock.advance(3000)
  await closed(waiting)
  await until('the second one is over', () => front.readStats().connections === 0)
  clock.advance(0)
  assert.equal(front.readStats().failures.timeout, 1)
  assert.equal(clock.pendingCount, 0)
})

for (const header of [Buffer.alloc(0), headerFor('v1', CLIENT).subarray(0, 9), LOCAL_HEADER]) {
  test(`a balancer that resets the connection after ${header.length} bytes ends nothing else`, async (t) => {
    const { front, address } = await startTelling(t)
    const { socket } = speakFor(address, Buffer.alloc(0))
    await once(socket, 'connect')
    if (header.length > 0) socket.write(header)
    await until('it is there', () => front.readStats().connections === 1)
    socket.resetAndDestroy()
    await until('it is over', () => front.readStats().connections === 0)
  })
}

test('two clients with one address at the same time are not confused, and it is passed on', async (t) => {
  const backend = await startBackend(t)
  const backends = new BackendPool({
    addresses: [backend.address],
    connectTimeoutMs: 5000,
    checkPeriodMs: 5000,
    clock: systemClock,
    logger: silentLogger,
  })
  const serve = createRelay({
    backends,
    idleTimeoutMs: 60_000,
    clock: systemClock,
    proxyProtocol: 'v1',
  })
  const { front, address } = await startFront(t, { balancers: LISTED, serve })
  const header = headerFor('v2', CLIENT)
  const clients = await Promise.all(
    [0, 1].map(async () => {
      const { stream } = speakFor(address, header)
      const socket = connect({ socket: stream, rejectUnauthorized: false })
      await once(socket, 'secureConnect')
      return socket
    }),
  )
  await until('both reached the backend', () => backend.sockets.length === 2)
  for (const client of clients) client.end('question')
  for (const socket of backend.sockets) {
    const received = await readAll(socket)
    assert.equal(received, 'PROXY TCP4 198.51.100.7 203.0.113.1 40001 443\r\nquestion')
    socket.end()
  }
  await until('nothing is open', () => front.readStats().connections === 0)
  for (const client of clients) client.destroy()
})
