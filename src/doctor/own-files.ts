// What a node needs on its own machine: the file of keys, the sockets and their folders, the ports.

import { dirname } from 'node:path'
import { formatAddress, type HostAddress, isMulticast } from '../base/address.ts'
import { messageOf } from '../base/errors.ts'
import { type NodeConfig, type ReplicationConfig, unixSocketsOf } from '../node/config.ts'
import { CREDENTIALS_FOLDER, requireKeys } from '../node/keys.ts'
import { formatKeyId, type Keyring, loadKeyring, whyNotPrivate } from '../wire/keyring.ts'
import { type Finding, findingsAbout } from './finding.ts'
import { closedFolder, type Machine, may, type Process, READ, type User, WRITE } from './machine.ts'

/** State of a TCP socket that listens, in /proc/net/tcp. */
const LISTENING = '0A'

export interface OwnFacts {
  readonly machine: Machine
  readonly config: NodeConfig
  /** The file of the configuration; undefined when there is none. */
  readonly file: string | undefined
  /** User that the node runs as. */
  readonly user: User
  readonly process: Process | undefined
}

/** Returns what is found of the keys, and the keys themselves when this user can read them. */
export function examineKeys(facts: OwnFacts): {
  readonly findings: readonly Finding[]
  readonly keyring: Keyring | undefined
} {
  const { ok } = findingsAbout('keys')
  const { replication } = facts.config
  if (replication === undefined) {
    return { findings: [ok('replicates with nobody, so there are no keys')], keyring: undefined }
  }
  if (replication.keysFile !== undefined) return examineKeysFile(facts, replication.keysFile)
  if (replication.keys !== undefined) {
    return { findings: inlineFindings(facts, replication.keys), keyring: replication.keys }
  }
  return { findings: [keylessFinding(replication)], keyring: undefined }
}

function keylessFinding(replication: ReplicationConfig): Finding {
  const { ok, warning, error } = findingsAbout('keys')
  const { listen, peers, repeaters, isInsecure } = replication
  const fix = 'tlscached keygen --out FILE, and keys_file: FILE on every node'
  try {
    requireKeys(listen, [...peers, ...repeaters], false, false)
    return ok('no keys, and nothing leaves this machine')
  } catch (problem) {
    if (!isInsecure) return error(messageOf(problem), fix)
    return warning('sessions are replicated in clear: everybody on the way can read them', fix)
  }
}

function inlineFindings({ machine, file }: OwnFacts, keyring: Keyring): readonly Finding[] {
  const { ok, warning } = findingsAbout('keys')
  const status = file === undefined ? 'missing' : machine.status(file)
  const isOpen = typeof status === 'object' && (status.mode & 0o044) !== 0
  if (!isOpen) return [ok(`keys ${fingerprint(keyring)}`)]
  return [
    warning(
      `${file} may hold keys, and others than its owner can read it`,
      `chmod 600 ${file}, or keep the keys in a file of their own (replication.keys_file)`,
    ),
  ]
}

function examineKeysFile({ machine, config, user, process }: OwnFacts, file: string) {
  const { ok, warning, error } = findingsAbout('keys')
  const only = (finding: Finding) => ({ findings: [finding], keyring: undefined })
  // systemd may give the user access by a list that the mode does not show.
  const isCredential = file.startsWith(CREDENTIALS_FOLDER)
  const status = machine.status(file)
  if (status === 'hidden') {
    return only(warning(`this user cannot see ${file}`, 'run doctor as root'))
  }
  if (status === 'missing') {
    if (isCredential && process === undefined) {
      return only(ok(`${file} is made by systemd when the unit starts`))
    }
    const fix = `tlscached keygen --out ${file} on one node, and copy the file to all others`
    return only(error(`there is no ${file}`, fix))
  }
  const found: Finding[] = []
  const isPrivate = config.replication?.keysFileMode === 'private'
  const reason = isPrivate ? whyNotPrivate(status, { uid: user.uid, groups: user.gids }) : undefined
  if (reason !== undefined) {
    const fix = `chown ${user.name} ${file} && chmod 600 ${file}`
    found.push(error(`the node, as ${user.name}, refuses ${file}: ${reason}`, fix))
  } else if (!isCredential && !may(user, status, READ)) {
    const fix = `chown ${user.name} ${file}, or LoadCredential= in the unit`
    found.push(error(`${user.name}, which the node runs as, may not read ${file}`, fix))
  }
  const closed = isCredential ? undefined : closedFolder(machine, user, file)
  if (closed !== undefined) {
    found.push(error(`${user.name} may not enter ${closed}, where the keys are`, enterFix(closed)))
  }
  try {
    const keyring = loadKeyring(file, 'any')
    if (found.length === 0) found.push(ok(`keys ${fingerprint(keyring)}`))
    return { findings: found, keyring }
  } catch (problem) {
    if (found.length > 0) return { findings: found, keyring: undefined }
    const isClosed = may(user, status, READ) && machine.uid !== 0 && machine.uid !== user.uid
    if (isClosed) return only(warning(`this user cannot read ${file}`, 'run doctor as root'))
    const fix = 'one key of 32 bytes in base64 a line, as tlscached keygen makes them'
    return only(error(messageOf(problem), fix))
  }
}

