// Proves that TLS sessions resume on every server of a service, and says why they do not: the call of the library, and
// what the command line makes its report of.

import { createSecureContext } from 'node:tls'
import { messageOf, TlscachedError } from '../base/errors.ts'
import { type Clock, type RandomSource, systemClock, systemRandom } from '../base/world.ts'
import { createClient, TLS_VERSIONS, type TlsVersion } from '../tls-client/handshake.ts'
import { STARTTLS_PROTOCOLS, type StartTlsProtocol } from '../tls-client/starttls.ts'
import { type Finding, findingsOf, isAllResumed } from './findings.ts'
import { createNodeReader, parseNode } from './node-counters.ts'
import type { Observations } from './observations.ts'
import { Run } from './run.ts'
import {
  parseTarget,
  type Resolve,
  resolveServers,
  serverNameOf,
  systemResolve,
} from './targets.ts'

export const DEFAULT_TRIES = 3
export const MAX_TRIES = 1000
export const DEFAULT_LATER_MS = 5000
const MAX_LATER_MS = 3_600_000
const DEFAULT_TIMEOUT_MS = 5000
const MAX_TIMEOUT_MS = 60_000

/** What to prove, and how. */
export interface ProveOptions {
  /** Servers as `HOST`, `HOST:PORT` or `[IPV6]:PORT`; every address of a name is a server of its own. */
  readonly targets: readonly string[]
  /** Address that spreads connections over the servers; sessions are also made and offered through it. */
  readonly via?: string
  /** Server name (SNI) of all handshakes; the first target that is a name by default. */
  readonly serverName?: string
  /** Versions of TLS to try; both by default. */
  readonly tls?: readonly TlsVersion[]
  /** What is spoken before TLS; nothing by default. */
  readonly startTls?: StartTlsProtocol
  /** Certificate of the client, PEM, with `key`. */
  readonly cert?: string
  /** Key of the client's certificate, PEM. */
  readonly key?: string
  /** Authorities, PEM; with them, a certificate that they did not sign is a finding. It is not checked by default. */
  readonly ca?: string
  /** Sessions for each pair of servers and version of TLS, 1..1000; 3 by default. */
  readonly tries?: number
  /** Time in milliseconds after which sessions are offered again, 0..3,600,000; 5000 by default, 0 for never. */
  readonly laterMs?: number
  /** Longest time of one connection in milliseconds, 1..60,000; 5000 by default. */
  readonly timeoutMs?: number
  /** HTTP frontends of nodes, as `host:port`, `http://host:port` or `unix:/path`: they tell what they were asked. */
  readonly nodes?: readonly string[]
  /** Ends the run early: it then rejects with the reason. */
  readonly signal?: AbortSignal
  /** Called after each handshake with their number so far. */
  readonly onHandshake?: (count: number) => void
}

export interface ProveResult {
  /** Whether all sessions of usual clients resumed on all servers. */
  readonly isAllResumed: boolean
  /** Why not, and what else is wrong; the worst first. */
  readonly findings: readonly Finding[]
  readonly observations: Observations
}

/** What a test replaces. */
export interface ProveWorld {
  readonly clock: Clock
  readonly random: RandomSource
  readonly resolve: Resolve
}

const systemWorld: ProveWorld = { clock: systemClock, random: systemRandom, resolve: systemResolve }

/**
 * Makes TLS sessions on every server and offers them to every server, one connection at a time to each. Throws
 * ERR_USAGE or ERR_ADDRESS for wrong options, ERR_UNREACHABLE for a name without an address; a server or node that cannot
 * be reached is a finding.
 *
 * ```ts
 * const { isAllResumed, findings } = await prove({ targets: ['10.0.0.1', '10.0.0.2'], serverName: 'shop.example' })
 * assert.ok(isAllResumed, findings.map(({ cause, change }) => `${cause}: ${change}`).join('\n'))
 * ```
 */
export async function prove(
  options: ProveOptions,
  world: ProveWorld = systemWorld,
): Promise<ProveResult> {
  const {
    tries = DEFAULT_TRIES,
    laterMs = DEFAULT_LATER_MS,
    timeoutMs = DEFAULT_TIMEOUT_MS,
    tls = TLS_VERSIONS,
    startTls,
    via,
  } = options
  check(options)
  const targets = options.targets.map((target) => parseTarget(target, startTls))
  const balancers = via === undefined ? [] : [parseTarget(via, startTls)]
  const nodes = (options.nodes ?? []).map(parseNode)
  const servers = await resolveServers(targets, world.resolve)
  const [balancer] = await resolveServers(balancers, world.resolve)
  const { cert, key, ca } = options
  const serverName = options.serverName ?? serverNameOf([...targets, ...balancers])
  const nodesAway = new Set<string>()
  const noteAway = (message: string) => nodesAway.add(message)
  const readNodes = nodes.length === 0 ? undefined : createNodeReader(nodes, noteAway)
  const answers = await readNodes?.()
  const run = new Run({
    servers,
    balancer,
    versions: TLS_VERSIONS.filter((version) => tls.includes(version)),
    tries,
    laterMs,
    shakeHands: createClient(world.clock, { serverName, startTls, cert, key, ca, timeoutMs }),
    readNodes,
    nodes: answers?.filter((counts) => counts !== undefined).length ?? 0,
    nodesAway,
    clock: world.clock,
    random: world.random,
    signal: options.signal,
    onHandshake: options.onHandshake ?? (() => {}),
  })
  return resultOf(await run.observe())
}

/** The result of a run, without looking at anything else. */
export function resultOf(observations: Observations): ProveResult {
  return {
    isAllResumed: isAllResumed(observations),
    findings: findingsOf(observations),
    observations,
  }
}

function check(options: ProveOptions): void {
  const { targets, tls, startTls, cert, key, ca } = options
  if (targets.length === 0) throw usage('targets: name at least one server')
  checkNumber('tries', options.tries, 1, MAX_TRIES)
  checkNumber('laterMs', options.laterMs, 0, MAX_LATER_MS)
  checkNumber('timeoutMs', options.timeoutMs, 1, MAX_TIMEOUT_MS)
  if (tls !== undefined && (tls.length === 0 || !tls.every((one) => TLS_VERSIONS.includes(one)))) {
    throw usage(`tls: must be some of ${TLS_VERSIONS.join(' and ')}`)
  }
  if (startTls !== undefined && !STARTTLS_PROTOCOLS.includes(startTls)) {
    throw usage(`startTls: must be one of ${STARTTLS_PROTOCOLS.join(', ')}`)
  }
  if ((cert === undefined) !== (key === undefined)) {
    throw usage(
      'cert and key: a certificate of the client needs its key, and the key its certificate',
    )
  }
  for (const [name, pem] of Object.entries({ cert, key, ca })) {
    if (pem !== undefined && !pem.includes('-----BEGIN ')) throw usage(`${name}: must be PEM`)
  }
  checkPair(options)
}

/** Node would otherwise say it once for every handshake. */
function checkPair({ cert, key, ca }: ProveOptions): void {
  try {
    createSecureContext({ ...(cert && { cert }), ...(key && { key }), ...(ca && { ca }) })
  } catch (error) {
    throw usage(`cert, key and ca: ${messageOf(error)}`)
  }
}

function checkNumber(name: string, value: number | undefined, min: number, max: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= min && value <= max)) return
  throw usage(`${name}: must be a whole number, ${min}..${max}`)
}

function usage(message: string): TlscachedError {
  return new TlscachedError('ERR_USAGE', message)
}
