// A host of the fault tests: a node as a process of a user without privileges, with one terminator of each kind. Those that
// only root may reload are behind the root unit. What they share lies in a file system in memory of its own.

import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chownSync,
  closeSync,
  existsSync,
  type FSWatcher,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  watch,
  writeFileSync,
} from 'node:fs'
import { createConnection } from 'node:net'
import { basename, dirname, join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { ask } from '../support/http.ts'
import { until } from '../support/latch.ts'
import { type NodeProcess, startServe, stopProcess } from '../support/node-processes.ts'
import { Terminator, type TerminatorKind } from './terminators.ts'

const ROOT_UNIT = fileURLToPath(new URL('../../deploy/systemd/tlscached-tickets', import.meta.url))
/** www-data of Debian, the user of the service. */
export const NODE_UID = 33
/** As RestartSec of the unit. */
const UNIT_RETRY_MS = 5000

/** The times of a group in seconds. */
interface Times {
  readonly name: string
  readonly rotateSec: number
  readonly waitSec: number
  readonly lifetimeSec: number
}

/** HAProxy has room for one key more than is planned, as two nodes make that did not hear each other. */
const GIVEN: Times = { name: 'given', rotateSec: 30, waitSec: 15, lifetimeSec: 15 }
/** h2o looks every 10 s, which `wait` must have twice. */
const POLLED: Times = { name: 'polled', rotateSec: 30, waitSec: 20, lifetimeSec: 15 }
/** Tickets are judged from 18 s after a change on, and until the next one. */
const SINGLE: Times = { name: 'single', rotateSec: 40, waitSec: 20, lifetimeSec: 40 }
const ALL_TIMES = [GIVEN, POLLED, SINGLE]

export const LONGEST_ROTATE_MS = 1000 * Math.max(...ALL_TIMES.map(({ rotateSec }) => rotateSec))
export const SHORTEST_WAIT_MS = 1000 * Math.min(...ALL_TIMES.map(({ waitSec }) => waitSec))

/** Files that the root unit waits for, by kind: of those of one change, the one that is written last. */
const UNIT_FILES: Readonly<Record<string, string>> = {
  nginx: 'tickets.conf',
  nghttpx: 'older.key',
  stunnel: 'ticket.conf',
  apache: 'www.apache',
}

export interface HostOptions {
  readonly name: string
  /** Folder of all hosts. */
  readonly folder: string
  readonly kinds: readonly TerminatorKind[]
  /** One for each kind. */
  readonly ports: readonly number[]
  /** Where a program listens that terminators connect to behind them. */
  readonly backendPort: number
  readonly replication: { readonly listen: string; readonly peer: string; readonly key: string }
  /** Starts a program as the user of the node, where the node lives. */
  readonly spawn: (program: string, args: readonly string[], env: NodeJS.ProcessEnv) => ChildProcess
  /** More targets of the node, given its folder in memory. */
  readonly targets?: (memory: string) => readonly object[]
}

/** What a node says of one group. */
export interface Group {
  readonly name: string
  readonly next_key_ms: number
  readonly keys: readonly { readonly name: string; readonly state: string }[]
  readonly targets: readonly {
    readonly name: string
    readonly problem: { readonly reason: string } | null
    readonly failures: Readonly<Record<string, number>>
  }[]
}

/** A terminator with what its node writes for it. */
interface Member {
  readonly terminator: Terminator
  readonly target: { readonly [setting: string]: unknown }
  /** The folder or file of its keys, as the node writes it. */
  readonly path: string
  /** The same as the terminator reads it. */
  readonly given: string
  readonly unit: PathUnit | undefined
}

/** A file that a test has damaged, until something else is in its place. */
export interface DamagedFile {
  readonly path: string
  readonly inode: number
}

export class Host {
  readonly name: string
  /** File system in memory: `node` has what the node writes, `root` what the root unit makes of it. */
  readonly memory: string
  readonly #own: string
  readonly #options: HostOptions
  readonly #members: ReadonlyMap<string, Member>
  #node: NodeProcess | undefined

  constructor(options: HostOptions) {
    const { name, folder, kinds, replication } = options
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
    writeFileSync(join(own, 'keys'), replication.key, { mode: 0o600 })
    for (const inner of ['node', 'root']) mkdirSync(join(memory, inner))
    for (const path of ['', 'keys', 'run/node']) chownSync(join(own, path), NODE_UID, NODE_UID)
    this.#members = new Map(kinds.map((kind, index) => [kind.name, this.#place(kind, index)]))
  }

  #place(kind: TerminatorKind, index: number): Member {
    const { ports, backendPort } = this.#options
    const [byNode, byRoot] = [join(this.memory, 'node'), join(this.memory, 'root')]
    const watched = UNIT_FILES[kind.name]
    const terminator = new Terminator(kind, {
      ...{ folder: join(this.#own, kind.name), port: ports[index] ?? 0, backendPort },
      tickets: watched === undefined ? byNode : byRoot,
    })
    // Without its probe: a node on a host of its own does not reach the loopback of the terminators.
    const { probe, owner, check, reload, ...rest } = terminator.target(timesOf(kind).name)
    const setting = 'dir' in rest ? 'dir' : 'file'
    const to = String(rest[setting])
    const path = to.replace(byRoot, byNode)
    const target = { ...rest, name: kind.name, [setting]: path }
    if (watched === undefined) {
      return { terminator, target, path, given: path, unit: undefined }
    }
    if (setting === 'dir') mkdirSync(to)
    const commands = [check, reload].map((words) => (Array.isArray(words) ? words.join(' ') : ''))
    const folder = setting === 'dir' ? path : dirname(path)
    const args = [kind.name, path, to, 'root:root', ...commands]
    return { terminator, target, path, given: to, unit: new PathUnit(folder, watched, args) }
  }

  get terminators(): readonly Terminator[] {
    return [...this.#members.values()].map(({ terminator }) => terminator)
  }

  /** Starts the node. When it is ready everything is there that terminators need to start. */
  async startNode(env: NodeJS.ProcessEnv = {}): Promise<void> {
    const { name, kinds, replication, spawn: spawnProgram, targets } = this.#options
    const { listen, peer } = replication
    const members = [...this.#members.values()]
    const config = {
      node: { name },
      replication: { listen, peers: [peer], keys_file: join(this.#own, 'keys') },
      tickets: {
        groups: ALL_TIMES.filter((times) => kinds.some((kind) => timesOf(kind) === times)).map(
          ({ name: group, rotateSec, waitSec, lifetimeSec }) => ({
            ...{ name: group, rotate: `${rotateSec}s`, wait: `${waitSec}s` },
            lifetime: `${lifetimeSec}s`,
          }),
        ),
        targets: [...members.map(({ target }) => target), ...(targets?.(this.memory) ?? [])],
      },
    }
    this.#node = await startServe(this.#own, config, (args) =>
      spawnProgram(process.execPath, args, { ...process.env, ...env }),
    )
    for (const { path } of members) assert.ok(existsSync(path), path)
  }

  /** Starts the terminators after the first runs of the root unit, as systemd orders them. */
  async startTerminators(): Promise<void> {
    await Promise.all(
      [...this.#members.values()].map(async ({ terminator, unit }) => {
        unit?.start()
        await until(`the root unit has run for ${terminator.kind.name}`, () => unit?.hasRun ?? true)
        await terminator.start()
      }),
    )
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

  /** The groups as the node shows them. */
  async groups(): Promise<readonly Group[]> {
    assert.ok(this.#node !== undefined)
    const { body } = await ask(this.#node.http, { path: '/v1/tickets' })
    return JSON.parse(body.toString()).groups
  }

  /** The names of the keys of all groups, sorted. */
  async keyNames(): Promise<string[]> {
    return namesOf(await this.groups())
  }

  /** The name of the group of this kind. */
  groupOf(kind: string): string {
    return String(this.#members.get(kind)?.target['group'])
  }

  /** What the node says of its keys and what this terminator has of them: eight digits of each name, no secret. */
  async stateOf(kind: string): Promise<string> {
    const held = (await this.heldNames(kind)) ?? []
    const groups = await this.groups()
    const keys = groups.find(({ name }) => name === this.groupOf(kind))?.keys ?? []
    const known = keys.map(({ name, state }) => `${name.slice(0, 8)} ${state}`).join(', ')
    return `it has ${held.map((name) => name.slice(0, 8)).join(', ')}; its node has ${known}`
  }

  /** The names of the keys that this terminator was given; undefined where they cannot be read. */
  async heldNames(kind: string): Promise<string[] | undefined> {
    const { terminator, given } = this.#members.get(kind) ?? assert.fail(kind)
    switch (kind) {
      case 'nginx': {
        const text = readFileSync(join(given, 'tickets.conf'), 'utf8')
        return [...text.matchAll(/([0-9a-f]{32})\.key/g)].map(([, name = '']) => name)
      }
      case 'nghttpx':
        return readdirSync(given).map((name) =>
          readFileSync(join(given, name)).toString('hex', 0, 16),
        )
      case 'apache':
        return [readFileSync(given).toString('hex', 0, 16)]
      case 'h2o': {
        const text = readFileSync(given, 'utf8')
        return [...text.matchAll(/name: ([0-9a-f]{32})/g)].map(([, name = '']) => name)
      }
      case 'haproxy':
        return slotsOf(join(terminator.place.folder, 'admin.sock'))
      default:
        return undefined
    }
  }

  /** Cuts a file of each of these kinds to half of its length: one that starts the root unit. */
  cutFiles(kinds: readonly string[]): DamagedFile[] {
    return kinds.map((kind) => {
      const { path } = this.#filesOf(kind).find((one) => one.isWatched) ?? assert.fail(kind)
      truncateSync(path, Math.floor(statSync(path).size / 2))
      return { path, inode: statSync(path).ino }
    })
  }

  /** Gives a file of each of these kinds to root, so that nobody else reads it. */
  giveFilesAway(kinds: readonly string[]): DamagedFile[] {
    return kinds.map((kind) => {
      const [{ path } = assert.fail(kind)] = this.#filesOf(kind)
      chownSync(path, 0, 0)
      return { path, inode: statSync(path).ino }
    })
  }

  /** The files of the node for this kind, those of keys first; the root unit waits for one of them. */
  #filesOf(kind: string): { readonly path: string; readonly isWatched: boolean }[] {
    const { path } = this.#members.get(kind) ?? assert.fail(kind)
    if (!statSync(path).isDirectory()) return [{ path, isWatched: true }]
    const names = readdirSync(path).filter((name) => !name.startsWith('.'))
    return names.sort().map((name) => ({
      path: join(path, name),
      isWatched: name === UNIT_FILES[kind],
    }))
  }

  /** Fills the file system in memory. The function that it returns ends that. */
  fill(): () => void {
    // A file that is open keeps its place also when its name is gone, so nobody writes there instead.
    const folder = join(this.memory, 'node')
    const all = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    const files = all.map((name) => join(folder, name)).filter((path) => statSync(path).isFile())
    const open = files.map((path) => openSync(path, 'r'))
    const filler = join(this.memory, 'filler')
    spawnSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4k'], { stdio: 'ignore' })
    return () => {
      for (const descriptor of open) closeSync(descriptor)
      rmSync(filler)
    }
  }

  async stop(): Promise<void> {
    for (const { unit } of this.#members.values()) unit?.stop()
    const child = this.#node?.child
    child?.kill('SIGCONT')
    await Promise.all(this.terminators.map((one) => one.stop()))
    if (child !== undefined) await stopProcess(child)
    spawnSync('umount', ['-l', this.memory])
  }
}

/** Whether a file has been replaced by one of the node, or removed with its key. */
export function isMended({ path, inode }: DamagedFile): boolean {
  const status = statSync(path, { throwIfNoEntry: false })
  return status === undefined || (status.ino !== inode && status.uid === NODE_UID)
}

/** The names of the keys of these groups, sorted. */
export function namesOf(groups: readonly Group[]): string[] {
  return groups.flatMap(({ keys }) => keys.map(({ name }) => name)).sort()
}

/** The times of the group of this kind. */
export function timesOf({ name, keysHeld }: TerminatorKind): Times {
  if (keysHeld === 1) return SINGLE
  return name === 'h2o' || name === 'caddy' ? POLLED : GIVEN
}

/** The names of the keys in the slots of HAProxy, the one that it mints with last but one. */
async function slotsOf(path: string): Promise<string[]> {
  const socket = createConnection(path)
  socket.end('show tls-keys *\n')
  const answer = (await buffer(socket)).toString()
  const keys = [...answer.matchAll(/^\d+\.\d+ (\S+)/gm)].map(([, digits = '']) => digits)
  return keys.map((digits) => Buffer.from(digits, 'base64').toString('hex', 0, 16))
}

/**
 * What systemd does with the path unit and its service: runs the root unit at the start and each time when the node has
 * written the file that it watches, one run after another, and again when it failed.
 */
class PathUnit {
  readonly #folder: string
  readonly #file: string
  readonly #args: readonly string[]
  #watcher: FSWatcher | undefined
  #retry: NodeJS.Timeout | undefined
  #isRunning = false
  #isAgain = false
  #isStopped = false

  constructor(folder: string, file: string, args: readonly string[]) {
    this.#folder = folder
    this.#file = file
    this.#args = args
  }

  /** Whether the terminator has been given its first keys. */
  get hasRun(): boolean {
    const [, , to = ''] = this.#args
    return existsSync(basename(to) === this.#file ? to : join(to, this.#file))
  }

  start(): void {
    this.#watcher = watch(this.#folder, (_, name) => {
      if (name === this.#file) this.#run()
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
