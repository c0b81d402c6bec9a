// One simulated machine and the process of a node that runs on it: what createNode takes of the machine, and starting,
// stopping, killing and suspending the process.

import { formatAddress, type HostAddress, isMulticast } from '../../src/base/address.ts'
import { messageOf, TlscachedError } from '../../src/base/errors.ts'
import type { LogFields, Logger } from '../../src/base/world.ts'
import type { Machine } from '../../src/node/machine.ts'
import type { DatagramReceiver } from '../../src/replication/live/transport.ts'
import type {
  CountingTransport,
  UdpTransportOptions,
} from '../../src/replication/live/udp-transport.ts'
import { parseKeyring } from '../../src/wire/keyring.ts'
import type { Chance } from './chance.ts'
import { HostClock, ProcessClock } from './host-clock.ts'
import type { Datagram } from './network.ts'
import { SimulatedServer, type SimulatedSocket, type SocketOwner } from './streams.ts'
import type { SimulatedWorld } from './world.ts'

/** Bytes that wait in the socket of a suspended process; the kernel drops what comes after them. */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024
const STATE_DELAY_MS = 1

/** A file of keys as it is on one machine. */
export interface KeysText {
  readonly text: string
  readonly writtenWallMs: number
}

export class SimulatedHost {
  readonly world: SimulatedWorld
  readonly clock: HostClock
  /** IP address; it changes when the machine moves. */
  ip: string
  /** Content of the file of keys; undefined when there is none. */
  keys: KeysText | undefined
  /** Whether the kernel takes no datagrams, because its queue is full. */
  isSendQueueFull = false
  /** Whether the kernel has no route, and says so. */
  isUnreachable = false
  /** The process that runs now. */
  process: SimulatedProcess | undefined
  readonly #chance: Chance
  #processCount = 0

  constructor(world: SimulatedWorld, purpose: string, ip: string) {
    this.world = world
    this.ip = ip
    this.#chance = world.chance(purpose)
    this.clock = new HostClock(world.timeline, 10_000 + this.#chance.below(10_000_000))
  }

  /** Makes a process. `boot` names its source of randomness: two processes with the same one are clones. */
  launch(name: string, boot?: string): SimulatedProcess {
    this.#processCount += 1
    const purpose = boot ?? `${name} boot ${this.#processCount}`
    this.process = new SimulatedProcess(this, name, purpose)
    return this.process
  }

  writeKeys(text: string): void {
    this.keys = { text, writtenWallMs: this.clock.wallMs() }
  }
}

export class SimulatedProcess implements SocketOwner {
  readonly name: string
  readonly machine: Machine
  readonly clock: ProcessClock
  readonly random: Chance['bytes']
  readonly logger: Logger
  readonly sockets = new Set<SimulatedSocket | SimulatedServer>()
  readonly transports = new Set<SimulatedTransport>()
  /** Datagrams that its sockets gave to it. */
  deliveredCount = 0
  /** Simulated time of the last datagram, or since when it runs without a break. */
  heardMs: number
  /** Simulated time since when it runs without a break. */
  runsSinceMs: number
  /** Simulated time when it was killed; infinite before that. */
  endedMs = Number.POSITIVE_INFINITY
  /** Lines logged by level. */
  readonly logged = { debug: 0, info: 0, warn: 0, error: 0 }
  readonly #host: SimulatedHost
  readonly #waiting: (() => void)[] = []
  #state: 'running' | 'suspended' | 'dead' = 'running'

  constructor(host: SimulatedHost, name: string, purpose: string) {
    this.#host = host
    this.name = name
    const { world } = host
    this.heardMs = world.timeline.nowMs
    this.runsSinceMs = this.heardMs
    const chance = world.chance(purpose)
    this.random = chance.bytes
    const timers = world.chance(`${purpose} timers of ${host.ip}`)
    this.clock = new ProcessClock(world.timeline, host.clock, timers, (callback) =>
      this.dispatch(callback),
    )
    this.logger = this.#createLogger()
    this.machine = this.#createMachine()
  }

  get host(): string {
    return this.#host.ip
  }

  get isRunning(): boolean {
    return this.#state === 'running'
  }

  get isDead(): boolean {
    return this.#state === 'dead'
  }

