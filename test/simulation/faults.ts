// Carries out faults on a cluster: each begins, and returns the function that ends it.

import { formatDurationMs } from '../../src/base/bytes.ts'
import type { Attacker } from './attacker.ts'
import type { Chance } from './chance.ts'
import type { Cluster, Member } from './cluster.ts'
import type { Fault } from './fault-kinds.ts'
import { SimulatedHost } from './host.ts'
import type { PathRule } from './network.ts'
import { makeCall } from './terminators.ts'

/** Time that a new file of keys takes to reach the next host. */
const COPY_MS = 1500
/** Time until all nodes have read a file of keys that was written: two polls, and some for a slow clock. */
const READ_MS = 8000
/**
 * Time that the old key stays after the new one seals everywhere: a node sends again for 30 seconds what it sealed with
 * the old key, and the slowest path takes 5 seconds.
 */
const OLD_KEY_MS = 30_000 + READ_MS + 7000
const YEAR_MS = 31_556_952_000
const RENAMED_DOWN_MS = 500

type End = () => void
const nothing: End = () => {}

export class Faults {
  readonly #cluster: Cluster
  readonly #attacker: Attacker
  readonly #chance: Chance
  #copies = 0
  #rotatingUntilMs = 0
  /** Rotations of keys that began; a new one ends the last one. */
  #rotations = 0
  /** Second machines of members, whose files of keys are kept like those of the others. */
  readonly #copyHosts: SimulatedHost[] = []

  constructor(cluster: Cluster, attacker: Attacker) {
    this.#cluster = cluster
    this.#attacker = attacker
    this.#chance = cluster.world.chance('faults')
  }

  begin(fault: Fault): End {
    const { kind, amount } = fault
    const { world } = this.#cluster
    const [member] = this.#membersOf(fault)
    if (member === undefined) return nothing
    switch (kind) {
      case 'loss':
        return this.#rule({ to: this.#ips(fault), loss: amount })
      case 'duplication':
        return this.#rule({ to: this.#ips(fault), duplication: amount })
      case 'reordering':
        return this.#rule({ to: this.#ips(fault), reordering: 0.3, reorderMs: amount })
      case 'delay':
        return this.#rule({ to: this.#ips(fault), delayMs: amount })
      case 'mtu':
        return this.#rule({ to: this.#ips(fault), mtuBytes: Math.round(amount) })
      case 'partition':
        return this.#partition(fault)
      case 'one-way':
        return this.#rule({ from: this.#ips(fault), to: this.#otherIps(fault), isCut: true })
      case 'flapping':
        return this.#flap(fault)
      case 'queue-full':
        return this.#flag(this.#anyHost(member), 'isSendQueueFull')
      case 'unreachable':
        return this.#flag(member.host, 'isUnreachable')
      case 'names-away':
        world.names.isFailing = true
        return () => {
          world.names.isFailing = false
        }
      case 'corrupt':
        return this.#attack('corruptShare', amount)
      case 'hold':
        return this.#attack('holdShare', amount)
      case 'relay':
        return this.#attack('relayShare', 0.3)
      case 'forge':
        return this.#attacker.forge(amount)
      case 'replay':
        return this.#attacker.replay(amount)
      case 'strangers':
        return this.#attacker.connect(amount)
      case 'stream-cut':
        return this.#cutStreams(member)
      case 'stream-slow':
        world.streams.slownessMs = amount
        return () => {
          world.streams.slownessMs = 0
        }
      case 'kill':
        return this.#end(member, () => this.#cluster.kill(member, true))
      case 'power-off':
        return this.#end(member, () => this.#cluster.kill(member, false))
      case 'stop':
        return this.#end(member, () => this.#cluster.down(member))
      case 'repeater-kill':
        this.#cluster.killRepeater()
        return () => this.#cluster.startRepeater()
      case 'suspend':
        return this.#suspend(member, false)
      case 'sleep':
        return this.#suspend(member, true)
      case 'drift':
        return this.#drift(member, this.#chance.happens(0.5) ? 1 + amount : 1 - amount)
      case 'jump':
        member.host.clock.shiftWall(this.#chance.happens(0.5) ? amount : -amount)
        return nothing
      case 'years':
        member.host.clock.shiftWall(this.#chance.between(-3, 3) * YEAR_MS)
        return nothing
      case 'rotate':
        return this.#rotate(true)
      case 'rotate-wrong':
        return this.#rotate(false)
      case 'keys-broken':
        return this.#breakKeys(member)
      case 'rename':
        return this.#rename(member)
      case 'move':
        return this.#move(member)
      case 'twice':
        return this.#listTwice()
      case 'reload':
        this.#cluster.reload(member)
        return nothing
      case 'same-name':
        return this.#copy(member, undefined)
      case 'clone':
        return this.#clone(member)
      case 'overload':
        this.#overload(member, Math.round(amount))
        return nothing
    }
  }

  #membersOf({ hosts }: Fault): Member[] {
    return hosts.flatMap((number) => this.#cluster.members[number] ?? [])
  }

  #ips(fault: Fault): string[] {
    return this.#membersOf(fault).map(({ host }) => host.ip)
  }

  #otherIps({ hosts }: Fault): string[] {
    const others = this.#cluster.members.filter(({ number }) => !hosts.includes(number))
    return others.map(({ host }) => host.ip)
  }

