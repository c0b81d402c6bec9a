// The metrics of a terminator: over all processes, by closed labels, as Prometheus wants them, over HTTP.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { Server } from 'node:net'
import { describe, test } from 'node:test'
import { silentLogger } from '../../src/base/world.ts'
import { MetricsServer, TerminatorMetrics } from '../../src/terminator/metrics.ts'
import { createBackendStats, createTerminatorStats } from '../../src/terminator/stats.ts'
import type { PoolStats } from '../../src/terminator/worker-pool.ts'
import { ask } from '../support/http.ts'
import { whyWithout } from '../support/programs.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

function sample(): PoolStats {
  const one = createTerminatorStats()
  one.handshakes['1.2'].resumed = 5
  one.connections = 2
  one.failures.bad_record_mac = 1
  one.cache.gets.unreachable = 4
  one.backends['127.0.0.1:80'] = createBackendStats()
  const two = structuredClone(one)
  two.backends['127.0.0.1:80'] = { ...createBackendStats(), isUp: false }
  return { workers: 2, restarts: 1, processes: [one, two] }
}

const lines = (text: string) => text.split('\n').filter((line) => line.includes('_terminator_'))

test('handshakes by process, everything else together', async () => {
  const text = await new TerminatorMetrics('1.2.3', async () => sample()).text()
  for (const line of [
    'tlscached_terminator_handshakes_total{process="1",version="1.2",resumed="yes"} 5',
    'tlscached_terminator_handshakes_total{process="2",version="1.3",resumed="no"} 0',
    'tlscached_terminator_handshake_failures_total{reason="bad_record_mac"} 2',
    'tlscached_terminator_handshake_failures_total{reason="timeout"} 0',
    'tlscached_terminator_cache_calls_total{call="get",result="unreachable"} 8',
    'tlscached_terminator_cache_calls_total{call="put",result="stored"} 0',
    'tlscached_terminator_connections 4',
    'tlscached_terminator_refused_connections_total 0',
    'tlscached_terminator_backend_connections_total{backend="127.0.0.1:80",result="refused"} 0',
    'tlscached_terminator_backend_up{backend="127.0.0.1:80"} 0',
    'tlscached_terminator_processes 2',
    'tlscached_terminator_process_restarts_total 1',
  ]) {
    assert.ok(lines(text).includes(line), line)
  }
})

test('over HTTP: /metrics, and nothing else', async () => {
  let isBroken = false
  const metrics = new TerminatorMetrics('1.2.3', async () => {
    if (isBroken) throw new Error('broken')
    return sample()
  })
  const server = new MetricsServer(metrics, silentLogger)
  await server.stop()
  const address = await server.start({ host: '127.0.0.1', port: 0 })
  try {
    const found = await ask(address, { path: '/metrics' })
    assert.equal(found.status, 200)
    assert.match(found.body.toString(), /^tlscached_terminator_connections 4$/m)
    assert.equal((await ask(address, { path: '/' })).status, 404)
    assert.equal((await ask(address, { path: '/metrics', method: 'PUT' })).status, 404)
    isBroken = true
    assert.equal((await ask(address, { path: '/metrics' })).status, 500)
    await assert.rejects(new MetricsServer(metrics, silentLogger).start(address), {
      code: 'ERR_LISTEN',
      message: /^metrics: cannot listen on 127\.0\.0\.1:\d+: address already in use$/,
    })
  } finally {
    await server.stop()
  }
})

test('a connection that could not be accepted is logged, and does not end the process', async (t) => {
  const listens = t.mock.method(Server.prototype, 'listen')
  const logger = new RecordingLogger()
  const metrics = new MetricsServer(new TerminatorMetrics('', async () => sample()), logger)
  await metrics.start({ host: '127.0.0.1', port: 0 })
  t.after(() => metrics.stop())
  const server = listens.mock.calls[0]?.this
  assert.ok(server instanceof Server)
  server.emit('error', new Error('accept EMFILE'))
  assert.deepEqual(logger.lines[0]?.fields, { reason: 'accept EMFILE' })
})

describe('promtool', { skip: whyWithout('promtool') }, () => {
  test('has no complaint', async () => {
    const input = await new TerminatorMetrics('1.2.3', async () => sample()).text()
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input })
    assert.deepEqual([status, stdout.toString(), stderr.toString()], [0, '', ''])
  })
})
