// Finds the TLS terminators that run on a machine, and says whether their sessions can come to the node.

import { formatAddress, isLoopback, parseHostAddress } from '../../base/address.ts'
import type { NodeConfig } from '../../node/config.ts'
import { type Finding, findingsAbout } from '../finding.ts'
import { closedFolder, findUser, type Machine, may, type Process, WRITE } from '../machine.ts'
import { readApache } from './apache.ts'
import { readNginx } from './nginx.ts'
import { readH2o, readHaproxy, readStunnel } from './one-file.ts'
import { KINDS, type Kind, type Running, type Terminator, type TlsServer } from './terminator.ts'

interface KindFacts {
  readonly programs: readonly string[]
  readonly read: (running: Running) => Terminator
  /** What switches tickets off; undefined where only tickets resume between machines. */
  readonly ticketsOff: string | undefined
  /** What names shared keys of tickets. */
  readonly ticketKeys: string
  /** What makes it ask the node. */
  readonly ask: string
}

const KIND_FACTS: Readonly<Record<Kind, KindFacts>> = {
  Apache: {
    programs: ['apache2', 'httpd'],
    read: readApache,
    ticketsOff: 'SSLSessionTickets off, then apachectl graceful',
    ticketKeys: 'SSLSessionTicketKeyFile',
    ask: 'SSLSessionCache memcache:',
  },
  nginx: {
    programs: ['nginx'],
    read: readNginx,
    ticketsOff: 'ssl_session_tickets off; then nginx -s reload',
    ticketKeys: 'ssl_session_ticket_key',
    ask: 'the Lua script of deploy/terminators/nginx with the socket ',
  },
  HAProxy: {
    programs: ['haproxy'],
    read: readHaproxy,
    ticketsOff: undefined,
    ticketKeys: 'tls-ticket-keys FILE on the bind line',
    ask: '',
  },
  stunnel: {
    programs: ['stunnel', 'stunnel4', 'stunnel5'],
    read: readStunnel,
    ticketsOff: 'take ticketKeySecret and ticketMacSecret out',
    ticketKeys: 'ticketKeySecret and ticketMacSecret',
    ask: 'sessiond = ',
  },
  h2o: {
    programs: ['h2o'],
    read: readH2o,
    ticketsOff: 'ssl-session-resumption: mode: cache',
    ticketKeys: 'ticket-store: file with ticket-file',
    ask: 'ssl-session-resumption: cache-store: memcached with ',
  },
}

export interface TerminatorFacts {
  readonly machine: Machine
  readonly processes: readonly Process[]
  /** Undefined when it is not valid; then only what needs no node is said. */
  readonly config: NodeConfig | undefined
}

export function terminatorFindings(facts: TerminatorFacts): readonly Finding[] {
  const { ok } = findingsAbout('terminator')
  const found = findRunning(facts)
  if (found.length === 0) {
    return [ok('no Apache, nginx, HAProxy, stunnel or h2o runs here, as far as this user can see')]
  }
  return found.flatMap((running) => {
    const unread: string[] = []
    const seen = { ...running, machine: noting(running.machine, unread) }
    const terminator = KIND_FACTS[running.kind].read(seen)
    return examineTerminator(facts, terminator, running, unread)
  })
}

/** A main process is one whose parent is no process of the same program. */
function findRunning({ machine, processes }: TerminatorFacts): readonly Running[] {
  const own = machine.linkAt('/proc/self/ns/mnt')
  return KINDS.flatMap((kind) => {
    const all = processes.filter(({ program }) => KIND_FACTS[kind].programs.includes(program))
    const pids = new Set(all.map(({ pid }) => pid))
    return all
      .filter(({ parentPid }) => !pids.has(parentPid))
      .map((main): Running => {
        const workers = all.filter(({ parentPid }) => parentPid === main.pid)
        const there = machine.linkAt(`/proc/${main.pid}/ns/mnt`)
        // One in a container has files of its own, which root can see below the process.
        const isElsewhere = own !== undefined && there !== undefined && own !== there
        const seen = isElsewhere ? below(machine, `/proc/${main.pid}/root`) : machine
        return { kind, main, workers, machine: seen }
      })
  })
}

