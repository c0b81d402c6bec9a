// Reads what an Apache with mod_ssl is set up to do, out of its files.

import { createHash } from 'node:crypto'
import { resolve } from 'node:path'
import type { Machine } from '../machine.ts'
import {
  argumentOf,
  expand,
  type Running,
  type SessionCache,
  type Terminator,
  type TlsServer,
  uidsOf,
  wordsOf,
} from './terminator.ts'

const FILES = { apache2: '/etc/apache2/apache2.conf', httpd: '/etc/httpd/conf/httpd.conf' }
const MAX_DEPTH = 16
/** Port in the session ID context of a host whose ServerName has none. */
const DEFAULT_PORT = 443
const NAMES = [
  'sslengine',
  'sslsessioncache',
  'sslsessiontickets',
  'sslsessionticketkeyfile',
  'servername',
]

/** Settings of the main server or of a virtual host, by their names in lower case. */
type Settings = Map<string, string>

export function readApache(running: Running): Terminator {
  const { main, machine } = running
  const isDebian = main.program.startsWith('apache2')
  const given = argumentOf(main.args, '-f')
  const usual = isDebian ? FILES.apache2 : FILES.httpd
  const root = argumentOf(main.args, '-d') ?? (isDebian ? '/etc/apache2' : '/etc/httpd')
  const file = given === undefined ? usual : resolve(root, given)
  const reader = new ApacheReader(machine, root, variablesOf(machine, main.pid), main.args)
  reader.read(file, 0)
  const hosts = reader.hosts.filter((host) => isOn(settingOf('sslengine', host, reader.main)))
  const servers = hosts.map((host) => toServer(host, reader.main))
  if (hosts.length === 0 && isOn(reader.main.get('sslengine'))) {
    servers.push(toServer(reader.main, reader.main))
  }
  return {
    kind: 'Apache',
    file,
    servers,
    cache: cacheOf(reader.main.get('sslsessioncache')),
    uids: uidsOf(running),
  }
}

function toServer(host: Settings, main: Settings): TlsServer {
  const name = host.get('servername')
  const key = settingOf('sslsessionticketkeyfile', host, main)
  const tickets = settingOf('sslsessiontickets', host, main)
  const hasTickets = tickets === undefined || isOn(tickets)
  const kept = key === undefined ? 'own' : { file: key }
  const written = name === undefined || /:\d+$/.test(name) ? name : `${name}:${DEFAULT_PORT}`
  const id = written === undefined ? undefined : createHash('md5').update(written).digest('hex')
  return {
    name: name ?? 'a virtual host without ServerName',
    tickets: hasTickets ? kept : 'off',
    ...(id === undefined ? { isNameless: true } : { context: Buffer.from(id) }),
  }
}

function settingOf(name: string, host: Settings, main: Settings): string | undefined {
  return host.get(name) ?? main.get(name)
}

function isOn(text = 'off'): boolean {
  return text.toLowerCase() !== 'off'
}

function cacheOf(text = 'none'): SessionCache {
  const [, kind = '', rest = ''] = /^(memcache|redis):(.*)$/i.exec(text) ?? []
  if (kind.toLowerCase() === 'memcache') {
    return { kind: 'asked', frontend: 'memcached', at: rest.split(',').map(toAddress) }
  }
  return { kind: /^none|^nonenotnull/i.test(text) ? 'none' : 'own', text }
}

function toAddress(text: string): string {
  if (text.startsWith('/')) return `unix:${text}`
  return /:\d+$/.test(text) ? text : `${text}:11211`
}

/** Variables of the environment that the process was started in, which only its user and root can see. */
function variablesOf(machine: Machine, pid: number): Map<string, string> {
  const found = new Map<string, string>()
  const note = (line: string) => {
    const [, name = '', value = ''] = /^(?:export )?(\w+)=(.*)$/s.exec(line) ?? []
    if (name !== '') found.set(name, value.replace(/\$SUFFIX/g, ''))
  }
  for (const line of (machine.read('/etc/apache2/envvars') ?? '').split('\n')) note(line)
  for (const line of (machine.read(`/proc/${pid}/environ`) ?? '').split('\0')) note(line)
  return found
}

