// How counts of several processes come together, and what a failed handshake is counted as.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  addStats,
  createBackendStats,
  createTerminatorStats,
  failureReason,
  terminatorStatsSchema,
  withoutState,
} from '../../src/terminator/stats.ts'

function sample(isUp: boolean) {
  const stats = createTerminatorStats()
  stats.handshakes['1.2'].resumed = 1
  stats.handshakes['1.3'].full = 2
  stats.failures.timeout = 3
  stats.connections = 4
  stats.refused = 5
  stats.cache.gets.hit = 6
  stats.cache.puts.late = 7
  const backend = createBackendStats()
  backend.results.refused = 8
  stats.backends['a:1'] = { ...backend, isUp }
  return stats
}

test('counts add up, and a backend is up when all say so', () => {
  const sum = addStats(sample(true), sample(false))
  assert.equal(sum.handshakes['1.2'].resumed, 2)
  assert.equal(sum.handshakes['1.3'].full, 4)
  assert.equal(sum.failures.timeout, 6)
  assert.equal(sum.connections, 8)
  assert.equal(sum.refused, 10)
  assert.equal(sum.cache.gets.hit, 12)
  assert.equal(sum.cache.puts.late, 14)
  assert.equal(sum.backends['a:1']?.results.refused, 16)
  assert.equal(sum.backends['a:1']?.isUp, false)
  assert.deepEqual(addStats(createTerminatorStats(), sample(true)), sample(true))
  assert.deepEqual(terminatorStatsSchema.parse(JSON.parse(JSON.stringify(sum))), sum)
})

test('the counts of a process that ended stay, and its state does not', () => {
  const past = withoutState(sample(false))
  assert.equal(past.connections, 0)
  assert.equal(past.backends['a:1']?.isUp, true)
  assert.equal(past.backends['a:1']?.results.refused, 8)
  assert.equal(past.refused, 5)
})

const reasons: readonly (readonly [string, boolean, string])[] = [
  ['ECONNRESET', false, 'closed'],
  ['', false, 'closed'],
  ['ECONNRESET', true, 'client_certificate'],
  ['ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE', false, 'client_certificate'],
  ['ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN', false, 'client_alert'],
  ['ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', false, 'client_alert'],
  ['ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC', false, 'bad_record_mac'],
  ['ERR_SSL_SSLV3_ALERT_BAD_RECORD_MAC', false, 'bad_record_mac'],
  ['ERR_SSL_UNSUPPORTED_PROTOCOL', false, 'negotiation'],
  ['ERR_SSL_NO_SHARED_CIPHER', false, 'negotiation'],
  ['ERR_SSL_NO_APPLICATION_PROTOCOL', false, 'negotiation'],
  ['ERR_SSL_HTTP_REQUEST', false, 'malformed'],
  ['ERR_SSL_WRONG_VERSION_NUMBER', false, 'malformed'],
  ['ERR_TLS_HANDSHAKE_TIMEOUT', false, 'timeout'],
]
for (const [code, isUntrusted, expected] of reasons) {
  test(`${code || 'no code'} is counted as ${expected}`, () => {
    assert.equal(failureReason(code, isUntrusted), expected)
  })
}
