// A machine with a terminator and its nodes, as processes here. Two of them make a pair.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { createConnection, createServer, type Server } from 'node:net'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import type { Address } from '../../src/base/address.ts'
import { systemRandom } from '../../src/base/world.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import { adapt, type Replacement } from '../support/adapt.ts'
import type { CommandLine } from '../support/debian-release.ts'
import { freePorts } from '../support/free-ports.ts'
import { until } from '../support/latch.ts'
import {
  CLI_ARGS,
  type NodeProcess,
  type Spawner,
  startServe,
  stopProcess,
} from '../support/node-processes.ts'

const EXAMPLES = fileURLToPath(new URL('../../deploy/terminators/', import.meta.url))
/** The built program, whose first line has the flags of Node.js. */
const PROGRAM = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const KEYS_FILE = '/etc/tlscached/keys'
const PAGE = 'hello\n'
/** Free ports for both hosts of a pair. */
const PORTS = 24

/** A process with a node that a test suspends, ends and starts again. */
export interface NodeHolder {
  readonly http: Address
  /** ID of the process; undefined while none runs. */
  readonly pid: number | undefined
  start(): Promise<void>
  /** Suspends the process until `resume`. */
  pause(): void
  resume(): void
  kill(): Promise<void>
  stop(): Promise<void>
}

export class Host {
  /** Folder of both hosts, with the certificates; `folder` is of this host alone. */
  readonly shared: string
  readonly folder: string
  readonly number: number
  readonly backendPort: number
  readonly #ports: number[]
  readonly #replication: Map<string, readonly string[]>
  readonly #programs: ChildProcess[] = []

  constructor(
    number: number,
    shared: string,
    backendPort: number,
    ports: number[],
    replication: Map<string, readonly string[]>,
  ) {
    this.number = number
    this.shared = shared
    this.folder = join(shared, `host-${number}`)
    this.backendPort = backendPort
    this.#ports = ports
    this.#replication = replication
    mkdirSync(this.folder, { mode: 0o755 })
  }

  port(): number {
    const port = this.#ports.pop()
    if (port === undefined) throw new Error('more ports taken than set aside')
    return port
  }

  /** Writes an example of deploy/terminators with the addresses of this host, and returns its path. */
  example(path: string, replacements: readonly Replacement[], name = basename(path)): string {
    const file = join(this.folder, name)
    writeFileSync(file, adapt(readFileSync(join(EXAMPLES, path), 'utf8'), replacements))
    return file
  }

  /** Starts a program of deploy/terminators that is complete as it stands. */
  async runExample(path: string, args: readonly string[], port: number): Promise<void> {
    await this.run([process.execPath, [join(EXAMPLES, path), ...args]], port)
  }

  write(name: string, text: string): string {
    const file = join(this.folder, name)
    writeFileSync(file, text)
    return file
  }

  /** Returns the replacements for an example that replicates. Nodes of different services share no peers and no keys. */
  replication(service: string): readonly Replacement[] {
    let addresses = this.#replication.get(service)
    const keysFile = join(this.shared, `${service}.keys`)
    if (addresses === undefined) {
      addresses = [this.port(), this.port()].map((port) => `127.0.0.1:${port}`)
      this.#replication.set(service, addresses)
      writeFileSync(keysFile, `${generateKey(systemRandom)}\n`, { mode: 0o600 })
    }
    const [listen = '', peer = ''] = this.number === 1 ? addresses : addresses.toReversed()
    return [
      ['edge-1', `${service}-${this.number}`],
      ['10.0.0.1:7171', listen],
      ['10.0.0.2:7171', peer],
      [KEYS_FILE, keysFile],
    ]
  }

  /** Starts a node from its example; `nice` is its priority, where this process may set one. */
  node(
    path: string,
    service: string,
    replacements: readonly Replacement[],
    nice = 0,
  ): Promise<NodeHolder> {
    const text = readFileSync(join(EXAMPLES, path), 'utf8')
    return this.nodeOf(text, service, replacements, nice)
  }