  dispatch(callback: () => void): void {
    if (this.#state === 'running') callback()
    else if (this.#state === 'suspended') this.#waiting.push(callback)
  }

  /** Stops running for a while: what happens meanwhile waits. */
  suspend(): void {
    if (this.#state === 'running') this.#state = 'suspended'
  }

  resume(): void {
    if (this.#state !== 'suspended') return
    this.#state = 'running'
    const { timeline } = this.#host.world
    this.heardMs = timeline.nowMs
    this.runsSinceMs = timeline.nowMs
    // Each callback is an event of its own, so that what it promises is done before the next one.
    for (const callback of this.#waiting.splice(0)) timeline.in(0, () => this.dispatch(callback))
  }

  /** Ends at once. `isReset`: the kernel goes on and resets the connections; otherwise the machine is off. */
  kill(isReset: boolean): void {
    if (!this.isDead) this.endedMs = this.#host.world.timeline.nowMs
    this.#state = 'dead'
    this.#waiting.length = 0
    for (const socket of [...this.sockets]) socket.vanish(isReset)
    for (const transport of [...this.transports]) transport.close()
    this.sockets.clear()
  }

  #createLogger(): Logger {
    const write = (level: keyof typeof this.logged) => (fields: LogFields, message: string) => {
      this.logged[level] += 1
      if (level === 'debug') return
      this.#host.world.journal.note(this.name, `${level}: ${message} ${JSON.stringify(fields)}`)
    }
    return {
      debug: write('debug'),
      info: write('info'),
      warn: write('warn'),
      error: write('error'),
    }
  }

  #createMachine(): Machine {
    const host = this.#host
    const { world } = host
    const here = <Answer>(answer: Promise<Answer>): Promise<Answer> => this.#afterwards(answer)
    return {
      openTransport: (options) => new SimulatedTransport(host, this, options),
      syncStreams: {
        connect: (address, keyring) => world.streams.connect(this, address, keyring),
        createServer: (keys) => new SimulatedServer(world.streams, this, keys),
      },
      resolver: (name) => here(world.names.resolve(name)),
      serviceResolver: (service) => here(world.names.resolveService(service)),
      interfaceAddresses: () => ['127.0.0.1', host.ip],
      keysFiles: {
        load: () => loadKeys(host.keys),
        stateOf: () =>
          new Promise((resolve) => {
            world.timeline.in(STATE_DELAY_MS, () =>
              this.dispatch(() => resolve(stateOf(host.keys))),
            )
          }),
      },
    }
  }

  /** Hands on an answer when the process runs. */
  #afterwards<Answer>(answer: Promise<Answer>): Promise<Answer> {
    return new Promise((resolve, reject) => {
      answer.then(
        (value) => this.dispatch(() => resolve(value)),
        (error: unknown) => this.dispatch(() => reject(error)),
      )
    })
  }
}

function stateOf(keys: KeysText | undefined): string {
  return keys === undefined ? 'ENOENT' : `${keys.writtenWallMs} ${keys.text.length}`
}

function loadKeys(keys: KeysText | undefined) {
  if (keys === undefined) throw new TlscachedError('ERR_NO_KEYS', 'there is no file of keys')
  try {
    return parseKeyring(keys.text, { writtenWallMs: keys.writtenWallMs })
  } catch (error) {
    throw new TlscachedError('ERR_KEYRING', messageOf(error), { cause: error })
  }
}

/** The sockets of a transport on a simulated machine. */
class SimulatedTransport implements CountingTransport {
  readonly stats = { receiveBufferBytes: RECEIVE_BUFFER_BYTES, sendErrors: 0 }
  readonly group: HostAddress | undefined
  readonly queuedBytes = 0
  address: HostAddress
  readonly #host: SimulatedHost
  readonly #process: SimulatedProcess
  readonly #bound: { readonly address: HostAddress; readonly host: string }[] = []
  #receive: DatagramReceiver | undefined
  /** Bytes that wait for a suspended process. */
  #waitingBytes = 0

  constructor(host: SimulatedHost, process: SimulatedProcess, { listen }: UdpTransportOptions) {
    this.#host = host
    this.#process = process
    this.address = listen
    this.group = isMulticast(listen.host) ? listen : undefined
  }

  get host(): string {
    return this.#host.ip
  }

  start(receive: DatagramReceiver): Promise<void> {
    const { network, streams } = this.#host.world
    const own = { host: this.#host.ip, port: this.address.port }
    if (this.group !== undefined) {
      this.#bind(this.group)
      this.address = { host: own.host, port: streams.choosePort() }
    } else if (!network.isFree(own)) {
      const cause = Object.assign(new Error('bind EADDRINUSE'), { code: 'EADDRINUSE' })
      const where = formatAddress(this.address)
      return Promise.reject(
        new TlscachedError('ERR_LISTEN', `cannot listen on ${where}: EADDRINUSE`, { cause }),
      )
    }
    this.#receive = receive
    this.#bind(this.address)
    this.#process.transports.add(this)
    return Promise.resolve()
  }

  send(datagram: Buffer, to: HostAddress): boolean {
    const { world, isSendQueueFull, isUnreachable } = this.#host
    if (this.#receive === undefined || isSendQueueFull) return false
    world.journal.mixBytes(datagram)
    if (isUnreachable) this.stats.sendErrors += 1
    else world.network.send({ host: this.#host.ip, port: this.address.port }, to, datagram)
    return true
  }

  receive({ from, bytes }: Datagram): void {
    if (!this.#process.isRunning) {
      if (this.#waitingBytes + bytes.length > RECEIVE_BUFFER_BYTES) return
      this.#waitingBytes += bytes.length
    }
    const isWaiting = !this.#process.isRunning
    this.#process.dispatch(() => {
      if (isWaiting) this.#waitingBytes -= bytes.length
      if (this.#receive === undefined) return
      this.#process.deliveredCount += 1
      this.#process.heardMs = this.#host.world.timeline.nowMs
      this.#receive(bytes, from)
    })
  }

  stop(): Promise<void> {
    this.close()
    return Promise.resolve()
  }

  close(): void {
    this.#receive = undefined
    this.#process.transports.delete(this)
    for (const { address } of this.#bound.splice(0)) this.#host.world.network.detach(address, this)
  }

  #bind(address: HostAddress): void {
    this.#bound.push({ address, host: this.#host.ip })
    this.#host.world.network.attach(address, this)
  }
}
