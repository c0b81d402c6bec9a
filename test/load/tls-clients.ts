// TLS clients that connect again and again, each offering the session it got last: counts how that went.

import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls'
import type { HostAddress } from '../../src/base/address.ts'
import { codeOf, messageOf } from '../../src/base/errors.ts'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'

export type Version = '1.2' | '1.3'

export interface Tally {
  /** Handshakes done. */
  handshakes: number
  /** Handshakes of clients that had no session to offer yet. */
  first: number
  /** Handshakes made while the node ran that offered a session which was also made while it ran. */
  offered: number
  resumed: number
  /** Those that did not resume although they should have: when they began. */
  readonly missedAtMs: number[]
  /** Handshakes while the node was away, or with a session from then, and those of them that resumed. */
  away: number
  awayResumed: number
  /** By code. */
  readonly failures: Map<string, number>
  /** How long handshakes took. */
  readonly durationsMs: number[]
}

export function createTally(): Tally {
  return {
    handshakes: 0,
    first: 0,
    offered: 0,
    resumed: 0,
    missedAtMs: [],
    away: 0,
    awayResumed: 0,
    failures: new Map(),
    durationsMs: [],
  }
}

export interface ClientsOptions {
  readonly target: HostAddress
  readonly clients: number
  /** Half of the clients speak each. */
  readonly versions: readonly Version[]
  readonly pauseMs: number
  readonly isOver: (tallies: ReadonlyMap<Version, Tally>) => boolean
  /** Whether the node was away at some time since then. */
  readonly wasAwaySince: (ms: number) => boolean
}

interface ClientKind {
  readonly version: Version
  readonly context: SecureContext | undefined
}

interface Made {
  readonly session: Buffer
  /** Began and ended while the node was there. */
  readonly isSound: boolean
}

/** Resolves when it is over and the last connection has ended. */
export async function runClients(options: ClientsOptions): Promise<Map<Version, Tally>> {
  const tallies = new Map(options.versions.map((version) => [version, createTally()]))
  // Shared, since reading a certificate takes a client longer than a handshake.
  const contexts = new Map(options.versions.map((version) => [version, contextOf(version)]))
  const runs = Array.from({ length: options.clients }, async (_, index) => {
    const version = options.versions[index % options.versions.length] ?? '1.3'
    const tally = tallies.get(version) ?? createTally()
    // Not all at the same moment.
    await pause((options.pauseMs * index) / options.clients)
    let made: Made | undefined
    while (!options.isOver(tallies)) {
      made = await connectOnce(options, { version, context: contexts.get(version) }, tally, made)
      await pause(options.pauseMs)
    }
  })
  await Promise.all(runs)
  return tallies
}

async function connectOnce(
  options: ClientsOptions,
  kind: ClientKind,
  tally: Tally,
  offered: Made | undefined,
): Promise<Made | undefined> {
  const beganMs = performance.now()
  try {
    const { isReused, session, durationMs } = await exchange(options.target, kind, offered)
    const isSound = !options.wasAwaySince(beganMs)
    tally.handshakes += 1
    tally.durationsMs.push(durationMs)
    if (offered === undefined) tally.first += 1
    else if (isSound && offered.isSound) {
      tally.offered += 1
      if (isReused) tally.resumed += 1
      else tally.missedAtMs.push(beganMs)
    } else {
      tally.away += 1
      if (isReused) tally.awayResumed += 1
    }
    if (session === undefined) return offered
    // In TLS 1.2 a resumed session is the same one: as sound as it was, or now known to be stored.
    const isSame = kind.version === '1.2' && isReused
    return { session, isSound: isSound || (isSame && (offered?.isSound ?? false)) }
  } catch (error) {
    const code = codeOf(error) ?? messageOf(error)
    tally.failures.set(code, (tally.failures.get(code) ?? 0) + 1)
    return offered
  }
}

const REQUEST = 'ping'
const LIMIT_MS = 20_000

interface Exchange {
  readonly isReused: boolean
  readonly session: Buffer | undefined
  readonly durationMs: number
}

/** A handshake, and one answer of the backend, which comes behind the sessions of TLS 1.3. */
function exchange(
  target: HostAddress,
  { context }: ClientKind,
  offered: Made | undefined,
): Promise<Exchange> {
  return new Promise((resolve, reject) => {
    const startMs = performance.now()
    let session: Buffer | undefined
    let durationMs = 0
    let isReused = false
    const socket: TLSSocket = connect({
      ...target,
      servername: 'localhost',
      ...(context !== undefined && { secureContext: context }),
      ...(offered !== undefined && { session: offered.session }),
    })
    socket.setNoDelay(true)
    socket.setTimeout(LIMIT_MS, () => socket.destroy(new Error('no answer in time')))
    socket.on('session', (bytes: Buffer) => {
      session = bytes
    })
    socket.on('secureConnect', () => {
      durationMs = performance.now() - startMs
      isReused = socket.isSessionReused()
      socket.write(REQUEST)
    })
    let received = ''
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString()
      if (received.length >= REQUEST.length) socket.end()
    })
    socket.on('error', reject)
    socket.on('close', () => {
      if (received === REQUEST) resolve({ isReused, session, durationMs })
      else reject(new Error('closed before the answer'))
    })
  })
}

function contextOf(version: Version): SecureContext {
  const { cert: ca } = DEMO_CERTIFICATE
  return createSecureContext({ ca, minVersion: `TLSv${version}`, maxVersion: `TLSv${version}` })
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
