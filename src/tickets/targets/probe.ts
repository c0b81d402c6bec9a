// Asks a terminator for a real ticket, as a client would, and looks which key it was made with: the only proof that the
// terminator uses the keys that it was given.

import { formatAddress, type HostAddress } from '../../base/address.ts'
import { formatDurationMs } from '../../base/bytes.ts'
import { messageOf } from '../../base/errors.ts'
import type { Clock, Timer } from '../../base/world.ts'
import {
  createClient,
  HandshakeError,
  type ShakeHands,
  TLS_VERSIONS,
} from '../../tls-client/handshake.ts'
import type { TicketKeySource } from '../authority.ts'
import { originOf, type TicketOrigin } from '../layouts/opened-ticket.ts'
import type { TargetFailure } from './target.ts'

const FIRST_PROBE_MS = 1000
const LONGEST_PAUSE_MS = 60_000
const HANDSHAKE_TIMEOUT_MS = 3000

export interface TargetProbeOptions {
  readonly address: HostAddress
  readonly serverName?: string | undefined
  readonly source: TicketKeySource
  /** Time that the terminator has to take a key into use; until then another one is no failure. */
  readonly graceMs: number
  /** Whether only the name of the key counts, since the terminator is known to sign with other bytes, as Apache does. */
  readonly trustsName: boolean
  readonly clock: Clock
  readonly onFailure: (failure: TargetFailure) => void
  /** Makes the connection; a test gives its own. */
  readonly shakeHands?: ShakeHands
}

const SAID: Readonly<Record<Exclude<TicketOrigin, 'current'> | 'none', string>> = {
  next: 'makes tickets with a key whose turn has not come',
  previous: 'still makes tickets with a past key: it has not read the new ones',
  zero_mac: 'signs its tickets with a key of zeros, so that everybody can forge them',
  wrong_mac: 'uses the name of a key with other secrets',
  unknown: 'makes tickets with a key that is not of this group: it does not read the ticket keys',
  none: 'gives no tickets',
}

export class TargetProbe {
  /** Whether the last ticket was made with the current key; undefined before the first one. */
  isCurrent: boolean | undefined
  /** What is wrong now; undefined when nothing is. */
  problem: TargetFailure | undefined
  readonly #options: TargetProbeOptions
  readonly #shakeHands: ShakeHands
  #currentName: string | undefined
  #changedMs = 0
  #pauseMs = FIRST_PROBE_MS
  #isHasty = false
  #timer: Timer | undefined
  #running: Promise<void> | undefined
  #isStopped = false
  #unsubscribe = () => {}

  constructor(options: TargetProbeOptions) {
    const { clock, serverName } = options
    this.#options = options
    this.#shakeHands =
      options.shakeHands ?? createClient(clock, { serverName, timeoutMs: HANDSHAKE_TIMEOUT_MS })
  }

  start(): void {
    this.#unsubscribe = this.#options.source.onChange(() => this.soon())
    this.soon()
  }

  /** Looks again soon: the ring or the terminator has changed. */
  soon(): void {
    if (this.#isStopped) return
    this.#isHasty = true
    this.#arm()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#unsubscribe()
    this.#timer?.cancel()
    await this.#running
  }

  #arm(): void {
    this.#timer?.cancel()
    if (this.#isStopped || this.#running !== undefined) return
    if (this.#isHasty) this.#pauseMs = FIRST_PROBE_MS
    this.#timer = this.#options.clock.after(this.#pauseMs, () => {
      this.#isHasty = false
      this.#pauseMs = Math.min(2 * this.#pauseMs, LONGEST_PAUSE_MS)
      this.#running = this.#look()
        .catch((error: unknown) => this.#judge(messageOf(error)))
        .then(() => {
          this.#running = undefined
          this.#arm()
        })
    })
  }

  async #look(): Promise<void> {
    const { source } = this.#options
    if (source.view().current === undefined) return
    let tickets = 0
    for (const version of TLS_VERSIONS) {
      const ticket = await this.#ticketOf(version)
      if (ticket === 'no such version') continue
      // The ring as it is now: it may have changed while the ticket came.
      const isThere = ticket !== undefined && ticket.length > 0
      const origin = !isThere ? 'none' : originOf(ticket, source.view())
      const isNamed = origin === 'zero_mac' || origin === 'wrong_mac'
      const isTaken = origin === 'current' || (isNamed && this.#options.trustsName)
      if (!isTaken) return this.#judge(`${SAID[origin]} (TLS ${version})`)
      tickets += 1
    }
    if (tickets === 0) return this.#judge('speaks neither TLS 1.2 nor 1.3')
    this.#judge(undefined)
  }

  async #ticketOf(
    version: (typeof TLS_VERSIONS)[number],
  ): Promise<Buffer | undefined | 'no such version'> {
    try {
      const request = { version, takesTickets: true }
      const { session } = await this.#shakeHands(this.#options.address, request)
      return session?.ticket
    } catch (error) {
      if (error instanceof HandshakeError && error.failure === 'version') return 'no such version'
      throw error
    }
  }

  #judge(trouble: string | undefined): void {
    const { clock, source, graceMs, address, onFailure } = this.#options
    const nowMs = clock.monotonicMs()
    const currentName = source.view().current?.key.hexName
    if (currentName !== this.#currentName) {
      this.#currentName = currentName
      this.#changedMs = nowMs
    }
    if (trouble === undefined) {
      this.isCurrent = true
      this.problem = undefined
      // A ticket costs little, and says that it is still so.
      this.#pauseMs = LONGEST_PAUSE_MS
      return
    }
    if (nowMs - this.#changedMs < graceMs) return
    this.isCurrent = false
    const message = `${formatAddress(address)} ${trouble}; its keys came into use more than ${formatDurationMs(graceMs)} ago`
    this.problem = { reason: 'probe', message }
    onFailure(this.problem)
  }
}