/** The machine, which puts on a list the files that are there and that this user cannot read. */
function noting(machine: Machine, unread: string[]): Machine {
  return {
    ...machine,
    read(path) {
      const text = machine.read(path)
      const isThere = text !== undefined || machine.status(path) !== 'missing'
      if (text === undefined && isThere && !path.startsWith('/proc/')) unread.push(path)
      return text
    },
  }
}

/** The machine as a process sees it whose root is this folder; what is in /proc stays. */
function below(machine: Machine, root: string): Machine {
  const at = (path: string) => (path.startsWith('/proc/') ? path : `${root}${path}`)
  return {
    uid: machine.uid,
    read: (path) => machine.read(at(path)),
    status: (path) => machine.status(at(path)),
    list: (path) => machine.list(at(path)),
    linkAt: (path) => machine.linkAt(at(path)),
  }
}

function examineTerminator(
  facts: TerminatorFacts,
  terminator: Terminator,
  { main, machine }: Running,
  unread: readonly string[],
): readonly Finding[] {
  const { ok, warning } = findingsAbout('terminator')
  const { kind, file, servers } = terminator
  const shown = `${kind} (pid ${main.pid}, ${file})`
  const [closed] = machine.read(file) === undefined ? [file] : unread
  if (closed !== undefined) {
    const message = `${shown}: this user cannot read its configuration as a whole (${closed})`
    return [warning(message, 'run doctor as root')]
  }
  if (servers.length === 0) return [ok(`${shown} speaks no TLS`)]
  return [
    ...ticketFindings(terminator, shown, machine),
    ...firstKeyFindings(facts, terminator, shown),
    ...cacheFindings(facts, terminator, shown),
    ...contextFindings(facts, terminator, shown),
    ...keySocketFindings(terminator, shown, machine),
  ]
}

function ticketFindings(
  { kind, servers, cache }: Terminator,
  shown: string,
  machine: Machine,
): readonly Finding[] {
  const { ok, warning, error } = findingsAbout('terminator')
  const { ticketsOff, ticketKeys } = KIND_FACTS[kind]
  const handing = servers.filter(({ tickets }) => tickets !== 'off')
  if (handing.length === 0) {
    if (ticketsOff !== undefined) return [ok(`${shown}: tickets are off`)]
    const message = `${shown}: tickets are off, and it asks no cache but its own: sessions resume on this machine only`
    return [warning(message, `${ticketKeys}, with the same keys on all machines`)]
  }
  if (cache.kind === 'asked') {
    const message = `${shown}: tickets are on for ${namesOf(handing)}, and clients that have one ask no cache`
    return [error(message, ticketsOff ?? '')]
  }
  const own = handing.filter(({ tickets }) => tickets === 'own')
  const found: Finding[] = []
  if (own.length > 0) {
    const message = `${shown}: ${namesOf(own)} hands out tickets under keys of its own: they resume on this machine only`
    found.push(warning(message, `${ticketKeys}, with the same keys on all machines`))
  }
  if (handing.some(({ tickets }) => tickets === 'memcached')) {
    found.push(ok(`${shown}: takes its ticket keys from memcached`))
  }
  for (const path of new Set(handing.flatMap(({ tickets }) => filesOf(tickets)))) {
    found.push(ticketFileFinding(shown, path, machine))
  }
  return found
}