/** Follows includes, and leaves out what stands in conditions that are not met. */
class ApacheReader {
  readonly main: Settings = new Map()
  readonly hosts: Settings[] = []
  readonly #machine: Machine
  readonly #variables: Map<string, string>
  readonly #modules = new Set<string>()
  readonly #defines: Set<string>
  /** Sections that are open: whether each one counts, and the settings of a virtual host. */
  readonly #sections: { readonly isSkipped: boolean; readonly host?: Settings }[] = []
  #root: string

  constructor(
    machine: Machine,
    root: string,
    variables: Map<string, string>,
    args: readonly string[],
  ) {
    this.#machine = machine
    this.#root = root
    this.#variables = variables
    const defined = args.flatMap((arg, index) => (arg === '-D' ? [args[index + 1] ?? ''] : []))
    const joined = args.flatMap((arg) => (/^-D./.test(arg) ? [arg.slice(2)] : []))
    this.#defines = new Set([...defined, ...joined])
  }

  read(file: string, depth: number): void {
    const text = this.#machine.read(file)
    if (text === undefined || depth > MAX_DEPTH) return
    for (const raw of text.replace(/\\\n/g, ' ').split('\n')) {
      const line = raw.trim()
      if (line !== '' && !line.startsWith('#')) this.#take(line, depth)
    }
  }

  #take(line: string, depth: number): void {
    if (line.startsWith('</')) {
      this.#sections.pop()
      return
    }
    const isSkipped = this.#sections.some((section) => section.isSkipped)
    const [, section = '', rest = ''] = /^<(\w+)\s*(.*?)>$/.exec(line) ?? []
    if (section !== '') {
      this.#open(section.toLowerCase(), rest, isSkipped)
      return
    }
    if (isSkipped) return
    const [name = '', ...values] = wordsOf(this.#filled(line))
    this.#set(name.toLowerCase(), values, depth)
  }

  #open(section: string, rest: string, isSkipped: boolean): void {
    const isNegated = rest.startsWith('!')
    const what = rest.replace(/^!/, '').trim()
    if (section === 'ifmodule') {
      this.#sections.push({ isSkipped: this.#modules.has(what) === isNegated })
    } else if (section === 'ifdefine') {
      this.#sections.push({ isSkipped: this.#defines.has(what) === isNegated })
    } else if (section === 'virtualhost' && !isSkipped) {
      const host: Settings = new Map()
      this.hosts.push(host)
      this.#sections.push({ isSkipped: false, host })
    } else this.#sections.push({ isSkipped: false })
  }

  #set(name: string, values: readonly string[], depth: number): void {
    const [first = '', second = ''] = values
    if (name === 'include' || name === 'includeoptional') this.#include(first, depth)
    else if (name === 'serverroot') this.#root = first
    else if (name === 'define') {
      this.#defines.add(first)
      this.#variables.set(first, second)
    } else if (name === 'loadmodule') {
      this.#modules.add(first)
      this.#modules.add(second.replace(/^.*\/(.*)\.so$/, '$1.c'))
    } else if (NAMES.includes(name)) {
      // The session cache is that of the whole server, wherever it stands.
      const host = this.#sections.findLast((section) => section.host !== undefined)?.host
      const settings = name === 'sslsessioncache' ? this.main : (host ?? this.main)
      const isFile = name === 'sslsessionticketkeyfile'
      settings.set(name, isFile ? resolve(this.#root, first) : first)
    }
  }

  #include(pattern: string, depth: number): void {
    for (const path of expand(this.#machine, resolve(this.#root, pattern))) {
      const status = this.#machine.status(path)
      if (typeof status === 'object' && status.kind === 'folder')
        this.#include(`${path}/*`, depth + 1)
      else this.read(path, depth + 1)
    }
  }

  #filled(line: string): string {
    return line.replace(/\$\{(\w+)\}/g, (text, name: string) => this.#variables.get(name) ?? text)
  }
}
