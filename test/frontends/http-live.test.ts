// The live stream of the cluster: what it sends, its budget, and readers that do not read.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { Writable } from 'node:stream'
import { afterEach, test } from 'node:test'
import type { HostAddress } from '../../src/base/address.ts'
import { HttpFrontend } from '../../src/frontends/http/frontend.ts'
import {
  EVENT_PERIOD_MS,
  LiveStreams,
  MAX_STREAMS,
  STREAM_STALL_MS,
} from '../../src/frontends/http/live.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { ask } from '../support/http.ts'
import { Backend, codeIn, LIMITS } from '../support/http-app.ts'
import { until } from '../support/latch.ts'
import { type LiveStream, openLiveStream } from '../support/live-stream.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

const running: HttpFrontend[] = []
const streams: LiveStream[] = []
afterEach(async () => {
  for (const stream of streams.splice(0)) stream.close()
  await Promise.all(running.splice(0).map((frontend) => frontend.stop()))
})

async function start(requestTimeoutMs = 10_000) {
  const clock = new FakeClock()
  const backend = new Backend([LIMITS])
  const frontend = new HttpFrontend({
    listen: { host: '127.0.0.1', port: 0 },
    isInsecure: false,
    backend,
    clock,
    logger: new RecordingLogger(),
    requestTimeoutMs,
  })
  running.push(frontend)
  await frontend.start()
  const address = frontend.address as HostAddress
  const open = async () => {
    const stream = await openLiveStream(address)
    streams.push(stream)
    return stream
  }
  return { clock, backend, frontend, address, open }
}

test('an event every two seconds says how the cluster is', async () => {
  const { clock, open } = await start()
  const stream = await open()
  assert.equal(stream.status, 200)
  const { headers } = stream.response
  assert.deepEqual(
    [headers['content-type'], headers['cache-control'], headers['x-content-type-options']],
    ['text/event-stream', 'no-store', 'nosniff'],
  )
  clock.advance(EVENT_PERIOD_MS)
  const event = await stream.next()
  assert.ok(typeof event === 'object' && event !== null && 'nodes' in event)
  assert.match(JSON.stringify(event), /"node":"a".*"state":"self"/)
})

test('128 streams are open at most, and take nothing from the other routes', async () => {
  const { frontend, address, open } = await start()
  for (let index = 0; index < MAX_STREAMS; index += 1) assert.equal((await open()).status, 200)
  const answer = await ask(address, { path: '/v1/cluster/live' })
  assert.deepEqual([answer.status, codeIn(JSON.parse(answer.body.toString()))], [503, 'ERR_BUSY'])
  assert.equal(frontend.stats.refusedStreams, 1)
  assert.equal((await ask(address, { path: '/healthz' })).status, 200)
  streams.splice(0, 1)[0]?.close()
  await until('a stream has ended', () => frontend.stats.connections < MAX_STREAMS)
  assert.equal((await open()).status, 200)
})

test('a stream that is read outlives connections that do nothing', async () => {
  const { clock, address, open } = await start(50)
  const stream = await open()
  const idle = connect(address)
  idle.resume()
  await once(idle, 'close')
  clock.advance(EVENT_PERIOD_MS)
  assert.ok(await stream.next())
})

test('the stop ends streams at once', async () => {
  const { clock, frontend, open } = await start()
  const stream = await open()
  const ended = once(stream.response, 'end')
  await frontend.stop()
  await ended
  assert.equal(clock.pendingCount, 0)
})

test('a client that does not read gets no further event until it does, and is closed after ten seconds', () => {
  const clock = new FakeClock()
  const { cluster } = new Backend([LIMITS])
  const stats = { refusedStreams: 0, stalledStreams: 0 }
  const live = new LiveStreams({ cluster, clock, stats })
  let taken = 0
  let take: (() => void) | undefined
  const slow = new Writable({
    highWaterMark: 100,
    write(_chunk, _encoding, done) {
      taken += 1
      take = done
    },
  })
  live.open(slow)
  take?.()
  clock.advance(EVENT_PERIOD_MS)
  assert.equal(taken, 2)
  const oneEvent = slow.writableLength
  clock.advance(3 * EVENT_PERIOD_MS)
  assert.equal(slow.writableLength, oneEvent)
  slow.emit('drain')
  clock.advance(EVENT_PERIOD_MS)
  assert.ok(slow.writableLength > oneEvent)
  clock.advance(STREAM_STALL_MS - 1)
  assert.deepEqual([slow.destroyed, stats.stalledStreams], [false, 0])
  clock.advance(EVENT_PERIOD_MS)
  assert.deepEqual([slow.destroyed, stats.stalledStreams], [true, 1])
})