  /** Starts a node from the text of a configuration that readers are shown. */
  async nodeOf(
    text: string,
    service: string,
    replacements: readonly Replacement[],
    nice = 0,
  ): Promise<NodeHolder> {
    const adapted = adapt(text, [...this.replication(service), ...replacements])
    const config: { node: { name: string }; frontends: object } = parse(adapted)
    const http = { path: join(this.folder, `${config.node.name}.sock`) }
    const frontends = { ...config.frontends, http: `unix:${http.path}` }
    const holder = new ServedNode(http, () =>
      startServe(this.folder, { ...config, frontends }, spawnNice(nice)),
    )
    await holder.start()
    return holder
  }

  /** Starts a terminator that stays in the foreground, and waits until it listens. */
  async run([name, args]: CommandLine, port: number): Promise<ChildProcess> {
    const said = join(this.folder, `${basename(name)}-${port}.out`)
    const out = openSync(said, 'a')
    const child = spawn(name, args, { stdio: ['ignore', out, out], cwd: this.folder })
    this.#programs.push(child)
    await until(`${basename(name)} listens`, async () => {
      if (child.exitCode !== null) throw new Error(`${name}: ${readFileSync(said, 'utf8')}`)
      return isListening(port)
    })
    return child
  }

  async stop(): Promise<void> {
    await Promise.all(this.#programs.map(stopProcess))
  }
}

class ServedNode implements NodeHolder {
  readonly http: Address
  readonly #spawn: () => Promise<NodeProcess>
  #node: NodeProcess | undefined

  constructor(http: Address, spawnNode: () => Promise<NodeProcess>) {
    this.http = http
    this.#spawn = spawnNode
  }

  get pid(): number | undefined {
    return pidOf(this.#node?.child)
  }

  async start(): Promise<void> {
    this.#node = await this.#spawn()
  }

  pause(): void {
    this.#node?.child.kill('SIGSTOP')
  }

  resume(): void {
    this.#node?.child.kill('SIGCONT')
  }

  async kill(): Promise<void> {
    if (this.#node !== undefined) await killProcess(this.#node.child)
  }

  async stop(): Promise<void> {
    if (this.#node !== undefined) await stopProcess(this.#node.child)
  }
}

/**
 * Returns what starts the program as it is installed, all threads with this priority, as under systemd. Only root may
 * raise it; for others nice(1) runs the program without.
 */
export function spawnNice(nice: number): Spawner {
  return (args) =>
    spawn('nice', ['-n', String(nice), PROGRAM, ...args.slice(CLI_ARGS.length)], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
}

export function pidOf(child: ChildProcess | undefined): number | undefined {
  return child?.exitCode === null && child.signalCode === null ? child.pid : undefined
}

export async function killProcess(child: ChildProcess): Promise<void> {
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}

/** Two hosts that share a folder, with a plain backend for terminators that only pass on. */
export interface Pair {
  readonly hosts: readonly [Host, Host]
  stop(): Promise<void>
}

export async function makePair(shared: string): Promise<Pair> {
  // Servers that run as another user must reach the page and the certificates.
  chmodSync(shared, 0o755)
  const pages = join(shared, 'www')
  mkdirSync(pages, { mode: 0o755 })
  writeFileSync(join(pages, 'index.html'), PAGE)
  const ports = await freePorts(PORTS)
  const backend = await startBackend(ports.pop() ?? 0)
  const replication = new Map<string, readonly string[]>()
  const [first, second] = [1, 2].map(
    (number) => new Host(number, shared, backend.port, ports, replication),
  )
  if (first === undefined || second === undefined) throw new Error('two hosts make a pair')
  return {
    hosts: [first, second],
    stop: async () => {
      await Promise.all([first.stop(), second.stop()])
      backend.server.close()
    },
  }
}

/** Answers every connection with a page, as plain HTTP, once it has heard a request. */
async function startBackend(port: number): Promise<{ server: Server; port: number }> {
  const answer = `HTTP/1.1 200 OK\r\nContent-Length: ${PAGE.length}\r\nConnection: close\r\n\r\n${PAGE}`
  const server = createServer((socket) => {
    socket.on('error', () => {}) // The terminator went away.
    socket.once('data', () => socket.end(answer))
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return { server, port }
}

async function isListening(port: number): Promise<boolean> {
  const socket = createConnection({ port, host: '127.0.0.1' })
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