/** The IDs of the keys, which tell nothing about them: those of all nodes must be the same. */
function fingerprint(keyring: Keyring): string {
  const [first, ...others] = keyring.keyIds.map(formatKeyId)
  const rest = others.length === 0 ? '' : `, then ${others.join(', ')}`
  return `${first} (seals)${rest}: the same on every node`
}

/** Looks at every unix socket of the node. */
export function socketFindings(facts: OwnFacts): readonly Finding[] {
  return unixSocketsOf(facts.config.frontends).map(([name, path]) =>
    socketFinding(facts, name, path),
  )
}

function socketFinding(facts: OwnFacts, name: string, path: string): Finding {
  const { machine, user, process } = facts
  const { ok, warning, error } = findingsAbout('sockets')
  const folder = dirname(path)
  const folderStatus = machine.status(folder)
  if (folderStatus === 'missing') {
    const fix = `RuntimeDirectory= in the unit, or install -d -o ${user.name} ${folder}`
    return error(`there is no folder ${folder} for frontends.${name}`, fix)
  }
  const status = machine.status(path)
  if (folderStatus === 'hidden' || status === 'hidden') {
    return warning(`this user cannot see ${path}`, 'run doctor as root')
  }
  if (folderStatus.kind !== 'folder' || !may(user, folderStatus, WRITE)) {
    const message = `${user.name}, which the node runs as, may not make a socket in ${folder}`
    return error(message, `chown ${user.name} ${folder}, or RuntimeDirectory= in the unit`)
  }
  if (process === undefined) return ok(`the folder of ${path} is there, no node runs`)
  if (status === 'missing') {
    return error(
      `the node runs, and there is no socket ${path}: somebody removed it, or it has another configuration`,
      'systemctl restart tlscached',
    )
  }
  if (status.kind !== 'socket') return error(`${path} is no socket`, `rm ${path}, restart the node`)
  return ok(`${path} belongs to ${user.name}`)
}

function enterFix(folder: string): string {
  return `chmod o+x ${folder}, or a folder that the user may enter`
}

/** Looks whether the replication port is open here, by UDP and TCP, and whether it drops datagrams. */
export function portFindings(facts: OwnFacts): readonly Finding[] {
  const { machine, config, process } = facts
  const { replication } = config
  const { ok, warning, error } = findingsAbout('ports')
  if (replication === undefined) return []
  const { listen } = replication
  const where = formatAddress(listen)
  const folder = process === undefined ? '/proc/net' : `/proc/${process.pid}/net`
  const udp = socketsAt(machine, folder, 'udp', listen)
  const tcp = socketsAt(machine, folder, 'tcp', listen).filter(({ state }) => state === LISTENING)
  if (process === undefined) {
    if (udp.length + tcp.length === 0) return [ok(`${where} is free for the node`)]
    if (isMulticast(listen.host)) return []
    const fix = `ss -lntup 'sport = :${listen.port}' shows which program it is`
    return [error(`another program has port ${listen.port}, and no node runs here`, fix)]
  }
  if (udp.length === 0) {
    const message = `the node runs, and nothing receives at ${where}: it has another configuration`
    return [error(message, 'restart the node with this file')]
  }
  const drops = udp.reduce((sum, socket) => sum + socket.drops, 0)
  return [
    ok(`receives at ${where}`),
    ...(drops === 0 ? [] : [dropFinding(drops)]),
    ...(tcp.length > 0 || hasOwnTcpPort(replication)
      ? []
      : [
          warning(
            `nothing listens for TCP at ${where}, so peers find the port in greetings`,
            `free TCP port ${listen.port} and restart the node, or let all TCP pass between the nodes`,
          ),
        ]),
  ]
}

function dropFinding(drops: number): Finding {
  return findingsAbout('buffers').warning(
    `the kernel dropped ${drops} datagrams that found no room in the receive buffer of replication`,
    'raise net.core.rmem_max to 4194304, and look at what else takes the processor',
  )
}

/** With a multicast group, and with port 0, the kernel chooses the port for TCP. */
function hasOwnTcpPort({ listen }: ReplicationConfig): boolean {
  return listen.port === 0 || isMulticast(listen.host)
}

interface OpenSocket {
  readonly state: string
  /** Datagrams that found no room in the receive buffer. */
  readonly drops: number
}

/** Reads which sockets have this port, of /proc/net/udp and its relatives. */
function socketsAt(machine: Machine, folder: string, kind: 'udp' | 'tcp', { port }: HostAddress) {
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  return [kind, `${kind}6`].flatMap((name): OpenSocket[] => {
    const lines = (machine.read(`${folder}/${name}`) ?? '').split('\n').slice(1)
    return lines.flatMap((line) => {
      const [, local = '', , state = '', ...rest] = line.trim().split(/\s+/)
      if (!local.endsWith(`:${hex}`)) return []
      return [{ state, drops: kind === 'udp' ? Number(rest.at(-1)) : 0 }]
    })
  })
}