/** A server whose first key is another than those that this node gives it: they never make a ticket. */
function firstKeyFindings(
  { config }: TerminatorFacts,
  { servers }: Terminator,
  shown: string,
): readonly Finding[] {
  const { error } = findingsAbout('terminator')
  const folders = (config?.tickets?.targets ?? []).flatMap((target) =>
    'dir' in target ? [`${target.dir}/`] : [],
  )
  const isGiven = (path: string) => folders.some((folder) => path.startsWith(folder))
  return servers.flatMap(({ name, tickets, openers = [] }) => {
    const [first] = filesOf(tickets)
    if (first === undefined || isGiven(first) || !openers.some(isGiven)) return []
    const message = `${shown}: ${name} makes its tickets under ${first}, its first key, which is never renewed: those of the node only open tickets`
    return [error(message, 'take the other lines of ssl_session_ticket_key out')]
  })
}

function filesOf(tickets: TlsServer['tickets']): readonly string[] {
  return typeof tickets === 'object' ? [tickets.file] : []
}

function ticketFileFinding(shown: string, path: string, machine: Machine): Finding {
  const { ok, warning, error } = findingsAbout('terminator')
  const status = machine.status(path)
  if (status === 'hidden') {
    return warning(
      `${shown}: this user cannot see the ticket keys in ${path}`,
      'run doctor as root',
    )
  }
  if (status === 'missing') {
    return error(
      `${shown}: there is no file of ticket keys ${path}`,
      'make it, or correct the path',
    )
  }
  if ((status.mode & 0o007) === 0) return ok(`${shown}: tickets under the keys of ${path}`)
  const message = `${shown}: everybody can read the ticket keys in ${path}, and with them what clients say`
  return error(message, `chmod 600 ${path}, and new keys`)
}

function cacheFindings(
  { machine, config }: TerminatorFacts,
  { kind, cache, uids, servers }: Terminator,
  shown: string,
): readonly Finding[] {
  const { ok, warning, error } = findingsAbout('terminator')
  const { ask, ticketsOff } = KIND_FACTS[kind]
  if (cache.kind !== 'asked') {
    // What shares by tickets needs no cache.
    const isByTicket = servers.every(({ tickets }) => tickets !== 'off' && tickets !== 'own')
    if (isByTicket || ticketsOff === undefined) return []
    // With tickets on, nginx shares them more easily than sessions, and that is said already.
    if (kind === 'nginx' && servers.some(({ tickets }) => tickets !== 'off')) return []
    const own =
      cache.kind === 'own' ? `keeps sessions on this machine (${cache.text})` : 'keeps none'
    const frontend = kind === 'stunnel' ? 'sessiond' : 'memcached'
    const address = config?.frontends[frontend]
    const where = address === undefined ? 'ADDRESS' : askedForm(formatAddress(address))
    return [warning(`${shown} ${own}, and does not ask a node`, `${ask}${where}`)]
  }
  const { frontend, at } = cache
  if (at.length === 0) {
    return [ok(`${shown} asks a cache by a script of its own, whose address doctor does not know`)]
  }
  if (config === undefined) return [ok(`${shown} asks ${at.join(', ')}`)]
  const address = config.frontends[frontend]
  if (address === undefined) {
    const message = `${shown} asks ${at.join(', ')}, and the node has no frontends.${frontend}`
    return [error(message, `frontends: { ${frontend}: "${at[0] ?? ''}" } in its configuration`)]
  }
  const listens = formatAddress(address)
  if (!at.some((one) => isSame(one, listens))) {
    const message = `${shown} asks ${at.join(', ')}, and the node listens at ${listens}`
    return [error(message, `${ask}${askedForm(listens)}`)]
  }
  if (!('path' in address)) return [ok(`${shown} asks the node at ${listens}`)]
  const problem = accessProblem(machine, uids, address.path)
  if (problem !== undefined) {
    return [error(`${shown}: ${problem}`, 'run node and terminator as one user: User= in the unit')]
  }
  return [ok(`${shown} asks the node at ${listens}`)]
}

