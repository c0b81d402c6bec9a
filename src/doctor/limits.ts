// What the system grants the process of a node: receive buffers, open files, memory, and whether its secrets can get
// onto a disk in a core dump or in swap.

import { dirname, join } from 'node:path'
import type { NodeConfig } from '../node/config.ts'
import { planMemory } from '../node/memory-plan.ts'
import { RECEIVE_BUFFER_BYTES } from '../replication/live/udp-transport.ts'
import { type Finding, findingsAbout } from './finding.ts'
import type { Machine, Process } from './machine.ts'

/** Open files of a node without connections: libraries, sockets, the log, and the peers that copy. */
const OWN_FILES = 256
/** Most connections that each frontend accepts. */
export const CONNECTIONS = {
  http: 1024,
  memcached: 4096,
  rpc: 1024,
  stats: 64,
  uwsgi: 1024,
} as const
const MIB = 1024 * 1024
/** Without this much of one processor the event loop stands still for longer than stunnel waits. */
const LEAST_PROCESSORS = 0.5
/** A cgroup of version 1 without a limit says nearly 2^63. */
const UNLIMITED_BYTES = 2 ** 60
const MAX_CGROUP_DEPTH = 32

export interface LimitFacts {
  readonly machine: Machine
  /** The node that runs here; undefined when there is none, and then the limits of this shell are looked at. */
  readonly process: Process | undefined
  /** Undefined when it is not valid. */
  readonly config: NodeConfig | undefined
  /** Largest size of V8's heap. */
  readonly heapBytes: number
}

export function limitFindings(facts: LimitFacts): readonly Finding[] {
  const folder = facts.process === undefined ? '/proc/self' : `/proc/${facts.process.pid}`
  const limits = readLimits(facts.machine.read(`${folder}/limits`))
  const cgroup = readCgroup(facts.machine, folder)
  return [
    ...(facts.config?.replication === undefined ? [] : [bufferFinding(facts.machine)]),
    ...fileFindings(facts, limits),
    ...memoryFindings(facts, limits, cgroup),
    ...processorFindings(cgroup),
    coreFinding(facts, limits),
    swapFinding(facts, folder, cgroup),
  ]
}

function bufferFinding(machine: Machine): Finding {
  const { ok, warning } = findingsAbout('buffers')
  const most = Number(machine.read('/proc/sys/net/core/rmem_max') ?? Number.NaN)
  if (Number.isNaN(most)) {
    return ok('the system does not say how large a receive buffer may be; the log of the node does')
  }
  if (most >= RECEIVE_BUFFER_BYTES) return ok(`receive buffers may have ${mib(most)} MiB`)
  return warning(
    `a receive buffer gets ${most} bytes of the ${RECEIVE_BUFFER_BYTES} asked for: bursts of datagrams may be lost and have to be sent again`,
    `sysctl -w net.core.rmem_max=${RECEIVE_BUFFER_BYTES}, and the same in /etc/sysctl.d; then restart the node`,
  )
}

function fileFindings({ config }: LimitFacts, limits: Limits): Finding[] {
  const { ok, warning, error } = findingsAbout('files')
  if (config === undefined) return []
  const connections = Object.entries(CONNECTIONS).reduce((sum, [name, most]) => {
    const isThere = Reflect.get(config.frontends, name) !== undefined
    return isThere ? sum + most : sum
  }, 0)
  const needed = OWN_FILES + connections
  // Node.js raises the soft limit to the hard one when it starts.
  const granted = limits.get('Max open files')?.hard ?? Number.POSITIVE_INFINITY
  if (granted >= needed) return [ok(`${shown(granted)} open files, up to ${needed} are needed`)]
  const fix = `LimitNOFILE=${needed} in the unit, or ulimit -n ${needed}`
  const message = `${granted} open files are allowed, and all frontends together accept ${connections} connections`
  return [granted < OWN_FILES ? error(message, fix) : warning(message, fix)]
}

function memoryFindings(
  { machine, config, heapBytes }: LimitFacts,
  limits: Limits,
  cgroup: Cgroup,
): Finding[] {
  const { ok, warning, error } = findingsAbout('memory')
  const found: Finding[] = []
  const addressSpace = limits.get('Max address space')?.soft ?? Number.POSITIVE_INFINITY
  if (Number.isFinite(addressSpace)) {
    found.push(
      error(
        `the address space is limited to ${mib(addressSpace)} MiB: V8 reserves far more than it uses, and the node may not start`,
        'take LimitAS= out of the unit (ulimit -v unlimited), and limit memory with MemoryMax=',
      ),
    )
  }
  if (config === undefined) return found
  const totalBytes = kibOf(machine.read('/proc/meminfo'), 'MemTotal') * 1024
  const known = [cgroup.memoryBytes, totalBytes].filter((bytes) => bytes > 0)
  const systemBytes = known.length === 0 ? 0 : Math.min(...known)
  const plan = planMemory(config.caches, { heapBytes, systemBytes })
  for (const message of plan.warnings) {
    found.push(warning(message, 'change what the message names, then restart the node'))
  }
  if (plan.warnings.length === 0) {
    const most = systemBytes > 0 ? `, ${mib(systemBytes)} MiB are there` : ''
    found.push(ok(`the node takes ${mib(plan.maxBytes)} MiB at most${most}`))
  }
  return found
}

