// A simulated cluster of nodes with rings and terminators: loss, partitions, restarts, pauses, wrong and jumping clocks,
// late terminators. Time moves in steps of a second; everything random comes from the seed. After every step it checks
// what must always hold, by the real time that no node knows.

import { TicketRing } from '../../src/tickets/ring.ts'
import { openedKeys } from '../../src/tickets/rule.ts'
import { type RingTimes, ringTimes } from '../../src/tickets/times.ts'
import type { RingOffer } from '../../src/wire/ring-message.ts'
import { seededBytes } from '../support/seeded-random.ts'
import { type Arrival, ageOf, fastNumbers, type Host, noteAge, type Ticket } from './ring-host.ts'
import { type Fault, type Findings, noFindings, type Scenario } from './ring-scenarios.ts'

const GREETING_SEC = 3
const COMPARISON_SEC = 30
/** How long a node asks its peers before it makes a key: after its start, and after it slept. */
const START_ASKING_SEC = 2
const DOUBT_ASKING_SEC = 4
const CHECK_SEC = 13
const SAMPLED_TICKETS = 12
const MAX_AGE_MS = 2 ** 32 - 1

export class RingCluster {
  readonly findings: Findings = noFindings()
  readonly #scenario: Scenario
  readonly #fault: Fault | undefined
  readonly #times: RingTimes
  /** Times of the right rule: the bounds that are checked, also where the rule has a fault. */
  readonly #openSec: number
  readonly #seed: string
  readonly #random: () => number
  #nowSec = 0
  #healSec = 0
  readonly #hosts: Host[]
  /** Since when two hosts reach each other without a break, by index of both. */
  readonly #connectedSec: number[][]
  #tickets: Ticket[] = []
  readonly #arriving: Arrival[] = []
  /** When each key was really made. */
  readonly #bornSec = new Map<string, number>()