/** Says why these users cannot connect to a unix socket; undefined when they can, or nothing is known of it. */
function accessProblem(machine: Machine, uids: readonly number[], path: string) {
  const status = machine.status(path)
  if (typeof status !== 'object') return undefined
  for (const uid of uids) {
    const user = findUser(machine, uid)
    if (user === undefined) continue
    const owner = findUser(machine, status.uid)?.name ?? String(status.uid)
    if (!may(user, status, WRITE)) {
      return `it runs as ${user.name}, and ${path} is for ${owner} alone: every handshake is a full one`
    }
    const closed = closedFolder(machine, user, path)
    if (closed !== undefined) return `it runs as ${user.name}, which may not enter ${closed}`
  }
  return undefined
}

/** Whether both spell the same place; all addresses of loopback count as one. */
function isSame(asked: string, listens: string): boolean {
  if (asked === listens) return true
  if (asked.startsWith('unix:') || listens.startsWith('unix:')) return false
  try {
    const [a, b] = [parseHostAddress(asked), parseHostAddress(listens)]
    const isAnywhere = b.host === '::' || b.host === '0.0.0.0'
    return a.port === b.port && (isAnywhere || (isLoopback(a) && isLoopback(b)))
  } catch {
    return false
  }
}

/** The address as Apache, stunnel and h2o write it. */
function askedForm(address: string): string {
  return address.replace(/^unix:/, '')
}

function contextFindings(
  { config }: TerminatorFacts,
  { kind, servers, cache }: Terminator,
  shown: string,
): readonly Finding[] {
  const { warning, error } = findingsAbout('terminator')
  if (cache.kind !== 'asked') return []
  const found: Finding[] = []
  if (servers.some(({ isNameless }) => isNameless)) {
    const message = `${shown}: a virtual host without ServerName gets a context of this machine's name: nothing resumes on other machines`
    found.push(warning(message, 'ServerName in each virtual host, the same on all machines'))
  }
  const limits = config?.caches.find(
    ({ limits: { name } }) => name === config.frontends.cache,
  )?.limits
  const listed = limits?.contexts?.map((one) => Buffer.from(one).toString('hex'))
  if (limits === undefined || listed === undefined) return found
  for (const { name, context } of servers) {
    if (context === undefined || listed.includes(context.toString('hex'))) continue
    const text = kind === 'h2o' ? 'hex:' : context.toString()
    found.push(
      error(
        `${shown}: the sessions of ${name} have the context "${text}", which caches[].contexts of ${limits.name} does not list: every put is refused`,
        `add "${text}" to contexts, or leave contexts out`,
      ),
    )
  }
  return found
}

/** Every level of HAProxy's sockets lists the ticket keys (`show tls-keys *`), so whoever may connect has them. */
function keySocketFindings(
  { servers, keySockets = [] }: Terminator,
  shown: string,
  machine: Machine,
): readonly Finding[] {
  const { ok, warning, error } = findingsAbout('terminator')
  // Only keys of a file are listed.
  if (servers.every(({ tickets }) => typeof tickets !== 'object')) return []
  return keySockets.map((socket) => {
    const lists = `${shown}: ${socket} lists the ticket keys to`
    const path = socket.replace(/^unix@/, '')
    const fix = 'stats socket PATH mode 600 user root, whatever its level'
    if (!path.startsWith('/'))
      return error(`${lists} everybody who reaches it over the network`, fix)
    const status = machine.status(path)
    if (typeof status !== 'object') return ok(`${lists} those who may connect; it is not there now`)
    if ((status.mode & 0o006) !== 0) return error(`${lists} every user of this machine`, fix)
    const isOwn = (status.mode & 0o060) === 0 || status.gid === 0
    if (isOwn) return ok(`${lists} its owner alone`)
    return warning(`${lists} the group ${status.gid}`, fix)
  })
}

function namesOf(servers: readonly TlsServer[]): string {
  const [first, ...others] = servers.map(({ name }) => name)
  return others.length === 0 ? (first ?? '') : `${first} and ${others.length} more`
}
