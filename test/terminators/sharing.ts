// Many handshakes with one pair of terminators: sessions made at one, offered to another, and counted.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { askCaches } from '../../src/cli/stats.ts'
import { until } from '../support/latch.ts'
import { clientCertificateArgs } from './certificates.ts'
import type { NodeHolder } from './host.ts'
import type { SharingService, TerminatorKind } from './kind.ts'
import { connect, type Handshake, type TlsVersion } from './s-client.ts'
import { waitedMs } from './waiting.ts'

/** OpenSSL's servers hand out one session in TLS 1.2 and two in TLS 1.3. */
const MADE_PER_HANDSHAKE: Record<TlsVersion, number> = { tls1_2: 1, tls1_3: 2 }

export interface Offer extends Handshake {
  /** How long the machine kept the node from running, of the time that it took. */
  readonly waitedMs: number
}

/** Files of sessions that a client has. */
export type Sessions = readonly string[]

export class Client {
  readonly #folder: string
  readonly #kind: TerminatorKind
  readonly #version: TlsVersion
  #batches = 0

  constructor(folder: string, kind: TerminatorKind, version: TlsVersion) {
    this.#folder = folder
    this.#kind = kind
    this.#version = version
  }

  /** Full handshakes at `service`; resolves when both nodes hold what they made. */
  async make(
    service: SharingService,
    peer: NodeHolder,
    certified: boolean,
    count = this.#kind.sessions,
    clientArgs: readonly string[] = [],
  ): Promise<Sessions> {
    this.#batches += 1
    const files = Array.from({ length: count }, (_value, index) =>
      join(this.#folder, `${this.#version}-${this.#batches}-${index}.pem`),
    )
    const stored = await storedOn(service.node)
    const applied = await appliedOn(peer)
    const made = await this.#connectAll(
      service,
      files.map((file) => [...clientArgs, '-sess_out', file]),
      certified,
    )
    assertAll(made, 'New')
    const more = count * MADE_PER_HANDSHAKE[this.#version]
    await until(`the node stored ${more} sessions and its peer has them`, async () => {
      const isStored = (await storedOn(service.node)) >= stored + more
      return isStored && (await appliedOn(peer)) >= applied + more
    })
    return files
  }

  /** One handshake with each of the sessions. */
  offer(
    service: SharingService,
    sessions: Sessions,
    certified: boolean,
    clientArgs: readonly string[] = [],
  ): Promise<Offer[]> {
    const args = sessions.map((file) => [...clientArgs, '-sess_in', file])
    return this.#connectAll(service, args, certified)
  }

  /** Handshakes without a session, for comparison. */
  greet(service: SharingService): Promise<Offer[]> {
    return this.#connectAll(
      service,
      Array.from({ length: this.#kind.sessions }, () => []),
      false,
    )
  }

  async #connectAll(
    service: SharingService,
    all: readonly (readonly string[])[],
    certified: boolean,
  ): Promise<Offer[]> {
    const { clientArgs = [], clientCertificate = 'usual', concurrency } = this.#kind
    const certificate = certified ? clientCertificateArgs(this.#folder, clientCertificate) : []
    const results: Offer[] = []
    const left = all.entries()
    const work = async () => {
      for (const [index, args] of left) {
        const whole = [...clientArgs, ...certificate, ...args]
        const { pid } = service.node
        const beforeMs = pid === undefined ? 0 : waitedMs(pid)
        const handshake = await connect(service, this.#version, whole)
        const afterMs = pid === undefined ? 0 : waitedMs(pid)
        results[index] = { ...handshake, waitedMs: afterMs - beforeMs }
      }
    }
    await Promise.all(Array.from({ length: concurrency }, work))
    return results
  }
}

export function countOf(handshakes: readonly Handshake[], verdict: Handshake['verdict']): number {
  return handshakes.filter((one) => one.verdict === verdict && one.status === 200).length
}

/** Every handshake has this verdict and got its answer. */
export function assertAll(handshakes: readonly Handshake[], verdict: 'New' | 'Reused'): void {
  const other = handshakes.find((one) => one.verdict !== verdict || one.status !== 200)
  assert.ok(other === undefined, `not ${verdict}: ${other?.said}`)
}

export function medianMs(handshakes: readonly Handshake[]): number {
  const sorted = handshakes.map(({ durationMs }) => durationMs).sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? 0
}

export function slowestMs(handshakes: readonly Handshake[]): number {
  return Math.max(...handshakes.map(({ durationMs }) => durationMs))
}

/** Sessions that came from the terminator beside the node. */
async function storedOn({ http }: NodeHolder): Promise<number> {
  const [cache] = (await askCaches(http)).caches
  return cache?.puts['stored'] ?? 0
}

/** Sessions that came from its peer. */
async function appliedOn({ http }: NodeHolder): Promise<number> {
  const [cache] = (await askCaches(http)).caches
  return cache?.applied['applied'] ?? 0
}
