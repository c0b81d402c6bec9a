// Clients that come to either terminator of a pair, and come back at random to either with a ticket: each ticket within
// its lifetime must resume, and no ticket of a key that is gone.

import { systemClock } from '../../src/base/world.ts'
import { createClient, type ShakeHands, type TlsVersion } from '../../src/tls-client/handshake.ts'
import type { Terminator } from './terminators.ts'

/** A ticket needs so much of its lifetime to be offered. */
const OFFER_MS = 1500
/** With one key, how long both nodes must have agreed on it before the terminators must. */
const AGREED_MS = 18_000
const PAUSE_MS = 250
const OFFERS = 2
/** A client that is refused a connection tries again after this pause, so often at most. */
const AGAIN_PAUSE_MS = 100
const MOST_TRIES = 20

/** A ticket and where it comes from. */
interface Held {
  readonly session: Buffer
  readonly version: TlsVersion
  readonly madeOn: number
  readonly madeMs: number
  /** The key that the nodes said that it was made with; undefined while they changed. */
  readonly keyName: string | undefined
  /** The name at its beginning; undefined where the terminator draws one of its own. */
  readonly seenName: string | undefined
  readonly hasZeroMac: boolean
}

export interface Tally {
  full: number
  resumed: number
  /** Tickets of retired keys, and of those that a terminator with one key has no more: full handshakes, as must be. */
  refused: number
  /** Tickets that did not resume while `isExcused` said so. */
  excused: number
  /** Connections that were refused or cut and made again, as a client does. */
  again: number
  /** Most connections in a row that were refused or cut. */
  mostAgain: number
  readonly faults: string[]
}

export interface ClientOptions {
  readonly pair: readonly [Terminator, Terminator]
  readonly lifetimeMs: number
  /** Real time after which a key that was in use is gone from everywhere. */
  readonly goneMs: number
  /** The key that both nodes mint, and since when in real time; undefined while they do not agree. */
  readonly agreed: () => { readonly name: string; readonly sinceMs: number } | undefined
  /** The name of the key that signed a ticket: tickets of Go 1.21 and later show none. */
  readonly signerOf?: (ticket: Buffer) => string | undefined
  /** Whether a ticket of this key may be a full handshake at this moment, as while the network is cut; default: never. */
  readonly isExcused?: (keyName: string | undefined) => boolean
  /** What a terminator of the pair and the node beside it hold now, without secrets, for the text of a fault. */
  readonly stateOf?: (member: number) => Promise<string>
  readonly random: () => number
}

export class ReturningClients {
  readonly tally: Tally = {
    ...{ full: 0, resumed: 0, refused: 0, excused: 0, again: 0, mostAgain: 0 },
    faults: [],
  }
  readonly #options: ClientOptions
  readonly #connect = createClient(systemClock, { serverName: 'localhost', timeoutMs: 5000 })
  #held: Held[] = []
  /** The last ticket of each key, kept until the key is gone. */
  readonly #lasts = new Map<string, Held>()
  readonly #keyNames = new Set<string>()
  #count = 0

  constructor(options: ClientOptions) {
    this.#options = options
  }

  /** How many keys tickets were made with. */
  get keyCount(): number {
    return this.#keyNames.size
  }

