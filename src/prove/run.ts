// One run of prove: makes sessions on every server, offers them to every server, at once and again later, then through
// the balancer; where one does not resume, it asks the nodes what they saw. No server ever has two connections of it.

import type { Clock, RandomSource } from '../base/world.ts'
import type { Mechanism } from '../tls-client/client-session.ts'
import {
  type Handshake,
  HandshakeError,
  type ShakeHands,
  type TlsVersion,
} from '../tls-client/handshake.ts'
import {
  changeOf,
  isPut,
  isSettled,
  isStored,
  leastOf,
  type ReadCounts,
  type ReadNodes,
} from './node-counters.ts'
import {
  type BalancerRow,
  type Cell,
  isSameKind,
  type Kind,
  mechanismOf,
  newSource,
  newTally,
  note,
  type Observations,
  type Question,
  type Source,
  sourceOf,
  type Tally,
} from './observations.ts'
import type { Server } from './targets.ts'

export interface RunParts {
  readonly servers: readonly Server[]
  readonly balancer: Server | undefined
  readonly versions: readonly TlsVersion[]
  /** Sessions in each cell of the matrix. */
  readonly tries: number
  /** Time after which sessions are offered again; 0 for never. */
  readonly laterMs: number
  readonly shakeHands: ShakeHands
  readonly readNodes: ReadNodes | undefined
  /** How many of the nodes answered. */
  readonly nodes: number
  /** What was wrong with nodes that did not answer; more may come during the run. */
  readonly nodesAway: ReadonlySet<string>
  readonly clock: Clock
  readonly random: RandomSource
  readonly signal: AbortSignal | undefined
  /** Called after each handshake with their number so far. */
  readonly onHandshake: (count: number) => void
}

/** Time that a cluster gets to pass a session on, before it is offered for the first time. */
const SETTLE_MS = 200
/** Longest time in which a node must have counted a put; its peers have SETTLE_MS after that. */
const MAX_PUT_MS = 1000
/** How often they are asked meanwhile. */
const POLL_MS = 20
/** Time that counters of nodes get, which count a lookup before its handshake ends. */
const COUNTED_MS = 50
/** Sessions through the balancer, for each of `tries`: servers behind it are chosen by chance. */
const BALANCER_FACTOR = 4
/** Most cells for which nodes are asked: causes repeat themselves. */
const MAX_QUESTIONS = 16
/** How often the nodes are asked for one cell; other clients are unlikely to add to each. */
const QUESTION_TRIES = 3
/** Mechanisms by which a server asks a cache. */
const CACHED: readonly Mechanism[] = ['session_id', 'stateful_ticket']

/** Sessions of one kind that one server made. */
type Pool = Buffer[]

export class Run {
  readonly #parts: RunParts
  readonly #sources: Source[][]
  /** `pools[server]` by kind, in the order of `#kinds`. */
  readonly #pools = new Map<Source, Pool>()
  readonly #cells: Cell[] = []
  readonly #fullMs: number[] = []
  readonly #resumedMs: number[] = []
  #handshakes = 0

  constructor(parts: RunParts) {
    this.#parts = parts
    this.#sources = parts.servers.map(() => [])
  }

  async observe(): Promise<Observations> {
    const { servers, laterMs, clock, balancer, nodes, nodesAway } = this.#parts
    await this.#makeAll()
    const madeMs = clock.monotonicMs()
    this.#layOut()
    await this.#wait(SETTLE_MS)
    await this.#offerAll('soon')
    const rows = balancer === undefined ? undefined : await this.#goThrough(balancer)
    if (laterMs > 0) {
      await this.#wait(madeMs + laterMs - clock.monotonicMs())
      await this.#offerAll('later')
    }
    const questions = await this.#askNodes()
    return {
      servers: servers.map(({ name }) => name),
      laterMs,
      sources: this.#sources,
      cells: this.#cells,
      balancer: balancer && rows && { name: balancer.name, rows },
      nodes,
      nodesAway: [...nodesAway],
      questions,
      fullMs: this.#fullMs,
      resumedMs: this.#resumedMs,
    }
  }

