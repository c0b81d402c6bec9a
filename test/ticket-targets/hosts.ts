// A host of the fault tests: a node as a process of a user without privileges, with nginx behind the root unit and HAProxy
// behind its socket. What they share lies in a file system in memory of its own.

import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chownSync,
  existsSync,
  type FSWatcher,
  mkdirSync,
  readdirSync,
  readFileSync,
  watch,
  writeFileSync,
} from 'node:fs'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { ask } from '../support/http.ts'
import { until } from '../support/latch.ts'
import { type NodeProcess, startServe, stopProcess } from '../support/node-processes.ts'
import { seededNumbers } from '../support/seeded-random.ts'
import { ReturningClients } from './clients.ts'
import { TERMINATORS, Terminator } from './terminators.ts'

const ROOT_UNIT = fileURLToPath(new URL('../../deploy/systemd/tlscached-tickets', import.meta.url))
/** www-data of Debian, the user of the service. */
export const NODE_UID = 33
/** As RestartSec of the unit. */
const UNIT_RETRY_MS = 5000

export const ROTATE_MS = 30_000
export const WAIT_MS = 15_000
/** Half of `rotate`: HAProxy has room for one key more than is planned, as two nodes make that did not hear each other. */
export const LIFETIME_MS = 15_000
/** The group of all fault tests. */
export const TIMES = { name: 'www', rotate: '30s', wait: '15s', lifetime: '15s' }
/**
 * A last ticket of a key is offered again so long after it was made. The first key is minted until it is 45 s old, ends at
 * 96.5 s, and nginx forgets it at the next reload, at 130 s.
 */
const GONE_MS = 95_000

/** For what takes an interval or a look at the files, on a busy machine. */
export const PATIENCE_MS = 120_000

export interface HostOptions {
  readonly name: string
  /** Folder of all hosts. */
  readonly folder: string
  readonly ports: readonly [nginx: number, haproxy: number]
  readonly replication: { readonly listen: string; readonly peer: string; readonly key: string }
  /** Starts a program as the user of the node, where the node lives. */
  readonly spawn: (program: string, args: readonly string[], env: NodeJS.ProcessEnv) => ChildProcess
  /** More targets of the node, given the folder in memory. */
  readonly targets?: (memory: string) => readonly object[]
}

/** What a node says of its one group. */
interface Group {
  readonly next_key_ms: number
  readonly keys: readonly { readonly name: string; readonly state: string }[]
  readonly targets: readonly {
    readonly name: string
    readonly problem: { readonly reason: string } | null
    readonly failures: Readonly<Record<string, number>>
  }[]
}

export class Host {
  readonly name: string
  /** File system in memory: `node` has what the node writes, `root` what the root unit makes of it for nginx. */
  readonly memory: string
  readonly nginx: Terminator
  readonly haproxy: Terminator
  readonly #own: string
  readonly #options: HostOptions
  readonly #targets: readonly object[]
  readonly #unit: PathUnit
  #node: NodeProcess | undefined

