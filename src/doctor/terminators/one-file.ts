// Reads what HAProxy, stunnel and h2o are set up to do: one file, without conditions.

import { join, resolve } from 'node:path'
import { parse } from 'yaml'
import type { Machine } from '../machine.ts'
import {
  argumentOf,
  type Running,
  type SessionCache,
  type Terminator,
  type TlsServer,
  uidsOf,
  wordsOf,
} from './terminator.ts'

// HAProxy resumes by tickets between machines; its session cache is its own.

const HAPROXY_FILE = '/etc/haproxy/haproxy.cfg'

export function readHaproxy(running: Running): Terminator {
  const { main, machine } = running
  const files = haproxyFiles(machine, main.args)
  const lines = files.flatMap((file) => (machine.read(file) ?? '').split('\n'))
  const servers: TlsServer[] = []
  const sockets: string[] = []
  let section = ''
  let hasTickets = true
  for (const line of lines) {
    const words = wordsOf(line.replace(/(^|\s)#.*$/, ''))
    const [first = '', second = ''] = words
    if (/^\S/.test(line) && first !== '') section = `${first} ${second}`.trim()
    if (first === 'ssl-default-bind-options' && words.includes('no-tls-tickets')) hasTickets = false
    if (first === 'stats' && second === 'socket') sockets.push(words[2] ?? '')
    if (first !== 'bind' || !words.includes('ssl')) continue
    const key = words[words.indexOf('tls-ticket-keys') + 1]
    const kept = words.includes('tls-ticket-keys') && key ? { file: key } : 'own'
    const isOff = !hasTickets || words.includes('no-tls-tickets')
    servers.push({ name: `${section}, bind ${second}`, tickets: isOff ? 'off' : kept })
  }
  const master = argumentOf(main.args, '-S')?.split(',')[0]
  return {
    kind: 'HAProxy',
    file: files[0] ?? HAPROXY_FILE,
    servers,
    cache: { kind: 'own', text: 'tune.ssl.cachesize' },
    uids: uidsOf(running),
    keySockets: [...sockets, ...(master === undefined ? [] : [master])],
  }
}

/** Files after each -f, those of a folder, and those after `--`. */
function haproxyFiles(machine: Machine, args: readonly string[]): readonly string[] {
  const end = args.indexOf('--')
  const after = end < 0 ? [] : args.slice(end + 1)
  const named = args.flatMap((arg, index) => (arg === '-f' ? [args[index + 1] ?? ''] : []))
  return [...named, ...after].flatMap((path) => {
    const status = machine.status(path)
    if (typeof status !== 'object' || status.kind !== 'folder') return [path]
    return machine
      .list(path)
      .filter((name) => name.endsWith('.cfg'))
      .map((name) => join(path, name))
  })
}

// stunnel hands out tickets only with keys of its configuration.

const STUNNEL_FILE = '/etc/stunnel/stunnel.conf'
/** Name of the service of a file without sections. */
const STUNNEL_SERVICE = 'stunnel'

export function readStunnel(running: Running): Terminator {
  const { main, machine } = running
  const file = main.args.slice(1).find((arg) => !arg.startsWith('-')) ?? STUNNEL_FILE
  const defaults = new Map<string, Setting>()
  const services = new Map<string, Map<string, Setting>>()
  let current = defaults
  for (const { line, file: at } of stunnelLines(machine, file)) {
    const text = line.trim()
    if (text === '' || text.startsWith(';') || text.startsWith('#')) continue
    const section = /^\[(.*)\]$/.exec(text)?.[1]
    if (section !== undefined) {
      current = new Map(defaults)
      services.set(section, current)
    } else {
      const [, name = '', value = ''] = /^(\w+)\s*=\s*(.*)$/.exec(text) ?? []
      current.set(name.toLowerCase(), { value, file: at })
    }
  }
  if (services.size === 0) services.set(STUNNEL_SERVICE, defaults)
  const servers = [...services].filter(([, settings]) => settings.get('client')?.value !== 'yes')
  const asked = servers.flatMap(([, settings]) => settings.get('sessiond')?.value ?? [])
  const cache: SessionCache =
    asked.length === 0
      ? { kind: 'own', text: 'no sessiond' }
      : { kind: 'asked', frontend: 'sessiond', at: [...new Set(asked)].map(withHost) }
  return {
    kind: 'stunnel',
    file,
    servers: servers.map(([name, settings]) => {
      const keys = settings.get('ticketkeysecret')
      const context = Buffer.from(name).subarray(0, 32)
      return { name, tickets: keys === undefined ? 'off' : { file: keys.file }, context }
    }),
    cache,
    uids: uidsOf(running),
  }
}

/** A setting of stunnel, and the file in which it stands. */
interface Setting {
  readonly value: string
  readonly file: string
}

/** The lines of a file, with those of the folder that `include` names in its place, in the order of their names. */
function stunnelLines(machine: Machine, file: string) {
  const linesOf = (path: string) =>
    (machine.read(path) ?? '').split('\n').map((line) => ({ line, file: path }))
  return linesOf(file).flatMap((one) => {
    const folder = /^\s*include\s*=\s*(\S+)/.exec(one.line)?.[1]
    if (folder === undefined) return [one]
    const names = machine.list(folder).filter((name) => !name.startsWith('.'))
    return names.flatMap((name) => linesOf(join(folder, name)))
  })
}

function withHost(text: string): string {
  return text.includes(':') ? text : `127.0.0.1:${text}`
}

// h2o keeps sessions and tickets as its one section says; without that, both are its own.

const H2O_FILE = '/etc/h2o/h2o.conf'
const H2O_MODES = { off: '', cache: 'cache', ticket: 'ticket', all: 'cache ticket' }

export function readH2o(running: Running): Terminator {
  const { main, machine } = running
  const file = resolve('/', argumentOf(main.args, '-c', '--conf') ?? H2O_FILE)
  const config = parseYaml(machine.read(file))
  const resumption = config['ssl-session-resumption'] ?? {}
  const settings: Record<string, unknown> = isRecord(resumption) ? resumption : {}
  const mode = String(settings['mode'] ?? 'all').toLowerCase()
  const used = Object.entries(H2O_MODES).find(([name]) => name === mode)?.[1] ?? ''
  const ticketFile = settings['ticket-file']
  const isInMemcached = settings['ticket-store'] === 'memcached'
  const ownOrShared = isInMemcached ? 'memcached' : 'own'
  const kept = typeof ticketFile === 'string' ? { file: ticketFile } : ownOrShared
  const isTls = /"?ssl"?\s*:/.test(JSON.stringify([config['listen'], config['hosts']]) ?? '')
  return {
    kind: 'h2o',
    file,
    servers: isTls
      ? [
          {
            name: 'all hosts',
            tickets: used.includes('ticket') ? kept : 'off',
            context: Buffer.alloc(0),
          },
        ]
      : [],
    cache: used.includes('cache') ? h2oCache(settings) : { kind: 'none', text: `mode: ${mode}` },
    uids: uidsOf(running),
  }
}

function h2oCache(settings: Readonly<Record<string, unknown>>): SessionCache {
  const store = String(settings['cache-store'] ?? 'internal')
  const { memcached } = settings
  if (store !== 'memcached' || !isRecord(memcached)) return { kind: 'own', text: store }
  const host = String(memcached['host'] ?? '127.0.0.1')
  const at = host.startsWith('/') ? `unix:${host}` : `${host}:${memcached['port'] ?? 11211}`
  return { kind: 'asked', frontend: 'memcached', at: [at] }
}

function parseYaml(text = ''): Readonly<Record<string, unknown>> {
  try {
    const parsed: unknown = parse(text, { logLevel: 'silent' })
    return isRecord(parsed) ? parsed : {}
  } catch {
    return {}
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
