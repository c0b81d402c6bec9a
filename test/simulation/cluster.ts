// The cluster of one run: machines with whole nodes as createNode puts them together, and repeaters where the topology
// has them. It starts, stops and kills them; faults and calls are carried out upon it.

import { codeOf, messageOf } from '../../src/base/errors.ts'
import type { ConfigInput } from '../../src/node/config-schema.ts'
import { type CacheNode, createNode, nodeConfig } from '../../src/node/node.ts'
import { RepeaterNode } from '../../src/node/repeater-node.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import { Coverage } from './coverage.ts'
import { FOREIGN, firstMs } from './fault-kinds.ts'
import { SimulatedHost, type SimulatedProcess } from './host.ts'
import { ClusterModel, type StoreModel } from './model.ts'
import type { NodePlan, Plan } from './plan.ts'
import { RingWatch } from './rings.ts'
import type { Scheduled } from './timeline.ts'
import { SimulatedWorld, Violation } from './world.ts'

export const PORT = 7171
const GROUP = `225.1.1.1:${PORT}`
const SERVICE = '_tlscached._udp.test'
const ALL_NODES = 'nodes.test'
/** Time from the start of one node to that of the next. */
const START_GAP_MS = 30
/** Time after which a node that is still stopping is looked at again. */
const STOPPING_LOOK_MS = 50
/** Time after which a node that could not start is started again. */
const RETRY_MS = 1000
/** Longest time that a node may take to stop. */
const LONGEST_STOP_MS = 15_000

/** Calls made on a process, for comparison with its counters. */
export class CallCounts {
  gets = 0
  hits = 0
  removes = 0
  removed = 0
  readonly puts = new Map<string, number>()
}

/** A node that runs: the process, the node in it, and what is known of it. */
export interface Running {
  readonly process: SimulatedProcess
  readonly node: CacheNode
  readonly models: ReadonlyMap<string, StoreModel>
  readonly counts: ReadonlyMap<string, CallCounts>
  isStarted: boolean
  /** Simulated time when it listened. */
  startedMs: number
  isStopping: boolean
  /** Whether it was seen with its join over. */
  isJoined: boolean
}

export class Member {
  readonly number: number
  readonly host: SimulatedHost
  readonly plan: NodePlan
  name: string
  running: Running | undefined

  constructor(number: number, host: SimulatedHost, plan: NodePlan) {
    this.number = number
    this.host = host
    this.plan = plan
    this.name = `node-${number}`
  }

  /** The node when it runs and answers calls. */
  get live(): Running | undefined {
    const { running } = this
    const isLive = running?.isStarted === true && !running.isStopping && running.process.isRunning
    return isLive ? running : undefined
  }
}

export class Cluster {
  readonly plan: Plan
  readonly world: SimulatedWorld
  readonly members: readonly Member[]
  readonly model: ClusterModel
  readonly rings: RingWatch
  readonly coverage = new Coverage()
  /** Milliseconds from a put or remove to its arrival at another node. */
  readonly visibleMs: number[] = []
  /** All nodes that ever ran. */
  readonly everyone: Running[] = []
  /** From when on datagrams may arrive that no key opens, and from when on there are clones; perhaps infinite. */
  readonly foreignFromMs: number
  readonly clonesFromMs: number
  /** Simulated time that all nodes together have run. */
  nodeMs = 0
  /** Extra entries in the lists of peers, for nodes that are listed twice. */
  readonly extraPeers: string[] = []
  /** Keys of the cluster as text, the sealing one first. */
  keys: string[]
  repeaterHost: SimulatedHost | undefined
  #repeater: { readonly process: SimulatedProcess; readonly node: RepeaterNode } | undefined
  readonly #keyChance

  constructor(plan: Plan, isKeepingLines: boolean) {
    this.plan = plan
    this.foreignFromMs = firstMs(plan.actions, FOREIGN)
    this.clonesFromMs = firstMs(plan.actions, new Set(['clone']))
    this.world = new SimulatedWorld(plan.seed, isKeepingLines)
    this.#keyChance = this.world.chance('keys')
    this.keys = [this.newKey()]
    this.model = new ClusterModel(this.world, (tookMs) => void this.visibleMs.push(tookMs))
    this.rings = new RingWatch(this.model)
    this.members = plan.nodes.map((nodePlan, index) => {
      const host = new SimulatedHost(this.world, `host ${index}`, `10.0.0.${index + 1}`)
      host.clock.shiftWall(nodePlan.wallErrorMs)
      host.writeKeys(this.keysText())
      return new Member(index, host, nodePlan)
    })
    this.publishNames()
    if (plan.topology === 'repeater') {
      this.repeaterHost = new SimulatedHost(this.world, 'repeater host', '10.0.9.1')
      this.repeaterHost.writeKeys(this.keysText())
    }
  }