  async #makeAll(): Promise<void> {
    for (const version of this.#parts.versions) {
      await this.#makeOnEach({ version, client: 'usual' })
      const isTicketed = this.#sources.flat().some((source) => source.mechanisms.has('ticket'))
      // Without tickets in use, a client that knows none makes no difference.
      if (version === '1.2' && isTicketed) await this.#makeOnEach({ version, client: 'no_tickets' })
    }
  }

  async #makeOnEach(kind: Kind): Promise<void> {
    await this.#inLanes(async (server, index) => {
      const source = newSource(kind)
      const pool: Pool = []
      this.#sources[index]?.push(source)
      this.#pools.set(source, pool)
      for (let count = 0; count < this.#sessionsOf(kind); count += 1) {
        const handshake = await this.#make(server, source)
        if (handshake?.session === undefined) return
        pool.push(handshake.session.bytes)
        if (handshake.session.mechanism === 'none') return
      }
    })
  }

  /** A session of TLS 1.3 is used once, as clients should; one of TLS 1.2 is offered to every server. */
  #sessionsOf({ version }: Kind): number {
    const { tries, laterMs, servers } = this.#parts
    return version === '1.2' ? tries : tries * servers.length * (laterMs > 0 ? 2 : 1)
  }

  /** A full handshake; undefined when it failed, which the source then says. */
  async #make(server: Server, source: Source): Promise<Handshake | undefined> {
    const handshake = await this.#try(server, source.kind, undefined)
    if (handshake instanceof HandshakeError) {
      source.failure ??= { reason: handshake.failure, message: handshake.message }
      return undefined
    }
    note(source, handshake)
    this.#fullMs.push(handshake.durationMs)
    return handshake
  }

  /** The cells: what was made, offered to every server that speaks the version. */
  #layOut(): void {
    for (const [madeOn, sources] of this.#sources.entries()) {
      for (const { kind, mechanisms } of sources) {
        if (mechanisms.size === 0 || mechanisms.has('none')) continue
        for (const [offeredTo, others] of this.#sources.entries()) {
          if (sourceOf(others, kind)?.failure !== undefined) continue
          this.#cells.push({ kind, madeOn, offeredTo, soon: newTally(), later: newTally() })
        }
      }
    }
  }

  async #offerAll(when: 'soon' | 'later'): Promise<void> {
    await this.#inLanes(async (server, index) => {
      const { tries } = this.#parts
      const offers = this.#cells
        .filter(({ offeredTo }) => offeredTo === index)
        .flatMap((cell) => Array.from({ length: tries }, (_, number) => ({ cell, number })))
      // In turn, several servers behind one address could each meet its own sessions only, or never.
      for (const { cell, number } of this.#shuffled(offers)) {
        if (cell[when].failed > 0) continue
        const session = this.#takeSession(cell, number)
        if (session !== undefined) await this.#offer(server, cell.kind, session, cell[when])
      }
    })
  }

  #takeSession({ kind, madeOn }: Cell, number: number): Buffer | undefined {
    const source = sourceOf(this.#sources[madeOn] ?? [], kind)
    const pool = source && this.#pools.get(source)
    return kind.version === '1.2' ? pool?.[number] : pool?.shift()
  }

  async #offer(server: Server, kind: Kind, session: Buffer, tally: Tally): Promise<boolean> {
    const handshake = await this.#try(server, kind, session)
    tally.offered += 1
    if (handshake instanceof HandshakeError) {
      tally.failed += 1
      return false
    }
    if (!handshake.isResumed) return false
    tally.resumed += 1
    this.#resumedMs.push(handshake.durationMs)
    return true
  }

  /** Makes and offers in an order by chance, so that servers taken in turn are all met. */
  async #goThrough(balancer: Server): Promise<readonly BalancerRow[]> {
    const rows: BalancerRow[] = []
    for (const version of this.#parts.versions) {
      const source = newSource({ version, client: 'usual' })
      const tally = newTally()
      rows.push({ source, tally })
      const made: Buffer[] = []
      let left = this.#parts.tries * BALANCER_FACTOR
      while (left > 0 || made.length > 0) {
        const isOffer = made.length > 0 && (left === 0 || this.#below(2) === 0)
        if (isOffer) {
          const [session] = made.splice(this.#below(made.length), 1)
          if (session !== undefined) await this.#offer(balancer, source.kind, session, tally)
          if (tally.failed > 0) break
          continue
        }
        left -= 1
        const session = (await this.#make(balancer, source))?.session
        if (session === undefined || session.mechanism === 'none') break
        made.push(session.bytes)
      }
    }
    return rows
  }

  async #askNodes(): Promise<readonly Question[]> {
    const { readNodes, nodes } = this.#parts
    if (readNodes === undefined || nodes === 0) return []
    const failing = this.#cells.filter(({ kind, madeOn, soon }) => {
      const source = sourceOf(this.#sources[madeOn] ?? [], kind)
      const isCached = source !== undefined && CACHED.includes(mechanismOf(source))
      return isCached && soon.resumed < soon.offered
    })
    const questions: Question[] = []
    for (const cell of failing.slice(0, MAX_QUESTIONS)) {
      const known = questions.find(
        (one) => one.madeOn === cell.madeOn && isSameKind(one.kind, cell.kind),
      )
      // What no node holds, no server can get: the same for every server that it is offered to.
      const question =
        known !== undefined && !this.#isStored(known)
          ? { ...known, offeredTo: cell.offeredTo }
          : await this.#ask(cell, readNodes)
      if (question !== undefined) questions.push(question)
    }
    return questions
  }

  /** Makes and offers sessions while nobody else of this run does; undefined when handshakes fail. */
  async #ask(
    { kind, madeOn, offeredTo }: Cell,
    readNodes: ReadNodes,
  ): Promise<Question | undefined> {
    const [maker, taker] = [this.#parts.servers[madeOn], this.#parts.servers[offeredTo]]
    if (maker === undefined || taker === undefined) return undefined
    let question: Question | undefined
    for (let count = 0; count < QUESTION_TRIES; count += 1) {
      const before = await readNodes()
      const made = await this.#try(maker, kind, undefined)
      const between = await this.#readSettled(before, readNodes)
      if (made instanceof HandshakeError || made.session === undefined) return question
      const offered = await this.#try(taker, kind, made.session.bytes)
      await this.#wait(COUNTED_MS)
      const whileMade = changeOf(before, between)
      const whileOffered = changeOf(between, await readNodes())
      question = {
        kind,
        madeOn,
        offeredTo,
        whileMade: question ? leastOf(question.whileMade, whileMade) : whileMade,
        whileOffered: question ? leastOf(question.whileOffered, whileOffered) : whileOffered,
        isResumed:
          (question?.isResumed ?? true) &&
          !(offered instanceof HandshakeError) &&
          offered.isResumed,
      }
      // Another try can only lower what was counted.
      if (!this.#isStored(question)) return question
    }
    return question
  }

  #isStored({ whileMade }: Question): boolean {
    return isStored(whileMade, this.#parts.nodes, this.#parts.servers.length)
  }

  /** Reads the nodes when one has counted a put, and the others what they did with it, or their time is over. */
  async #readSettled(before: ReadCounts, readNodes: ReadNodes): Promise<ReadCounts> {
    const { clock, nodes } = this.#parts
    const startMs = clock.monotonicMs()
    let putMs = Number.POSITIVE_INFINITY
    for (;;) {
      const now = await readNodes()
      const change = changeOf(before, now)
      const nowMs = clock.monotonicMs()
      if (isPut(change)) putMs = Math.min(putMs, nowMs)
      const isLate = nowMs > Math.min(startMs + MAX_PUT_MS, putMs + SETTLE_MS)
      if (isLate || isSettled(change, nodes)) return now
      await this.#wait(POLL_MS)
    }
  }

  async #try(
    { address }: Server,
    { version, client }: Kind,
    session: Buffer | undefined,
  ): Promise<Handshake | HandshakeError> {
    this.#parts.signal?.throwIfAborted()
    const request = { version, takesTickets: client === 'usual', ...(session && { session }) }
    try {
      return await this.#parts.shakeHands(address, request)
    } catch (error) {
      if (error instanceof HandshakeError) return error
      throw error
    } finally {
      this.#handshakes += 1
      this.#parts.onHandshake(this.#handshakes)
    }
  }

  /** Works on all servers at the same time, on each one step after the other. */
  async #inLanes(work: (server: Server, index: number) => Promise<void>): Promise<void> {
    await Promise.all(this.#parts.servers.map(work))
  }

  async #wait(durationMs: number): Promise<void> {
    this.#parts.signal?.throwIfAborted()
    await new Promise<void>((resolve) => this.#parts.clock.after(durationMs, resolve))
  }

  #shuffled<T>(items: readonly T[]): T[] {
    const left = [...items]
    return items.flatMap(() => left.splice(this.#below(left.length), 1))
  }

  /** A random whole number, 0..count - 1. */
  #below(count: number): number {
    return this.#parts.random(4).readUInt32BE() % count
  }
}