function processorFindings({ processors }: Cgroup): Finding[] {
  const { warning } = findingsAbout('process')
  if (processors >= LEAST_PROCESSORS) return []
  return [
    warning(
      `the cgroup allows ${processors} of a processor: the node stands still for tens of milliseconds at a time`,
      'raise or drop CPUQuota= of the unit, or the cpu limit of the container',
    ),
  ]
}

/** A core file holds every session and key. A pattern with a pipe ignores the limit, except systemd's own program. */
function coreFinding({ machine, process }: LimitFacts, limits: Limits): Finding {
  const { ok, warning } = findingsAbout('core')
  const pattern = machine.read('/proc/sys/kernel/core_pattern')?.trim() ?? ''
  const coreBytes = limits.get('Max core file size')?.soft ?? 0
  if (pattern.startsWith('|') && !pattern.includes('systemd-coredump')) {
    return warning(
      `core dumps go to ${pattern.slice(1).split(' ')[0]}, whatever the limit of the process: one holds all sessions and keys`,
      'sysctl -w kernel.core_pattern=core, with LimitCore=0 in the unit; or switch that program off',
    )
  }
  if (coreBytes === 0) return ok('no core dumps')
  const whose = process === undefined ? 'this shell' : 'the node'
  return warning(
    `${whose} may write core dumps, and one holds all sessions and keys`,
    'LimitCORE=0 in the unit, or ulimit -c 0 before the node is started',
  )
}

function swapFinding({ machine, process }: LimitFacts, folder: string, cgroup: Cgroup): Finding {
  const { ok, warning } = findingsAbout('swap')
  const areas = (machine.read('/proc/swaps') ?? '')
    .split('\n')
    .slice(1)
    .flatMap((line) => line.split(/\s+/)[0] || [])
    // What is compressed in memory gets onto no disk.
    .filter((area) => !/^\/dev\/zram\d+$/.test(area))
  if (areas.length === 0) return ok('no swap on a disk')
  if (cgroup.swapBytes === 0) return ok('the cgroup keeps the node out of swap')
  const swappedKib = process === undefined ? 0 : kibOf(machine.read(`${folder}/status`), 'VmSwap')
  const already = swappedKib > 0 ? `, ${swappedKib} KiB of this node are there now` : ''
  return warning(
    `swap is on (${areas.join(', ')})${already}: sessions and keys can get onto a disk in clear`,
    'MemorySwapMax=0 in the unit, or swapoff -a, or swap that is encrypted',
  )
}

// The texts of /proc and of cgroups.

interface Limit {
  readonly soft: number
  readonly hard: number
}
type Limits = ReadonlyMap<string, Limit>

/** Reads /proc/PID/limits. */
function readLimits(text = ''): Limits {
  const limits = new Map<string, Limit>()
  for (const line of text.split('\n').slice(1)) {
    const [, name = '', soft = '', hard = ''] = /^(.+?) {2,}(\S+) +(\S+)/.exec(line) ?? []
    if (name !== '') limits.set(name, { soft: limitOf(soft), hard: limitOf(hard) })
  }
  return limits
}

function limitOf(text: string): number {
  return text === 'unlimited' ? Number.POSITIVE_INFINITY : Number(text)
}

interface Cgroup {
  /** Smallest limit of memory on the way to the root; 0 for none. */
  readonly memoryBytes: number
  /** Limit of swap; infinite for none. */
  readonly swapBytes: number
  /** Processors that may be used at a time; infinite for no limit. */
  readonly processors: number
}

function readCgroup(machine: Machine, folder: string): Cgroup {
  const lines = (machine.read(`${folder}/cgroup`) ?? '').split('\n')
  const pathOf = (controller: string) =>
    lines.find((line) => line.split(':')[1]?.split(',').includes(controller))?.split(':')[2]
  const unified = pathOf('')
  const read = (root: string, path: string | undefined, name: string, parse = limitOfCgroup) =>
    smallest(machine, root, path, name, parse)
  const memoryBytes = Math.min(
    read('/sys/fs/cgroup', unified, 'memory.max'),
    read('/sys/fs/cgroup/memory', pathOf('memory'), 'memory.limit_in_bytes'),
  )
  return {
    memoryBytes: memoryBytes < UNLIMITED_BYTES ? memoryBytes : 0,
    swapBytes: read('/sys/fs/cgroup', unified, 'memory.swap.max'),
    processors: read('/sys/fs/cgroup', unified, 'cpu.max', (text) => {
      const [quota = '', period = ''] = text.split(' ')
      return limitOfCgroup(quota) / Number(period || 1)
    }),
  }
}

/** Returns the smallest limit from a cgroup up to the root of the mount; infinite when there is none. */
function smallest(
  machine: Machine,
  root: string,
  path: string | undefined,
  name: string,
  parse: (text: string) => number,
): number {
  let limit = Number.POSITIVE_INFINITY
  let at = path
  for (let depth = 0; at !== undefined && depth < MAX_CGROUP_DEPTH; depth += 1) {
    const text = machine.read(join(root, at, name))?.trim()
    if (text !== undefined && text !== '') limit = Math.min(limit, parse(text))
    at = at === '/' || at === '.' ? undefined : dirname(at)
  }
  return limit
}

function limitOfCgroup(text: string): number {
  return text === 'max' ? Number.POSITIVE_INFINITY : Number(text)
}

function kibOf(text = '', name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1] ?? 0)
}

function mib(bytes: number): string {
  return bytes < MIB ? (bytes / MIB).toFixed(2) : String(Math.floor(bytes / MIB))
}

function shown(count: number): string {
  return Number.isFinite(count) ? String(count) : 'any number of'
}