  newKey(): string {
    return generateKey(this.#keyChance.bytes)
  }

  keysText(keys: readonly string[] = this.keys): string {
    return `${keys.join('\n')}\n`
  }

  start(): void {
    this.startRepeater()
    for (const [index, member] of this.members.entries()) {
      this.world.timeline.in(index * START_GAP_MS, () => this.up(member))
    }
  }

  /** Tells the name service where the nodes are now. */
  publishNames(): void {
    const { names } = this.world
    names.addresses.set(
      ALL_NODES,
      this.members.map(({ host }) => host.ip),
    )
    for (const { number, host } of this.members)
      names.addresses.set(`host-${number}.test`, [host.ip])
    names.services.set(
      SERVICE,
      this.members.map(({ number }) => ({ host: `host-${number}.test`, port: PORT })),
    )
  }

  configOf(member: Member): ConfigInput {
    const { topology, digestIntervalSec, tickets } = this.plan
    const { minimumVersion, maxDatagramBytes, caches } = member.plan
    const own = `${member.host.ip}:${PORT}`
    return {
      node: { name: member.name },
      caches,
      ...(tickets === undefined ? {} : { tickets }),
      replication: {
        listen: topology === 'group' ? GROUP : own,
        ...(topology === 'group' ? {} : { peers: [...this.#peers(), ...this.extraPeers] }),
        ...(topology === 'repeater' ? { repeaters: [`10.0.9.1:${PORT}`] } : {}),
        keys_file: '/run/keys',
        digest_interval: `${digestIntervalSec}s`,
        max_datagram: maxDatagramBytes,
        minimum_version: minimumVersion,
      },
    }
  }

  #peers(): string[] {
    switch (this.plan.topology) {
      case 'list':
        return this.members.map(({ host }) => `${host.ip}:${PORT}`)
      case 'names':
        return [`${ALL_NODES}:${PORT}`]
      case 'service':
        return [`dns+srv://${SERVICE}`]
      case 'group':
      case 'repeater':
        return []
    }
  }

  /** Starts the node of a member unless it runs; one that is just stopping is started afterwards. */
  up(member: Member): void {
    if (member.running?.isStopping === true) {
      this.world.timeline.in(STOPPING_LOOK_MS, () => this.up(member))
      return
    }
    if (member.running !== undefined) return
    try {
      member.running = this.launch(member, member.host)
    } catch (error) {
      // Without keys a node does not start, and whoever looks after it tries again.
      if (!/^ERR_(NO_KEYS|KEYRING)$/.test(codeOf(error) ?? '')) throw error
      this.world.journal.note(member.name, `does not start: ${messageOf(error)}`)
      this.world.timeline.in(RETRY_MS, () => this.up(member))
    }
  }

  /** Runs a node on a host with the configuration of a member. `boot` makes it a clone of another one of this name. */
  launch(member: Member, host: SimulatedHost, boot?: string): Running {
    const { journal } = this.world
    const process = host.launch(member.name, boot)
    const { clock, random, logger, machine } = process
    let config = this.configOf(member)
    if (host !== member.host && this.plan.topology !== 'group') {
      config = { ...config, replication: { ...config.replication, listen: `${host.ip}:${PORT}` } }
    }
    const node = createNode(config, { clock, random, logger, machine })
    const caches = [...node.caches]
    const models = new Map(
      caches.map(([name, { store }]) => [name, this.model.watch(process, store)] as const),
    )
    const counts = new Map(caches.map(([name]) => [name, new CallCounts()] as const))
    const startedMs = Number.POSITIVE_INFINITY
    const state = { isStarted: false, startedMs, isStopping: false, isJoined: false }
    const running: Running = { process, node, models, counts, ...state }
    this.everyone.push(running)
    journal.note(member.name, `starts at ${host.ip}`)
    node.start().then(
      () => {
        running.isStarted = true
        running.startedMs = this.world.timeline.nowMs
      },
      (error: unknown) => {
        journal.note(member.name, `cannot start: ${messageOf(error)}`)
        this.#end(member, running, false)
      },
    )
    return running
  }

  /** Stops a node in an orderly way, and checks that nothing of it is left. */
  down(member: Member, running = member.running): void {
    if (running === undefined || running.isStopping || running.process.isDead) return
    this.observe(running)
    running.isStopping = true
    const { process, node } = running
    const { timeline } = this.world
    // Time in which the process is suspended does not count.
    const expectEnd = (inMs: number): Scheduled =>
      timeline.in(inMs, () => {
        const leftMs = LONGEST_STOP_MS - (timeline.nowMs - process.runsSinceMs)
        if (process.isRunning && leftMs <= 0) throw new Violation(`${member.name} does not stop`)
        if (!process.isDead) deadline = expectEnd(Math.max(leftMs, STOPPING_LOOK_MS))
      })
    let deadline = expectEnd(LONGEST_STOP_MS)
    void node.stop().then(() => {
      deadline.run = undefined
      this.world.journal.note(member.name, 'has stopped')
      const stoppedMs = timeline.nowMs
      // What a socket and a promise still have to say is said within this moment, unless the process is suspended.
      timeline.in(STOPPING_LOOK_MS, () => {
        const isThere = process.isRunning && process.runsSinceMs < stoppedMs
        if (isThere) this.#checkNothingLeft(member, process)
        this.#end(member, running, true)
      })
    })
  }

  /** Throws when a process whose node has stopped still holds something. */
  #checkNothingLeft(member: Member, { clock, sockets, transports }: SimulatedProcess): void {
    if (clock.pendingCount > 0)
      throw new Violation(`${member.name} has stopped and left ${clock.pendingCount} timers`)
    if (transports.size > 0) throw new Violation(`${member.name} has stopped, its socket is open`)
    if (sockets.size > 0) throw new Violation(`${member.name} has stopped, streams are open`)
  }

  /** Ends a process at once. */
  kill(member: Member, isReset: boolean, running = member.running): void {
    if (running === undefined) return
    this.observe(running)
    this.world.journal.note(member.name, isReset ? 'is killed' : 'has no power')
    this.#end(member, running, isReset)
  }

  #end(member: Member, running: Running, isReset: boolean): void {
    running.process.kill(isReset)
    if (member.running === running) member.running = undefined
  }

  /** Takes the counters of a node into the coverage; to be called before it ends. */
  observe({ node, process }: Running): void {
    if (process.isDead) return
    void node.metrics().then(({ text }) => this.coverage.read(text))
  }

  startRepeater(): void {
    const host = this.repeaterHost
    if (host === undefined || this.#repeater !== undefined) return
    const process = host.launch('repeater')
    const { clock, random, logger, machine } = process
    const node = new RepeaterNode(
      {
        name: 'repeater',
        listen: { host: host.ip, port: PORT },
        keysFile: '/run/keys',
        isInsecure: false,
        http: undefined,
      },
      { clock, random, logger, machine },
    )
    this.#repeater = { process, node }
    node.start().catch((error: unknown) => {
      this.world.journal.note('repeater', `cannot start: ${messageOf(error)}`)
    })
  }

  killRepeater(): void {
    this.observeRepeater()
    this.#repeater?.process.kill(true)
    this.#repeater = undefined
  }

  observeRepeater(): void {
    void this.#repeater?.node.metrics().then(({ text }) => this.coverage.read(text))
  }

  /** Gives a node its configuration anew, as SIGHUP does; one that is suspended takes the signal when it runs again. */
  reload(member: Member): void {
    const { running } = member
    running?.process.dispatch(() => {
      if (!running.isStarted || running.isStopping) return
      running.node.reload(nodeConfig(this.configOf(member))).catch((error: unknown) => {
        this.world.journal.note(member.name, `cannot reload: ${messageOf(error)}`)
      })
    })
  }

  get hosts(): SimulatedHost[] {
    const hosts = this.members.map(({ host }) => host)
    return this.repeaterHost === undefined ? hosts : [...hosts, this.repeaterHost]
  }
}
