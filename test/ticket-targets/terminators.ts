// The terminators that take ticket keys, run from the examples of deploy/terminators/tickets with addresses of their own.
// With DEBIAN_FOLDER they, and what checks or reloads them, are the programs of another release of Debian.

import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { createConnection, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import type { TlsVersion } from '../../src/tls-client/handshake.ts'
import { adapt, type Replacement } from '../support/adapt.ts'
import { isOtherRelease, releasedCommand, whyWithoutReleased } from '../support/debian-release.ts'
import { until } from '../support/latch.ts'

const EXAMPLES = fileURLToPath(new URL('../../deploy/terminators/tickets/', import.meta.url))
const TICKETS = '/run/tlscached/tickets'
const APACHE_MODULES = '/usr/lib/apache2/modules'

/** Where one terminator lives. */
export interface Place {
  /** Folder of its own; certificates lie one above it. */
  readonly folder: string
  /** Folder in memory for its keys. */
  readonly tickets: string
  readonly port: number
  /** Where a program listens that terminators connect to behind them. */
  readonly backendPort: number
}

export interface TerminatorKind {
  readonly name: string
  readonly skip: string | false
  /** With 1 only tickets under the key that both hold now resume. */
  readonly keysHeld: number
  readonly versions: readonly TlsVersion[]
  /** File of the example. */
  readonly config: string
  /** What replaces the addresses of the example, besides those that all have. */
  replace(place: Place): readonly Replacement[]
  /** The program and its arguments, given the adapted example. */
  command(file: string, place: Place): readonly [string, ...string[]]
  /** Replacements in the target of tlscached.yaml. */
  replaceTarget(file: string, place: Place): readonly Replacement[]
  /** Whether it signs tickets with whatever lies in its memory, so that only some of them resume. */
  readonly isErratic?: boolean
  /** Whether it starts without any file of keys, as after a reboot before its node. */
  readonly startsEmpty?: boolean
  /** Whether it refuses connections for a moment at each reload. */
  readonly closesPort?: boolean
  /** Factor by which its clock is to run faster than ours. */
  readonly speed?: number
}

const BOTH: readonly TlsVersion[] = ['1.2', '1.3']

const nginx: TerminatorKind = {
  name: 'nginx',
  skip: whyWithoutReleased('nginx', '-v'),
  keysHeld: 8,
  startsEmpty: true,
  versions: BOTH,
  config: 'nginx/www.conf',
  replace: () => [],
  command(file, { folder }) {
    const main = [
      'daemon off; worker_processes 2;',
      `pid ${folder}/pid; error_log ${folder}/error.log;`,
      'events {}',
      `http { access_log off; include ${file}; }`,
    ]
    writeFileSync(join(folder, 'nginx.conf'), main.join('\n'))
    return ['nginx', '-p', folder, '-c', join(folder, 'nginx.conf')]
  },
  replaceTarget: (_, { folder }) => [
    ['[nginx, -t]', released('nginx', '-t', '-q', '-p', folder, '-c', `${folder}/nginx.conf`)],
    [
      '[nginx, -s, reload]',
      released('nginx', '-p', folder, '-c', `${folder}/nginx.conf`, '-s', 'reload'),
    ],
  ],
}

const haproxy: TerminatorKind = {
  name: 'haproxy',
  skip: whyWithoutReleased('haproxy', '-v'),
  keysHeld: 3,
  versions: BOTH,
  config: 'haproxy/haproxy.cfg',
  replace: ({ folder }) => [
    ['/run/haproxy/admin.sock', join(folder, 'admin.sock')],
    ['mode 600', 'mode 600 user www-data'],
  ],
  command: (file) => ['haproxy', '-W', '-db', '-f', file],
  replaceTarget: (_, { folder }) => [['/run/haproxy/admin.sock', join(folder, 'admin.sock')]],
}

const lighttpd: TerminatorKind = {
  name: 'lighttpd',
  skip: whyWithoutReleased('lighttpd', '-v') || whyWithoutReleased('faketime', '--version'),
  keysHeld: 3,
  versions: BOTH,
  config: 'lighttpd/lighttpd.conf',
  replace: ({ port, folder }) => [
    ['server.port = 443', `server.port = ${port}\nserver.bind = "127.0.0.1"`],
    ['/var/www/html', join(folder, '..')],
  ],
  command: (file) => ['lighttpd', '-D', '-f', file],
  replaceTarget: () => [],
  speed: 6,
}

const caddy: TerminatorKind = {
  name: 'caddy',
  skip: whyWithoutReleased('caddy', 'version'),
  keysHeld: 8,
  versions: BOTH,
  config: 'caddy/caddy.json',
  replace: ({ folder }) => [
    ['"1m"', '"6s"'],
    ['"apps"', `"admin": { "disabled": true }, "storage": ${storageIn(folder)}, "apps"`],
  ],
  command: (file) => ['caddy', 'run', '--config', file],
  replaceTarget: () => [['owner: caddy', 'poll: 2s']],
}

const h2o: TerminatorKind = {
  name: 'h2o',
  skip: isOtherRelease() ? 'Debian 13 has no h2o' : whyWithoutReleased('h2o'),
  keysHeld: 8,
  versions: BOTH,
  config: 'h2o/h2o.conf',
  replace: ({ port, folder }) => [
    ['port: 443', `port: ${port}`],
    ['/var/www/html', join(folder, '..')],
  ],
  command: (file) => ['h2o', '-c', file],
  replaceTarget: () => [],
}

const nghttpx: TerminatorKind = {
  name: 'nghttpx',
  skip: whyWithoutReleased('nghttpx'),
  keysHeld: 4,
  versions: BOTH,
  config: 'nghttpx/nghttpx.conf',
  replace: ({ port }) => [['0.0.0.0,443', `127.0.0.1,${port}`]],
  command: (file, { folder }) => ['nghttpx', `--conf=${file}`, `--pid-file=${folder}/pid`],
  replaceTarget: (_, { folder }) => [['[systemctl, reload, nghttpx]', signal('HUP', folder)]],
}

const stunnel: TerminatorKind = {
  name: 'stunnel',
  skip: whyWithoutReleased('stunnel4', '-version'),
  keysHeld: 1,
  closesPort: true,
  versions: BOTH,
  config: 'stunnel/stunnel.conf',
  replace: ({ folder }) => [['pid =', `pid = ${folder}/pid`]],
  command: (file) => ['stunnel4', file],
  replaceTarget: (_, { folder }) => [['[systemctl, reload, stunnel4]', signal('HUP', folder)]],
}

const apache: TerminatorKind = {
  name: 'apache',
  skip: whyWithoutReleased('apache2', '-v'),
  keysHeld: 1,
  versions: BOTH,
  // Seen with 2.4.71 after its first reload: some of its processes sign with zeros, others with other bytes.
  isErratic: true,
  config: 'apache/www.conf',
  replace: ({ port, folder }) => [
    ['*:443', `127.0.0.1:${port}`],
    ['/var/www/html', join(folder, '..')],
  ],
  command(file, { folder, port }) {
    const modules = ['mpm_event', 'ssl', 'authz_core', 'socache_shmcb'].map(
      (name) => `LoadModule ${name}_module ${APACHE_MODULES}/mod_${name}.so`,
    )
    const main = [
      ...modules,
      `ServerRoot ${folder}\nServerName www.example\nListen 127.0.0.1:${port}`,
      `PidFile ${folder}/pid\nErrorLog ${folder}/error.log\nUser www-data\nGroup www-data`,
      `Include ${file}`,
    ]
    writeFileSync(join(folder, 'apache.conf'), `${main.join('\n')}\n`)
    return ['apache2', '-DFOREGROUND', '-f', join(folder, 'apache.conf')]
  },
  replaceTarget: (_, { folder }) => [
    ['[apache2ctl, configtest]', released('apache2', '-t', '-f', `${folder}/apache.conf`)],
    ['[systemctl, reload, apache2]', signal('USR1', folder)],
  ],
}

export const TERMINATORS: readonly TerminatorKind[] = [
  nginx,
  haproxy,
  lighttpd,
  caddy,
  // Debian 13 has none.
  ...(isOtherRelease() ? [] : [h2o]),
  nghttpx,
  stunnel,
  apache,
]

const CHOSEN = process.env['TICKET_TARGETS']?.split(',')
/** Those that TICKET_TARGETS names; all without it. */
export const CHOSEN_TERMINATORS = TERMINATORS.filter(
  ({ name }) => CHOSEN === undefined || CHOSEN.includes(name),
)

/** Returns what terminators connect to behind them: it takes connections and says nothing. */
export function silentBackend(): Server {
  return createServer((socket) => {
    socket.on('error', () => {})
    socket.on('end', () => socket.end())
  })
}

/** A terminator that was set up and may run. */
export class Terminator {
  readonly kind: TerminatorKind
  readonly place: Place
  readonly #file: string
  #child: ChildProcess | undefined

  constructor(kind: TerminatorKind, place: Place) {
    this.kind = kind
    this.place = place
    const { folder, tickets, port, backendPort } = place
    mkdirSync(folder, { recursive: true })
    const example = readFileSync(join(EXAMPLES, kind.config), 'utf8')
    const shared = join(folder, '..')
    const everywhere: Replacement[] = [
      ['/etc/tlscached/', `${shared}/`],
      [TICKETS, tickets],
      ['0.0.0.0:443', `127.0.0.1:${port}`],
      ['listen 443', `listen 127.0.0.1:${port}`],
      ['host: 0.0.0.0', 'host: 127.0.0.1'],
      ['127.0.0.1:8080', `127.0.0.1:${backendPort}`],
    ]
    const common = everywhere.filter(([from]) => example.includes(from))
    this.#file = join(folder, kind.config.split('/')[1] ?? '')
    writeFileSync(this.#file, adapt(example, [...common, ...kind.replace(place)]))
  }

  /** The target of the example, for the node beside it. */
  target(group: string): Record<string, unknown> {
    const { tickets, port } = this.place
    const example = readFileSync(join(EXAMPLES, this.kind.name, 'tlscached.yaml'), 'utf8')
    // Prepared first: it writes the files that the commands name.
    this.kind.command(this.#file, this.place)
    const adapted = adapt(example, [
      [TICKETS, tickets],
      ['127.0.0.1:443', `127.0.0.1:${port}`],
      ['www.example', 'localhost'],
      ...this.kind.replaceTarget(this.#file, this.place),
    ])
    return { ...parse(adapted).tickets.targets[0], group }
  }

  /** Starts the program and waits until it takes connections. Its clock may show another time and run faster. */
  async start(clock?: { readonly offsetSec: () => number; readonly speed: number }): Promise<void> {
    const [program, ...args] = this.kind.command(this.#file, this.place)
    const out = openSync(join(this.place.folder, 'out'), 'a')
    // A process group of its own, since faketime does not pass signals on.
    const options: SpawnOptions = {
      stdio: ['ignore', out, out],
      cwd: this.place.folder,
      detached: true,
    }
    const faked =
      clock === undefined
        ? []
        : ['faketime', '-f', `+${clock.offsetSec().toFixed(3)}s x${clock.speed}`]
    const [first, ...rest] = [...faked, program, ...args]
    const [command, commandArgs] = releasedCommand(first ?? '', rest, this.place.folder)
    const env = { ...process.env, ...(clock !== undefined && { NO_FAKE_STAT: '1' }) }
    const child = spawn(command, commandArgs, { ...options, env })
    this.#child = child
    await until(`${this.kind.name} listens`, () => {
      if (child.exitCode !== null) throw new Error(`${this.kind.name} ended: ${this.said()}`)
      return isListening(this.place.port)
    })
  }

  /** Whether it runs: the process that was started, never another one. */
  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null
  }

  said(): string {
    return readFileSync(join(this.place.folder, 'out'), 'utf8').slice(-2000)
  }

  async stop(): Promise<void> {
    const child = this.#child
    if (child?.pid === undefined || child.exitCode !== null) return
    const ended = once(child, 'exit')
    process.kill(-child.pid, 'SIGTERM')
    await ended
  }
}

/** A command for a target: a sequence in JSON, which is YAML, too. */
function released(program: string, ...args: string[]): string {
  return JSON.stringify(releasedCommand(program, args).flat())
}

/** Caddy's own storage, which ticket keys never touch. */
function storageIn(folder: string): string {
  return JSON.stringify({ module: 'file_system', root: join(folder, 'storage') })
}

/** Signals the process whose ID the terminator has written down, without a shell. */
function signal(name: string, folder: string): string {
  return `[pkill, -${name}, --pidfile, ${folder}/pid]`
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1', () => socket.destroy())
    socket.on('close', (hadError) => resolve(!hadError))
    socket.on('error', () => {})
  })
}