  constructor(scenario: Scenario, seed: number, fault?: Fault) {
    this.#scenario = scenario
    this.#fault = fault
    this.#seed = `${scenario.name} ${seed}`
    this.#random = fastNumbers(seededBytes(this.#seed)(4).readUInt32BE(0))
    const { rotateSec, waitSec, lifetimeSec, terminatorSec } = scenario
    const settings = {
      name: 'www',
      rotateMs: rotateSec * 1000,
      waitMs: waitSec * 1000,
      lifetimeMs: lifetimeSec * 1000,
    }
    const times = ringTimes(settings, [{ kind: 'sim', pollMs: terminatorSec * 1000, keysHeld: 16 }])
    this.#openSec = times.openMs / 1000
    this.#times = {
      ...times,
      ...(fault === 'newest at once' ? { waitMs: 0, settleMs: 0 } : {}),
      ...(fault === 'no memory' ? { rememberMs: 0 } : {}),
    }
    this.#hosts = Array.from({ length: scenario.nodes }, (_, index) => this.#createHost(index))
    this.#connectedSec = this.#hosts.map(() => this.#hosts.map(() => 0))
  }

  /** Runs for a number of rotations. */
  run(rotations: number): Findings {
    const endSec = this.#nowSec + rotations * this.#scenario.rotateSec
    for (; this.#nowSec < endSec; this.#nowSec += 1) this.#step()
    for (const { ring } of this.#hosts) this.findings.keysMade += ring.stats.madeHere
    return this.findings
  }

  #createHost(index: number): Host {
    const latestSec = this.#scenario.startsTogether === true ? 0 : 300
    const host: Host = {
      index,
      ring: this.#createRing(index, 0),
      terminator: { current: undefined, opened: new Set(), coming: [] },
      boot: 0,
      startedAwakeSec: 0,
      downUntilSec: Math.floor(this.#random() * latestSec),
      pausedUntilSec: -1,
      sleptSec: 0,
      askUntilSec: 0,
      monotonicMs: this.#random() * 1e8,
      drift: (this.#random() - 0.5) * 2e-4,
      wallSkewMs: (this.#random() - 0.5) * 4 * 3_600_000,
      side: 0,
      names: '',
      nextChangeMs: Number.NEGATIVE_INFINITY,
      awakeSec: 0,
      born: new Map(),
    }
    return host
  }

  #createRing(index: number, boot: number): TicketRing {
    return new TicketRing({
      group: 'www',
      times: this.#times,
      nodeId: Buffer.from(`node-${index}`),
      random: seededBytes(`${this.#seed} ${index} ${boot}`),
    })
  }

  #step(): void {
    this.#disturb()
    this.#updateConnections()
    for (const host of this.#hosts) {
      if (host.sleptSec > 0 && this.#isRunning(host)) this.#noticeSleep(host)
    }
    for (const { to, boot, offer, ages } of this.#arriving.splice(0)) {
      if (!this.#isRunning(to) || to.boot !== boot) continue
      for (const [key, ageSec] of ages) noteAge(to, key, ageSec)
      if (to.ring.merge(this.#clockOf(to), offer)) this.#refresh(to)
    }
    for (const host of this.#hosts) if (this.#isRunning(host)) this.#runHost(host)
    if (this.#nowSec % CHECK_SEC === 0) this.#check()
  }

  // What goes wrong

  #disturb(): void {
    const { partitionSec, restartSec, pauseSec, clockJumpSec } = this.#scenario
    if (this.#nowSec >= this.#healSec && this.#healSec > 0) {
      this.#healSec = 0
      for (const host of this.#hosts) host.side = 0
    }
    if (this.#happens(partitionSec) && this.#healSec === 0) {
      this.#healSec = this.#nowSec + 5 + Math.floor(this.#random() ** 2 * 14_400)
      for (const host of this.#hosts) host.side = Math.floor(this.#random() * 2)
    }
    if (this.#happens(restartSec)) {
      const host = this.#pick()
      host.ring.close()
      host.downUntilSec = this.#nowSec + 1 + Math.floor(this.#random() * 120)
    }
    if (this.#happens(pauseSec)) {
      const host = this.#pick()
      host.pausedUntilSec = this.#nowSec + 1 + Math.floor(this.#random() ** 2 * 7200)
    }
    if (this.#happens(clockJumpSec)) {
      const host = this.#pick()
      const jumpMs = (this.#random() - 0.5) * 2 * 86_400_000
      host.wallSkewMs += jumpMs
      // To the node this looks like a pause.
      host.sleptSec += Math.max(0, jumpMs / 1000)
    }
    for (const host of this.#hosts) {
      // The monotonic clock of a suspended machine stands still; the time of day is right again when it goes on.
      if (host.pausedUntilSec >= this.#nowSec) host.sleptSec += 1
      else {
        host.monotonicMs += 1000 * (1 + host.drift)
        host.awakeSec += 1
      }
      if (host.downUntilSec >= 0 && host.downUntilSec <= this.#nowSec) this.#start(host)
    }
  }

  #start(host: Host): void {
    host.downUntilSec = -1
    host.boot += 1
    host.startedAwakeSec = host.awakeSec
    host.sleptSec = 0
    host.askUntilSec = this.#nowSec + START_ASKING_SEC
    host.born = new Map()
    this.findings.keysMade += host.ring.stats.madeHere
    host.ring = this.#createRing(host.index, host.boot)
    host.terminator = { current: undefined, opened: new Set(), coming: [] }
    this.#refresh(host)
  }

  #updateConnections(): void {
    for (const a of this.#hosts) {
      for (const b of this.#hosts) {
        if (this.#reaches(a, b)) continue
        const row = this.#connectedSec[a.index]
        if (row !== undefined) row[b.index] = this.#nowSec + 1
      }
    }
  }

  #isRunning(host: Host): boolean {
    return host.downUntilSec < 0 && host.pausedUntilSec < this.#nowSec
  }

  #reaches(a: Host, b: Host): boolean {
    return this.#isRunning(a) && this.#isRunning(b) && a.side === b.side
  }

  // What nodes do

  /** A node notices that it slept before it gives or takes a ring. */
  #noticeSleep(host: Host): void {
    if (this.#fault !== 'absolute times' && this.#fault !== 'no doubt') {
      host.ring.doubt(this.#clockOf(host), host.sleptSec * 1000)
      host.nextChangeMs = Number.NEGATIVE_INFINITY
    }
    host.sleptSec = 0
    // A node that has no key yet is still asking because of its start.
    if (host.ring.keys.length > 0) host.askUntilSec = this.#nowSec + DOUBT_ASKING_SEC
  }

  #runHost(host: Host): void {
    const isAsking = this.#nowSec < host.askUntilSec
    if (isAsking) for (const peer of this.#hosts) this.#call(host, peer)
    const isGreeting = (this.#nowSec + host.index) % GREETING_SEC === 0 && this.#fault !== 'no hash'
    if (isGreeting) {
      for (const peer of this.#hosts) if (peer.names !== host.names) this.#call(host, peer)
    }
    if ((this.#nowSec + 7 * host.index) % COMPARISON_SEC === 0) this.#call(host, this.#pick())
    // Before it has asked its peers, a node makes no key; it does not wait for those that do not answer.
    const nowMs = this.#clockOf(host)
    const mayMake = !isAsking
    // A clock that jumps back and forth makes the moment of the next change worthless.
    const isJumping = this.#fault === 'absolute times' && this.#nowSec % 20 === 0
    const isDue = nowMs >= host.nextChangeMs || isJumping
    if (isDue || (mayMake && host.ring.keys.length === 0)) {
      host.ring.tick(nowMs, mayMake)
      this.#refresh(host)
    }
    this.#runTerminator(host)
  }

  /** One call between two nodes that swaps their rings; both have the other's in the next step. */
  #call(from: Host, to: Host): void {
    if (from === to || !this.#reaches(from, to)) return
    if (this.#random() < this.#scenario.loss || this.#random() < this.#scenario.loss / 2) return
    for (const [a, b] of [[from, to] as const, [to, from] as const]) {
      const ages = a.ring.keys.map(({ key: { hexName } }) => [hexName, ageOf(a, hexName)] as const)
      this.#arriving.push({ to: b, boot: b.boot, offer: this.#offer(a, b), ages })
    }
  }

  #offer(from: Host, to: Host): RingOffer {
    const offer = from.ring.offer(this.#clockOf(from))
    if (this.#fault !== 'absolute times') return offer
    // The moment of birth travels, and the receiver subtracts it from its own time of day.
    const errorMs = this.#clockOf(to) - this.#clockOf(from)
    const shift = (ageMs: number) => Math.min(MAX_AGE_MS, Math.max(0, ageMs + errorMs))
    const keys = offer.keys.map((key) => ({ ...key, ageMs: shift(key.ageMs) }))
    return { ...offer, keys, retired: offer.retired }
  }

  #clockOf(host: Host): number {
    if (this.#fault !== 'absolute times') return host.monotonicMs
    return 1e12 + this.#nowSec * 1000 + host.wallSkewMs
  }

  /** Notes what changed in a ring and sends it to the terminator, where it arrives some time later. */
  #refresh(host: Host): void {
    const nowMs = this.#clockOf(host)
    host.names = host.ring.keys
      .map(({ key }) => key.hexName)
      .sort()
      .join()
    host.nextChangeMs = host.ring.nextChangeMs(nowMs)
    for (const { key } of host.ring.keys) {
      if (!this.#bornSec.has(key.hexName)) this.#bornSec.set(key.hexName, this.#nowSec)
      if (!host.born.has(key.hexName)) noteAge(host, key.hexName, 0)
    }
    const view = host.ring.view(nowMs)
    if (view.current === undefined) return
    const names = openedKeys(view).map(({ key }) => key.hexName)
    const { coming } = host.terminator
    const given = coming.at(-1) ?? host.terminator
    // What a terminator has or will have already is not given to it again.
    if (given.current === names[0] && given.opened.size === names.length) {
      if (names.every((name) => given.opened.has(name))) return
    }
    const opened = new Set(names)
    const isFirst = host.terminator.current === undefined && coming.length === 0
    const delaySec = isFirst ? 0 : Math.floor(this.#random() * (this.#scenario.terminatorSec + 1))
    const atSec = Math.max(coming.at(-1)?.atSec ?? 0, this.#nowSec + delaySec)
    coming.push({ atSec, current: view.current.key.hexName, opened })
  }

  #runTerminator({ index, boot, awakeSec, startedAwakeSec, terminator }: Host): void {
    for (let next = terminator.coming[0]; next !== undefined; next = terminator.coming[0]) {
      if (next.atSec > this.#nowSec) break
      terminator.coming.shift()
      terminator.current = next.current
      terminator.opened = next.opened
    }
    if (terminator.current !== undefined) {
      if (this.#nowSec % CHECK_SEC !== 0 && this.#random() > 0.1) return
      const owedBoots = new Map<number, number>()
      for (const host of this.#hosts) {
        if (this.#isConnected(index, host.index)) owedBoots.set(host.index, host.boot)
      }
      const ticket = {
        owedBoots,
        key: terminator.current,
        madeSec: this.#nowSec,
        maker: index,
        makerBoot: boot,
      }
      this.#tickets.push(ticket)
    } else if (awakeSec - startedAwakeSec > 3) this.findings.withoutKey += 1
  }

  // What must hold

  #check(): void {
    const oldestSec = this.#nowSec - this.#scenario.lifetimeSec
    if (this.#nowSec % (20 * CHECK_SEC) === 0) {
      this.#tickets = this.#tickets.filter(({ madeSec }) => madeSec > oldestSec)
    }
    // The newest tickets are the ones that a neighbour may not know yet, and the oldest the ones that it may know no more.
    const newest = this.#tickets.slice(-this.#hosts.length)
    const sampled = Array.from({ length: SAMPLED_TICKETS }, () =>
      this.#tickets.at(Math.floor(this.#random() * this.#tickets.length)),
    )
    for (const ticket of [...newest, ...sampled]) {
      if (ticket !== undefined && ticket.madeSec > oldestSec) this.#checkTicket(ticket)
    }
    for (const host of this.#hosts) if (this.#isRunning(host)) this.#checkAges(host)
  }

  #checkTicket({ key, maker, makerBoot, owedBoots }: Ticket): void {
    const isMakerThere = this.#hosts[maker]?.boot === makerBoot
    for (const host of this.#hosts) {
      if (!this.#isRunning(host)) continue
      const isOwed = owedBoots.get(host.index) === host.boot
      const isOwn = host.index === maker && isMakerThere
      if (!isOwed && !isOwn && !(isMakerThere && this.#isConnected(maker, host.index))) continue
      this.findings.checks += 1
      if (!host.terminator.opened.has(key)) this.findings.notOpened += 1
    }
  }

  /** Whether two hosts have reached each other for so long that they must agree. */
  #isConnected(a: number, b: number): boolean {
    const sinceSec = this.#connectedSec[a]?.[b] ?? this.#nowSec
    return a !== b && this.#nowSec - sinceSec >= this.#scenario.connectedSec
  }

  /**
   * No node may have a key over age. A machine that slept does not know its own keys' ages, so where machines sleep this
   * is judged by what a node was told: the time that it was awake since it first heard of a key, and the age that it
   * heard then or later, by the same reckoning of those who told it. Elsewhere the real age counts.
   */
  #checkAges(host: Host): void {
    const longestSec = this.#openSec * (1 + 2e-4) + 10
    for (const { key } of host.ring.keys) {
      const realSec = this.#nowSec - (this.#bornSec.get(key.hexName) ?? this.#nowSec)
      if (realSec > longestSec) this.findings.reallyOverAge += 1
      const knownSec = this.#scenario.pauseSec === undefined ? realSec : ageOf(host, key.hexName)
      if (knownSec > longestSec) this.findings.overAge += 1
    }
  }

  // Chance

  #happens(meanSec: number | undefined): boolean {
    return meanSec !== undefined && this.#random() < 1 / meanSec
  }

  #pick(): Host {
    const host = this.#hosts[Math.floor(this.#random() * this.#hosts.length)]
    if (host === undefined) throw new Error('a cluster without nodes')
    return host
  }
}
