// The counters of one terminator process, which it sends to the primary, and the primary adds up.

import { z } from 'zod'
import { by, type CountsOf, counter, gauge, one, zeros } from '../base/counters.ts'
import { REMOTE_COUNTERS } from '../hooks/remote-hooks.ts'

export const TLS_VERSIONS = ['1.2', '1.3'] as const
export type TlsVersion = (typeof TLS_VERSIONS)[number]

const HANDSHAKES = counter(
  'terminator_handshakes_total',
  'TLS handshakes that got through, by process; resumed as isSessionReused says.',
  'process',
)
const CACHE_CALLS = counter(
  'terminator_cache_calls_total',
  'Sessions asked for and put, by what the node answered or why it did not.',
)

function handshakesOf(version: TlsVersion) {
  return {
    full: one(HANDSHAKES, { version, resumed: 'no' }),
    resumed: one(HANDSHAKES, { version, resumed: 'yes' }),
  }
}

/** Counters that are shown for each process. */
export const HANDSHAKE_COUNTERS = {
  handshakes: { '1.2': handshakesOf('1.2'), '1.3': handshakesOf('1.3') },
}

/** Counters that are shown for all processes together. */
export const TERMINATOR_COUNTERS = {
  failures: by(
    'reason',
    {
      timeout: 'the handshake took longer than the handshake timeout',
      closed: 'the client closed the connection before the handshake was complete',
      negotiation:
        'client and terminator have no version, cipher or application protocol in common',
      client_certificate:
        'the client presented no certificate, or one that is untrusted or revoked',
      client_alert: 'the client ended the handshake with an alert',
      bad_record_mac: 'a record of the client could not be decrypted',
      malformed: 'the client sent bytes that are not TLS or not valid',
      proxy_header: 'a listed balancer sent no PROXY header, or a wrong one',
      proxy_unlisted: 'a PROXY header came from an address that is not listed as a balancer',
    },
    counter(
      'terminator_handshake_failures_total',
      'Connections that did not get through their handshake.',
    ),
  ),
  /** Client connections open now, including those in the handshake. */
  connections: one(gauge('terminator_connections', 'Client connections open now.')),
  refused: one(
    counter(
      'terminator_refused_connections_total',
      'Client connections turned away, since as many were open as are allowed.',
    ),
  ),
  /** Log lines dropped because the log was not read fast enough; `log_lines_dropped_total` shows them. */
  droppedLogLines: one(),
  cache: {
    gets: by('result', REMOTE_COUNTERS.gets.values, CACHE_CALLS, { call: 'get' }),
    puts: by('result', REMOTE_COUNTERS.puts.values, CACHE_CALLS, { call: 'put' }),
  },
}

export const BACKEND_COUNTERS = {
  results: by(
    'result',
    {
      connected: 'the backend took the connection',
      refused: 'nothing listens there',
      timeout: 'it did not answer in time',
      failed: 'the network or the machine failed',
    },
    counter(
      'terminator_backend_connections_total',
      'Connections to backends for clients.',
      'backend',
    ),
  ),
}

export type BackendStats = CountsOf<typeof BACKEND_COUNTERS> & { isUp: boolean }
export type TerminatorStats = CountsOf<typeof HANDSHAKE_COUNTERS & typeof TERMINATOR_COUNTERS> & {
  /** Counters of each backend, by its address. */
  backends: Record<string, BackendStats>
}
export type CacheCallStats = TerminatorStats['cache']
export type BackendResult = keyof BackendStats['results']
/** Why a connection did not get through its handshake. */
export type FailureReason = keyof TerminatorStats['failures']

export function createTerminatorStats(): TerminatorStats {
  return { ...zeros(HANDSHAKE_COUNTERS), ...zeros(TERMINATOR_COUNTERS), backends: {} }
}

export function createBackendStats(): BackendStats {
  return { ...zeros(BACKEND_COUNTERS), isUp: true }
}

/** Checks the counters in a message of another process. */
export const terminatorStatsSchema = z
  .object({
    ...schemaOf({ ...createTerminatorStats() }).shape,
    backends: z.record(z.string(), schemaOf({ ...createBackendStats() })),
  })
  .transform((stats) => stats as unknown as TerminatorStats)

function schemaOf(counts: Readonly<Record<string, unknown>>): z.ZodObject {
  const schemas = Object.entries(counts).map(([name, value]) => {
    if (typeof value === 'number') return [name, z.number()]
    return [name, typeof value === 'boolean' ? z.boolean() : schemaOf(Object(value))]
  })
  return z.object(Object.fromEntries(schemas))
}

/**
 * Adds up all numbers of two objects, and joins what is true: a backend is up when it is up for both. What only one of
 * the two has is taken as it is.
 */
export function addStats<T>(a: T, b: T): T {
  if (typeof a === 'number' && typeof b === 'number') return (a + b) as T
  if (typeof a === 'boolean') return (a && b) as T
  const all = { ...a }
  for (const name in b) all[name] = name in Object(a) ? addStats(a[name], b[name]) : b[name]
  return all
}

/**
 * Returns what remains of a process that has ended: its counters, but no open connections and no backend that is
 * down.
 */
export function withoutState(stats: TerminatorStats): TerminatorStats {
  const backends = Object.entries(stats.backends).map(
    ([address, { results }]) => [address, { results, isUp: true }] as const,
  )
  return { ...stats, connections: 0, backends: Object.fromEntries(backends) }
}

/**
 * Returns the reason for an error code of Node for a failed handshake. `isClientUntrusted`: Node rejected the
 * client's certificate.
 */
export function failureReason(code: string, isClientUntrusted: boolean): FailureReason {
  if (/BAD_RECORD_MAC/.test(code)) return 'bad_record_mac'
  if (/_ALERT_/.test(code)) return 'client_alert'
  if (isClientUntrusted || /CERTIFICATE/.test(code)) return 'client_certificate'
  if (/TIMEOUT/.test(code)) return 'timeout'
  if (NEGOTIATION_CODES.test(code)) return 'negotiation'
  return code.startsWith('ERR_SSL_') ? 'malformed' : 'closed'
}

const NEGOTIATION_CODES =
  /UNSUPPORTED_PROTOCOL|NO_SHARED|NO_APPLICATION_PROTOCOL|NO_SUITABLE|INAPPROPRIATE_FALLBACK/