  #rule(rule: PathRule): End {
    const { rules } = this.#cluster.world.network
    rules.add(rule)
    return () => void rules.delete(rule)
  }

  #partition(fault: Fault): End {
    const [here, there] = [this.#ips(fault), this.#otherIps(fault)]
    const ends = [
      this.#rule({ from: here, to: there, isCut: true }),
      this.#rule({ from: there, to: here, isCut: true }),
    ]
    return () => {
      for (const end of ends) end()
    }
  }

  #flap(fault: Fault): End {
    const { timeline } = this.#cluster.world
    let heal = nothing
    let isCut = false
    let isOver = false
    const turn = () => {
      if (isOver) return
      if (isCut) heal()
      else heal = this.#partition(fault)
      isCut = !isCut
      timeline.in(fault.amount * (0.5 + this.#chance.share()), turn)
    }
    turn()
    return () => {
      isOver = true
      heal()
    }
  }

  /** The machine of the repeater now and then, where there is one. */
  #anyHost({ host }: Member): SimulatedHost {
    const { repeaterHost } = this.#cluster
    return repeaterHost !== undefined && this.#chance.happens(0.3) ? repeaterHost : host
  }

  #flag(host: SimulatedHost, flag: 'isSendQueueFull' | 'isUnreachable'): End {
    host[flag] = true
    return () => {
      host[flag] = false
    }
  }

  #attack(share: 'corruptShare' | 'holdShare' | 'relayShare', amount: number): End {
    this.#attacker[share] = amount
    return () => {
      this.#attacker[share] = 0
    }
  }

  #cutStreams(member: Member): End {
    const { process } = member.running ?? {}
    for (const socket of [...(process?.sockets ?? [])]) {
      if (!('remote' in socket)) continue
      // A suspended process hears of the connection first, and then of its end.
      process?.dispatch(() => socket.destroy(new Error('read ECONNRESET')))
    }
    return nothing
  }

  #end(member: Member, end: () => void): End {
    end()
    return () => this.#cluster.up(member)
  }

  /** `isAsleep`: the machine sleeps, and its monotonic clock stands still. */
  #suspend(member: Member, isAsleep: boolean): End {
    const process = member.running?.process
    if (process === undefined || !process.isRunning) return nothing
    const { timeline, journal } = this.#cluster.world
    const sinceMs = timeline.nowMs
    const { clock } = member.host
    const monotonicMs = clock.monotonicMs()
    process.suspend()
    return () => {
      if (process.isDead) return
      const forMs = timeline.nowMs - sinceMs
      journal.note(process.name, `runs again after ${formatDurationMs(Math.round(forMs))}`)
      this.#cluster.model.notePause(sinceMs, timeline.nowMs)
      if (isAsleep) clock.wake(monotonicMs)
      process.resume()
    }
  }

  #drift(member: Member, rate: number): End {
    member.host.clock.setRate(rate)
    return () => member.host.clock.setRate(1)
  }

  /** Right: the new key opens everywhere before it seals anywhere, and the old one opens until it seals nowhere. */
  #rotate(isRight: boolean): End {
    const cluster = this.#cluster
    const { timeline } = cluster.world
    // Nobody begins a rotation before the last one has ended. One that does not end in time stays where it is.
    if (isRight && timeline.nowMs < this.#rotatingUntilMs) return nothing
    const copiesMs = 3 * cluster.hosts.length * COPY_MS
    this.#rotatingUntilMs = timeline.nowMs + copiesMs + READ_MS + OLD_KEY_MS + READ_MS
    const [old = ''] = cluster.keys
    const next = cluster.newKey()
    const steps = isRight
      ? [
          { keys: [old, next], thenMs: READ_MS },
          { keys: [next, old], thenMs: OLD_KEY_MS },
          { keys: [next], thenMs: READ_MS },
        ]
      : [{ keys: [next], thenMs: READ_MS }]
    this.#rotations += 1
    const rotation = this.#rotations
    let atMs = 0
    const inStep = (step: () => void) =>
      timeline.in(atMs, () => {
        const isOver = timeline.nowMs > cluster.plan.durationMs || this.#rotations !== rotation
        if (!isOver) step()
      })
    for (const { keys, thenMs } of steps) {
      inStep(() => {
        cluster.keys = keys
        for (const host of this.#copyHosts) host.writeKeys(cluster.keysText())
      })
      for (const host of cluster.hosts) {
        inStep(() => host.writeKeys(cluster.keysText()))
        atMs += this.#chance.share() * COPY_MS
      }
      atMs += thenMs
    }
    return nothing
  }

  #breakKeys({ host }: Member): End {
    const before = host.keys
    if (this.#chance.happens(0.5)) host.keys = undefined
    else host.writeKeys(this.#chance.pick(['', 'half a key', '# nothing\n']))
    return () => {
      if (before !== undefined) host.writeKeys(this.#cluster.keysText())
    }
  }

  #rename(member: Member): End {
    this.#cluster.down(member)
    this.#copies += 1
    member.name = `node-${member.number}-${this.#copies}`
    this.#cluster.world.timeline.in(RENAMED_DOWN_MS, () => this.#cluster.up(member))
    return nothing
  }

  #move(member: Member): End {
    const cluster = this.#cluster
    const { timeline } = cluster.world
    cluster.down(member)
    timeline.in(RENAMED_DOWN_MS, () => {
      if (member.running !== undefined) return
      this.#copies += 1
      member.host.ip = this.#newIp(16, member.number + 1)
      cluster.publishNames()
      cluster.up(member)
      for (const other of cluster.members) if (other !== member) cluster.reload(other)
    })
    return nothing
  }

  #listTwice(): End {
    const cluster = this.#cluster
    cluster.extraPeers.push(...cluster.members.map(({ number }) => `host-${number}.test:7171`))
    for (const member of cluster.members) cluster.reload(member)
    return () => {
      cluster.extraPeers.length = 0
      for (const member of cluster.members) cluster.reload(member)
    }
  }

  /** An address that no machine has or had; `first` is the first of the networks from which it comes. */
  #newIp(first: number, host: number): string {
    return `10.${first + (this.#copies >> 8)}.${this.#copies & 255}.${host}`
  }

  /** Starts a second machine with the same name; with `boot`, also with the same random numbers. */
  #copy(member: Member, boot: string | undefined): End {
    const cluster = this.#cluster
    this.#copies += 1
    const host = new SimulatedHost(cluster.world, `copy ${this.#copies}`, this.#newIp(8, 1))
    host.writeKeys(cluster.keysText())
    this.#copyHosts.push(host)
    // Not the name of a boot of the member: it would be a clone of that.
    const running = cluster.launch(member, host, boot ?? `copy ${this.#copies}`)
    return () => {
      if (!running.process.isDead) cluster.kill(member, true, running)
    }
  }

  /** Starts a member anew as two machines that are alike to the last bit. */
  #clone(member: Member): End {
    const cluster = this.#cluster
    cluster.kill(member, true)
    member.host.writeKeys(cluster.keysText())
    const boot = `boot of clones ${this.#copies}`
    member.running = cluster.launch(member, member.host, boot)
    const end = this.#copy(member, boot)
    return () => {
      end()
      cluster.kill(member, true)
      cluster.up(member)
    }
  }

  /** Puts sessions of all sizes into the large cache of a member. */
  burst(member: Member, puts: number): void {
    for (let put = 0; put < puts; put += 1) this.#put(member, 0)
  }

  #overload(member: Member, puts: number): void {
    for (let put = 0; put < puts; put += 1) this.#put(member, this.#chance.below(3))
  }

  #put(member: Member, cache: number): void {
    makeCall(
      {
        kind: 'put',
        atMs: this.#cluster.world.timeline.nowMs,
        node: member.number,
        cache,
        id: this.#chance.below(200),
        context: 0,
        serverName: 0,
        value: 1_000_000 + this.#chance.below(1_000_000),
        sessionBytes: this.#chance.happens(0.1) ? 8192 : 150,
        ttlMs: 60_000,
      },
      member,
    )
  }
}