  async run(until: () => boolean): Promise<void> {
    while (!until()) {
      try {
        await this.#round()
      } catch (error) {
        this.tally.faults.push(String(error))
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
    }
  }

  async #round(): Promise<void> {
    const { pair, lifetimeMs } = this.#options
    const nowMs = performance.now()
    this.#held = this.#held.filter(({ madeMs }) => nowMs - madeMs < lifetimeMs - OFFER_MS)
    this.#count += 1
    const versions = pair[0].kind.versions
    await this.#make(this.#pick(), versions[this.#count % versions.length] ?? '1.3')
    for (let index = 0; index < OFFERS; index += 1) {
      const held = this.#held[Math.floor(this.#options.random() * this.#held.length)]
      if (held !== undefined) await this.#offer(held, this.#pick())
    }
    for (const [keyName, held] of this.#lasts) {
      if (performance.now() - held.madeMs < this.#options.goneMs) continue
      this.#lasts.delete(keyName)
      if (await this.#isResumed(held, this.#pick())) {
        this.tally.faults.push(`a ticket of the retired key ${keyName.slice(0, 8)} resumed`)
      } else this.tally.refused += 1
    }
  }

  async #make(member: number, version: TlsVersion): Promise<void> {
    const address = { host: '127.0.0.1', port: this.#options.pair[member]?.place.port ?? 0 }
    const before = this.#settledName()
    const { session } = await this.#shakeHands(address, { version, takesTickets: true })
    if (session === undefined || session.ticket.length === 0) {
      this.tally.faults.push(`TLS ${version}: ${member} gave no ticket`)
      return
    }
    this.tally.full += 1
    const after = this.#settledName()
    const keyName = before === after ? after : undefined
    // stunnel draws a name for itself.
    const isNamed = this.#options.pair[0].kind.keysHeld > 1
    const shownName = this.#options.signerOf?.(session.ticket) ?? session.keyName
    const seenName = isNamed ? shownName : undefined
    const { bytes, hasZeroMac } = session
    const held: Held = {
      ...{ session: bytes, version, madeOn: member, keyName, seenName, hasZeroMac },
      madeMs: performance.now(),
    }
    this.#held.push(held)
    const name = isNamed ? seenName : keyName
    if (name === undefined) return
    this.#keyNames.add(name)
    this.#lasts.set(name, held)
  }

  async #offer(held: Held, member: number): Promise<void> {
    const { keysHeld } = this.#options.pair[0].kind
    const before = this.#settledName()
    const isResumed = await this.#isResumed(held, member)
    const ageMs = performance.now() - held.madeMs
    if (keysHeld === 1) {
      const name = this.#settledName()
      if (name === undefined || name !== before || held.keyName === undefined) return
      const mustResume = name === held.keyName
      if (mustResume && !isResumed && this.#options.pair[0].kind.isErratic === true) return
      if (mustResume === isResumed) {
        this.tally[isResumed ? 'resumed' : 'refused'] += 1
        return
      }
      const what = isResumed ? 'resumed under an old key' : 'did not resume'
      await this.#blame(held, member, ageMs, what)
      return
    }
    if (isResumed) this.tally.resumed += 1
    else if (this.#options.isExcused?.(held.seenName) === true) this.tally.excused += 1
    else await this.#blame(held, member, ageMs, 'did not resume')
  }

  async #blame(
    { version, madeOn, seenName, hasZeroMac }: Held,
    member: number,
    ageMs: number,
    what: string,
  ): Promise<void> {
    const age = `${(ageMs / 1000).toFixed(1)} s old`
    const sinceMs = performance.now() - (this.#options.agreed()?.sinceMs ?? 0)
    const since = `${(sinceMs / 1000).toFixed(1)} s after a change`
    const key = seenName === undefined ? '' : ` under ${seenName.slice(0, 8)}`
    const { stateOf } = this.#options
    const fault = `TLS ${version}: a ticket of ${madeOn}${key}, ${age}, ${what} on ${member}, ${since}${hasZeroMac ? ', signed with zeros' : ''}`
    const state = (await stateOf?.(member).catch(String)) ?? ''
    this.tally.faults.push(state === '' ? fault : `${fault}; ${state}`)
  }

  async #isResumed({ session, version }: Held, member: number): Promise<boolean> {
    const address = { host: '127.0.0.1', port: this.#options.pair[member]?.place.port ?? 0 }
    const request = { version, takesTickets: true, session }
    return (await this.#shakeHands(address, request)).isResumed
  }

  /** Makes a connection, as a client does that tries again when it is refused one. */
  async #shakeHands(...args: Parameters<ShakeHands>): ReturnType<ShakeHands> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#connect(...args)
      } catch (error) {
        const isAgain = /ECONNRE/.test(String(error)) && tries < MOST_TRIES
        if (!isAgain) throw error
        this.tally.again += 1
        this.tally.mostAgain = Math.max(this.tally.mostAgain, tries)
        await new Promise((resolve) => setTimeout(resolve, AGAIN_PAUSE_MS))
      }
    }
  }

  /** The key of both nodes once it has been so for a while. */
  #settledName(): string | undefined {
    const agreed = this.#options.agreed()
    return agreed !== undefined && performance.now() - agreed.sinceMs > AGREED_MS
      ? agreed.name
      : undefined
  }

  #pick(): number {
    return this.#options.random() < 0.5 ? 0 : 1
  }
}
