// Counters of one terminator process: plain numbers, which it sends to the primary and the primary adds up.

import { z } from 'zod'

export const TLS_VERSIONS = ['1.2', '1.3'] as const
export type TlsVersion = (typeof TLS_VERSIONS)[number]

/** Why a connection did not get through its handshake. */
export const FAILURE_REASONS = [
  /** The handshake took longer than the handshake timeout. */
  'timeout',
  /** The client closed the connection before the handshake was complete. */
  'closed',
  /** Client and terminator have no version, cipher or application protocol in common. */
  'negotiation',
  /** The client presented no certificate, or one that is untrusted or revoked. */
  'client_certificate',
  /** The client ended the handshake with an alert. */
  'client_alert',
  'bad_record_mac',
  /** The client sent bytes that are not TLS or not valid. */
  'malformed',
  /** A listed balancer sent no PROXY header, or a wrong one. */
  'proxy_header',
  /** A PROXY header came from an address that is not listed as a balancer. */
  'proxy_unlisted',
] as const
export type FailureReason = (typeof FAILURE_REASONS)[number]

export const BACKEND_RESULTS = ['connected', 'refused', 'timeout', 'failed'] as const
export type BackendResult = (typeof BACKEND_RESULTS)[number]

/**
 * How lookups in the cache ended. `late`: no answer within the deadline. `unreachable`: no connection to a node.
 * `overloaded`: too many calls were waiting. `failed`: the node could not carry the lookup out.
 */
export const GET_RESULTS = ['hit', 'miss', 'late', 'unreachable', 'overloaded', 'failed'] as const
export const PUT_RESULTS = [
  'stored',
  'refused',
  'late',
  'unreachable',
  'overloaded',
  'failed',
] as const

const count = z.number()
const handshakeCounts = z.object({ full: count, resumed: count })
const backendCounts = z.object({
  results: z.record(z.enum(BACKEND_RESULTS), count),
  isUp: z.boolean(),
})

const cacheCounts = z.object({
  gets: z.record(z.enum(GET_RESULTS), count),
  puts: z.record(z.enum(PUT_RESULTS), count),
})

export const terminatorStatsSchema = z.object({
  handshakes: z.record(z.enum(TLS_VERSIONS), handshakeCounts),
  failures: z.record(z.enum(FAILURE_REASONS), count),
  /** Client connections open now, including those in the handshake. */
  connections: count,
  /** Client connections closed at once because as many as allowed were open. */
  refused: count,
  /** Log lines dropped because the log was not read fast enough. */
  droppedLogLines: count,
  cache: cacheCounts,
  /** Counters of each backend, by its address. */
  backends: z.record(z.string(), backendCounts),
})
export type TerminatorStats = z.output<typeof terminatorStatsSchema>
export type CacheCallStats = z.output<typeof cacheCounts>
export type BackendStats = z.output<typeof backendCounts>

export function createTerminatorStats(): TerminatorStats {
  return {
    handshakes: { '1.2': { full: 0, resumed: 0 }, '1.3': { full: 0, resumed: 0 } },
    failures: zeros(FAILURE_REASONS),
    connections: 0,
    refused: 0,
    droppedLogLines: 0,
    cache: { gets: zeros(GET_RESULTS), puts: zeros(PUT_RESULTS) },
    backends: {},
  }
}

export function createBackendStats(): BackendStats {
  return { results: zeros(BACKEND_RESULTS), isUp: true }
}

/** Returns the sum of both. A backend is up when it is up for both. */
export function addStats(a: TerminatorStats, b: TerminatorStats): TerminatorStats {
  const backends = { ...a.backends }
  for (const [address, more] of Object.entries(b.backends)) {
    const known = backends[address]
    backends[address] =
      known === undefined
        ? more
        : { results: addCounts(known.results, more.results), isUp: known.isUp && more.isUp }
  }
  return {
    handshakes: {
      '1.2': addCounts(a.handshakes['1.2'], b.handshakes['1.2']),
      '1.3': addCounts(a.handshakes['1.3'], b.handshakes['1.3']),
    },
    failures: addCounts(a.failures, b.failures),
    connections: a.connections + b.connections,
    refused: a.refused + b.refused,
    droppedLogLines: a.droppedLogLines + b.droppedLogLines,
    cache: {
      gets: addCounts(a.cache.gets, b.cache.gets),
      puts: addCounts(a.cache.puts, b.cache.puts),
    },
    backends,
  }
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

function addCounts<K extends string>(
  a: Readonly<Record<K, number>>,
  b: Readonly<Record<K, number>>,
): Record<K, number> {
  const names = Object.keys(a) as K[]
  return Object.fromEntries(names.map((name) => [name, a[name] + b[name]])) as Record<K, number>
}

function zeros<K extends string>(names: readonly K[]): Record<K, number> {
  return Object.fromEntries(names.map((name) => [name, 0])) as Record<K, number>
}
