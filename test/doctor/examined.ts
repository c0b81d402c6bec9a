// Lets doctor examine a node on a machine on paper, with what a test changes of it.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { type DoctorOptions, examine, type NodeAnswer } from '../../src/doctor/doctor.ts'
import { type Check, linesOf } from '../../src/doctor/finding.ts'
import type { HeardPeer } from '../../src/doctor/peers.ts'
import type { Probes } from '../../src/doctor/probes.ts'
import { checkConfig } from '../../src/node/config.ts'
import type { ConfigInput } from '../../src/node/config-schema.ts'
import { formatKeyId, parseKeyring } from '../../src/wire/keyring.ts'
import { type Paper, paperMachine, processFiles } from './paper-machine.ts'

export const KEY = Buffer.alloc(32, 7).toString('base64')
const OTHER_KEY = Buffer.alloc(32, 8).toString('base64')
export const [KEY_ID = '', OTHER_ID = ''] = parseKeyring(`${KEY}\n${OTHER_KEY}`).keyIds.map(
  formatKeyId,
)
export const PEER = '10.0.0.2:7171'
export const MIB = 1024 * 1024

export const folder = mkdtempSync(join(tmpdir(), 'tlscached-doctor-'))
process.on('exit', () => rmSync(folder, { recursive: true }))
export const keysFile = join(folder, 'keys')
writeFileSync(keysFile, `${KEY}\n${OTHER_KEY}\n`, { mode: 0o600 })
/** The file is real, since it is read by the code that serves; who owns it stands on paper. */
const OWN_KEYS: Paper = { [keysFile]: { uid: 990, mode: 0o600 } }

const QUIET: Probes = {
  resolve: async (host) => [host],
  tcp: async () => 'open',
  udp: async () => 'silent',
  key: async () => 'has',
  run: async () => undefined,
}

export const REPLICATED: ConfigInput = {
  node: { name: 'edge-1' },
  replication: { listen: '10.0.0.1:7171', peers: [PEER], keys_file: keysFile },
}

export const NODE = 42
export const RUNNING = processFiles(NODE, {
  args: ['tlscached serve edge-1'],
  uid: 990,
  more: {
    [`/proc/${NODE}/net/udp`]: udpText('0100000A:1C03', 0),
    [`/proc/${NODE}/net/tcp`]: tcpText('0100000A:1C03'),
  },
})

export function udpText(local: string, drops: number): string {
  return `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
 4522: ${local} 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4609845 2 000000005b670d44 ${drops}
`
}

export function tcpText(local: string): string {
  return `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: ${local} 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4610401 1 000000005d6dbc8c 100 0 0 10 0
`
}

const PRESENT: HeardPeer = {
  role: 'node',
  name: 'edge-2',
  address: PEER,
  up: true,
  last_seen_ms: 300,
  clock_difference_ms: 12,
  lost: 0,
  sync: { state: 'synced' },
}

export function answering(...peers: readonly Partial<HeardPeer>[]): NodeAnswer {
  return {
    ready: true,
    reason: 'replicating with edge-2',
    peers: peers.map((peer) => ({ ...PRESENT, ...peer })),
  }
}

export interface Case {
  readonly config?: ConfigInput
  readonly files?: Paper
  readonly answer?: NodeAnswer
  readonly probes?: Partial<Probes>
  readonly options?: Partial<DoctorOptions>
  readonly uid?: number
}

export function examineCase({ config = {}, files = {}, answer, probes, options, uid }: Case) {
  return examine({
    file: '/etc/tlscached.yaml',
    config: checkConfig(config, 'edge-1'),
    problems: [],
    answer,
    userName: 'tlscached',
    machine: paperMachine({ ...OWN_KEYS, ...files }, uid),
    probes: { ...QUIET, ...probes },
    heapBytes: 4096 * MIB,
    ...options,
  })
}

interface Row extends Case {
  readonly name: string
  readonly check: Check
  readonly level: 'ok' | 'warning' | 'error'
  readonly message: RegExp
  readonly fix?: RegExp
}

export function rows(title: string, all: readonly Row[]): void {
  describe(title, () => {
    for (const { name, check, level, message, fix = /./, ...given } of all) {
      test(name, async () => {
        const findings = await examineCase(given)
        const found = findings.find((one) => one.check === check && message.test(one.message))
        assert.ok(found !== undefined, `no such finding in\n${linesOf(findings).join('\n')}`)
        assert.equal(found.level, level)
        if (level === 'ok') assert.equal(found.fix, '')
        else assert.match(found.fix, fix)
      })
    }
  })
}