  constructor(options: HostOptions) {
    const { name, folder, ports } = options
    this.name = name
    this.#options = options
    const own = join(folder, name)
    this.#own = own
    this.memory = join(own, 'run')
    const { memory } = this
    mkdirSync(memory, { recursive: true })
    const size = ['-o', 'size=512k,mode=755']
    assert.equal(spawnSync('mount', ['-t', 'tmpfs', ...size, 'tmpfs', memory]).status, 0)
    writeFileSync(join(own, 'both.pem'), DEMO_CERTIFICATE.cert + DEMO_CERTIFICATE.key)
    writeFileSync(join(own, 'cert.pem'), DEMO_CERTIFICATE.cert)
    writeFileSync(join(own, 'key.pem'), DEMO_CERTIFICATE.key)
    writeFileSync(join(own, 'keys'), options.replication.key, { mode: 0o600 })
    for (const inner of ['node', 'root', 'root/www']) mkdirSync(join(memory, inner))
    for (const path of ['', 'keys', 'run/node']) chownSync(join(own, path), NODE_UID, NODE_UID)
    const place = { backendPort: 9 }
    const [nginxPort, haproxyPort] = ports
    this.nginx = new Terminator(kindOf('nginx'), {
      ...{ ...place, tickets: join(memory, 'root'), folder: join(own, 'nginx'), port: nginxPort },
    })
    this.haproxy = new Terminator(kindOf('haproxy'), {
      ...{ ...place, tickets: join(memory, 'node'), folder: join(own, 'haproxy') },
      port: haproxyPort,
    })
    const { check, reload } = this.nginx.target('www') as { check: string[]; reload: string[] }
    const to = join(memory, 'root/www')
    this.#unit = new PathUnit(join(memory, 'node/nginx'), to, check, reload)
    this.#targets = [
      { kind: 'nginx', group: 'www', dir: join(memory, 'node/nginx') },
      // Without its probe: a node on a host of its own does not reach the loopback of the terminators.
      { ...this.haproxy.target('www'), name: 'haproxy', probe: undefined },
      ...(options.targets?.(memory) ?? []),
    ]
  }

  /** Starts the node. When it is ready everything is there that terminators need to start. */
  async startNode(env: NodeJS.ProcessEnv = {}): Promise<void> {
    const { name, replication, spawn: spawnProgram } = this.#options
    const { listen, peer } = replication
    const config = {
      node: { name },
      replication: { listen, peers: [peer], keys_file: join(this.#own, 'keys') },
      tickets: { groups: [TIMES], targets: this.#targets },
    }
    this.#node = await startServe(this.#own, config, (args) =>
      spawnProgram(process.execPath, args, { ...process.env, ...env }),
    )
    assert.ok(existsSync(join(this.memory, 'node/nginx/tickets.conf')))
    assert.ok(existsSync(join(this.memory, 'node/www.haproxy')))
  }

  /** Starts the terminators after the first run of the root unit, as systemd orders them. */
  async startTerminators(): Promise<void> {
    this.#unit.start()
    const first = join(this.memory, 'root/www/tickets.conf')
    await until('the root unit has run', () => existsSync(first))
    await Promise.all([this.nginx.start(), this.haproxy.start()])
  }

  async killNode(): Promise<void> {
    const child = this.#node?.child
    assert.ok(child !== undefined)
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }

  /** Stops the process as a machine that is suspended, or lets it go on. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    assert.equal(this.#node?.child.kill(name), true)
  }

  /** The group as the node shows it. */
  async group(): Promise<Group> {
    assert.ok(this.#node !== undefined)
    const { body } = await ask(this.#node.http, { path: '/v1/tickets/www' })
    return JSON.parse(body.toString())
  }

  async keyNames(): Promise<string[]> {
    return (await this.group()).keys.map(({ name }) => name)
  }

  /** What the node says of its keys and what this terminator has of them: eight digits of each name, no secret. */
  async stateOf(kind: 'nginx' | 'haproxy'): Promise<string> {
    const held = kind === 'nginx' ? this.givenNames() : await this.#slotsOfHaproxy()
    const { keys } = await this.group()
    const known = keys.map(({ name, state }) => `${name.slice(0, 8)} ${state}`).join(', ')
    return `it has ${held.map((name) => name.slice(0, 8)).join(', ')}; its node has ${known}`
  }

  /** The names of the keys in the slots of HAProxy, the one that it mints with last but one. */
  async #slotsOfHaproxy(): Promise<string[]> {
    const socket = createConnection(join(this.haproxy.place.folder, 'admin.sock'))
    socket.end('show tls-keys *\n')
    const answer = (await buffer(socket)).toString()
    const keys = [...answer.matchAll(/^\d+\.\d+ (\S+)/gm)].map(([, digits = '']) => digits)
    return keys.map((digits) => Buffer.from(digits, 'base64').toString('hex', 0, 16))
  }

  /** The keys that nginx was given. */
  givenNames(): string[] {
    const text = readFileSync(join(this.memory, 'root/www/tickets.conf'), 'utf8')
    return [...text.matchAll(/([0-9a-f]{32})\.key/g)].map(([, name = '']) => name)
  }

  /** Files of keys of the node. */
  keyFiles(): string[] {
    const folder = join(this.memory, 'node/nginx')
    const names = readdirSync(folder).filter((one) => one.endsWith('.key'))
    return names.map((one) => join(folder, one))
  }

  async stop(): Promise<void> {
    this.#unit.stop()
    const child = this.#node?.child
    child?.kill('SIGCONT')
    await Promise.all([this.nginx.stop(), this.haproxy.stop(), child && stopProcess(child)])
    spawnSync('umount', ['-l', this.memory])
  }
}

/**
 * Resolves when both nodes have the same keys, at least `count`, and nginx beside both was given them. A node that starts
 * from nothing on a busy machine may not find the other one in time, and then has a key of its own at first.
 */
export async function untilAgreed(a: Host, b: Host, count: number): Promise<void> {
  await until(
    `both hosts have ${count} keys`,
    async () => {
      const lists = [await a.keyNames(), await b.keyNames(), a.givenNames(), b.givenNames()]
      const [first = '', ...others] = lists.map((names) => [...names].sort().join())
      return (lists[0]?.length ?? 0) >= count && others.every((other) => other === first)
    },
    PATIENCE_MS,
  )
}

/**
 * What systemd does with the path unit and its service: runs the root unit at the start and each time when the node has
 * renamed a file to the name that it watches, one run after another, and again when it failed.
 */
class PathUnit {
  readonly #args: readonly string[]
  readonly #from: string
  #watcher: FSWatcher | undefined
  #retry: NodeJS.Timeout | undefined
  #isRunning = false
  #isAgain = false
  #isStopped = false

  constructor(from: string, to: string, check: readonly string[], reload: readonly string[]) {
    this.#from = from
    this.#args = ['nginx', from, to, 'root:root', check.join(' '), reload.join(' ')]
  }

  start(): void {
    this.#watcher = watch(this.#from, (_, name) => {
      if (name === 'tickets.conf') this.#run()
    })
    this.#run()
  }

  stop(): void {
    this.#isStopped = true
    this.#watcher?.close()
    clearTimeout(this.#retry)
  }

  #run(): void {
    this.#isAgain = this.#isRunning
    if (this.#isRunning) return
    this.#isRunning = true
    clearTimeout(this.#retry)
    spawn(ROOT_UNIT, this.#args, { stdio: 'ignore' }).on('exit', (code) => {
      this.#isRunning = false
      if (this.#isStopped) return
      if (this.#isAgain) this.#run()
      else if (code !== 0) this.#retry = setTimeout(() => this.#run(), UNIT_RETRY_MS)
    })
  }
}

function kindOf(name: string) {
  const kind = TERMINATORS.find((one) => one.name === name)
  assert.ok(kind !== undefined && kind.skip === false, name)
  return kind
}

const KINDS = ['nginx', 'haproxy'] as const

/**
 * Returns clients of nginx and of HAProxy that come back to either host. `isExcused` says for each of them whether a
 * ticket of this key may be a full handshake at this moment; default: never.
 */
export function clientsOf(
  hosts: readonly [Host, Host],
  seed: string,
  isExcused?: Record<(typeof KINDS)[number], (keyName: string) => boolean>,
): ReturningClients[] {
  const [a, b] = hosts
  return KINDS.map((kind) => {
    return new ReturningClients({
      pair: [a[kind], b[kind]],
      lifetimeMs: LIFETIME_MS,
      goneMs: GONE_MS,
      agreed: () => undefined,
      stateOf: async (member) => (await hosts[member]?.stateOf(kind)) ?? '',
      isExcused: (name) => name !== undefined && isExcused?.[kind](name) === true,
      random: seededNumbers(`${seed} ${kind}`),
    })
  })
}
