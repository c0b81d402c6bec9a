// What doctor finds of a node on its own machine, one row for each thing that can be wrong.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isHealthy, linesOf } from '../../src/doctor/finding.ts'
import type { ConfigInput } from '../../src/node/config-schema.ts'
import {
  answering,
  examineCase,
  folder,
  KEY,
  KEY_ID,
  keysFile,
  NODE,
  OTHER_ID,
  PEER,
  REPLICATED,
  RUNNING,
  rows,
  udpText,
} from './examined.ts'
import type { Paper } from './paper-machine.ts'

test('a node that is right on a machine that is right gives no warning', async () => {
  const findings = await examineCase({
    config: REPLICATED,
    files: RUNNING,
    answer: answering({}),
  })
  assert.deepEqual(
    findings.filter(({ level }) => level !== 'ok'),
    [],
  )
  assert.ok(isHealthy(findings))
})

test('no finding contains a key', async () => {
  const findings = await examineCase({ config: REPLICATED, files: RUNNING, answer: answering({}) })
  const text = JSON.stringify(findings)
  assert.ok(text.includes(KEY_ID))
  assert.ok(!text.includes(KEY))
})

test('a configuration that is not valid does not keep doctor from looking at the machine', async () => {
  const problems = [{ where: 'a.yaml:3:1', key: 'cashes', message: 'unknown key' }]
  const findings = await examineCase({ options: { config: undefined, problems } })
  assert.match(findings[0]?.message ?? '', /a\.yaml:3:1: cashes: unknown key/)
  assert.ok(findings.some(({ check }) => check === 'swap'))
  assert.ok(!isHealthy(findings))
})

test('the worst findings come last, with what to type below', async () => {
  const files = { '/proc/swaps': 'Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n' }
  const lines = linesOf(await examineCase({ config: REPLICATED, files }))
  assert.match(lines.at(-1) ?? '', /^0 errors, 2 warnings, \d+ ok$/)
  assert.match(lines.at(-2) ?? '', /^ +-> MemorySwapMax=0/)
})

rows('the process', [
  {
    name: 'no node runs',
    ...{ check: 'process', level: 'warning', message: /no node edge-1 runs here/ },
    fix: /systemctl start/,
  },
  {
    name: 'it runs and does not answer',
    files: RUNNING,
    ...{ check: 'process', level: 'error', message: /does not answer at 127\.0\.0\.1:5080/ },
  },
  {
    name: 'it is not ready',
    answer: { ready: false, reason: 'looking for peers', peers: [] },
    ...{ check: 'process', level: 'error', message: /not ready: looking for peers/ },
  },
  {
    name: 'the node names a problem itself',
    config: REPLICATED,
    answer: {
      ...answering({}),
      problems: [
        {
          ...{ code: 'puts_refused', severity: 'error' },
          ...{ sentence: 'the cache ssl refused 3 puts', remedy: 'list the context' },
        },
      ],
    },
    ...{ check: 'problems', level: 'error', message: /refused 3 puts/, fix: /list the context/ },
  },
  {
    name: 'there is no such user',
    options: { userName: 'nobody-here' },
    ...{ check: 'process', level: 'error', message: /no user nobody-here/ },
  },
  {
    name: 'a fraction of a processor',
    files: {
      '/proc/self/cgroup': '0::/system.slice/a.service\n',
      '/sys/fs/cgroup/system.slice/a.service/cpu.max': '20000 100000\n',
    },
    ...{ check: 'process', level: 'warning', message: /0\.2 of a processor/, fix: /CPUQuota/ },
  },
])

rows('keys', [
  {
    name: 'a file that is missing',
    config: { ...REPLICATED, replication: { ...REPLICATED.replication, keys_file: '/no/keys' } },
    ...{ check: 'keys', level: 'error', message: /no \/no\/keys/, fix: /tlscached keygen --out/ },
  },
  {
    name: 'a credential of a unit that does not run',
    config: {
      ...REPLICATED,
      replication: {
        ...REPLICATED.replication,
        keys_file: '/run/credentials/tlscached.service/keys',
      },
    },
    ...{ check: 'keys', level: 'ok', message: /made by systemd when the unit starts/ },
  },
  {
    name: 'a file that everybody can read',
    config: REPLICATED,
    files: { [keysFile]: { uid: 990, mode: 0o644 } },
    ...{ check: 'keys', level: 'error', message: /refuses .*everybody has access/ },
    fix: /chown tlscached .* && chmod 600/,
  },
  {
    name: 'a file of root that the user of the node cannot read',
    config: REPLICATED,
    files: { [keysFile]: { uid: 0, mode: 0o600 } },
    ...{ check: 'keys', level: 'error', message: /tlscached, .*may not read/ },
    fix: /LoadCredential=/,
  },
  {
    name: 'a file of root that a group of the user can read',
    config: REPLICATED,
    files: { [keysFile]: { uid: 0, gid: 991, mode: 0o640 } },
    ...{ check: 'keys', level: 'ok', message: new RegExp(`keys ${KEY_ID} .*${OTHER_ID}`) },
  },
  {
    name: 'a folder that the user may not enter',
    config: REPLICATED,
    files: { [folder]: { kind: 'folder', mode: 0o700 } },
    ...{ check: 'keys', level: 'error', message: /may not enter .*, where the keys are/ },
  },
  {
    name: 'the user of the unit counts where no node runs',
    config: REPLICATED,
    files: { '/etc/systemd/system/tlscached.service': '[Service]\nUser=www-data\n' },
    options: { userName: undefined },
    ...{ check: 'keys', level: 'error', message: /as www-data, refuses/ },
  },
  {
    name: 'the user of the running node counts before that of the unit',
    config: REPLICATED,
    files: { ...RUNNING, '/etc/systemd/system/tlscached.service': '[Service]\nUser=www-data\n' },
    options: { userName: undefined },
    ...{ check: 'keys', level: 'ok', message: /seals/ },
  },
  {
    name: 'no keys beyond loopback',
    config: { ...REPLICATED, replication: { listen: '10.0.0.1:7171', peers: [PEER] } },
    ...{ check: 'keys', level: 'error', message: /needs keys/ },
  },
  {
    name: 'no keys, and somebody insists',
    config: { replication: { listen: '10.0.0.1:7171', peers: [PEER], insecure: true } },
    ...{ check: 'keys', level: 'warning', message: /in clear/ },
  },
  {
    name: 'keys in a configuration that others can read',
    config: { replication: { listen: '10.0.0.1:7171', peers: [PEER], keys: [KEY] } },
    files: { '/etc/tlscached.yaml': { mode: 0o644 } },
    ...{ check: 'keys', level: 'warning', message: /others than its owner/, fix: /chmod 600/ },
  },
  {
    name: 'a peer lacks the key that seals',
    ...{ config: REPLICATED, probes: { key: async () => 'lacks' } },
    ...{ check: 'keys', level: 'error', message: new RegExp(`lacks the key ${KEY_ID}, which`) },
  },
  {
    name: 'a peer lacks the second key',
    config: REPLICATED,
    probes: { key: async (_, ring, id) => (id === ring.primaryKeyId ? 'has' : 'lacks') },
    ...{ check: 'keys', level: 'warning', message: new RegExp(`${OTHER_ID}: .*half-way`) },
  },
  {
    name: 'something else listens at the address of a peer',
    ...{ config: REPLICATED, probes: { key: async () => 'no_node' } },
    ...{ check: 'keys', level: 'error', message: /does not answer as a node/ },
  },
])

const SOCKET = '/run/tlscached/memcached.sock'
const WITH_SOCKET: ConfigInput = {
  node: { name: 'edge-1' },
  frontends: { http: 'none', memcached: `unix:${SOCKET}` },
}
const SOCKET_FOLDER: Paper = { '/run/tlscached': { kind: 'folder', uid: 990, mode: 0o755 } }

rows('sockets', [
  {
    name: 'no folder',
    config: WITH_SOCKET,
    ...{ check: 'sockets', level: 'error', message: /no folder \/run\/tlscached/ },
    fix: /RuntimeDirectory=/,
  },
  {
    name: 'a folder of another user',
    config: WITH_SOCKET,
    files: { '/run/tlscached': { kind: 'folder', uid: 33 } },
    ...{ check: 'sockets', level: 'error', message: /may not make a socket/, fix: /chown/ },
  },
  {
    name: 'the node runs without its socket',
    config: WITH_SOCKET,
    files: { ...RUNNING, ...SOCKET_FOLDER },
    ...{ check: 'sockets', level: 'error', message: /there is no socket/, fix: /restart/ },
  },
  {
    name: 'a folder that this user cannot look into',
    config: WITH_SOCKET,
    files: { ...SOCKET_FOLDER, [SOCKET]: { isHidden: true } },
    ...{ check: 'sockets', level: 'warning', message: /cannot see/, fix: /as root/ },
  },
  {
    name: 'a socket that is there',
    config: WITH_SOCKET,
    files: { ...RUNNING, ...SOCKET_FOLDER, [SOCKET]: { kind: 'socket', uid: 990 } },
    ...{ check: 'sockets', level: 'ok', message: /belongs to tlscached/ },
  },
])

rows('ports', [
  {
    name: 'a port that another program has',
    config: REPLICATED,
    files: { '/proc/net/udp6': udpText('00000000000000000000000000000000:1C03', 0) },
    ...{ check: 'ports', level: 'error', message: /another program has port 7171/, fix: /ss -l/ },
  },
  {
    name: 'a node that receives elsewhere',
    config: REPLICATED,
    files: { ...RUNNING, [`/proc/${NODE}/net/udp`]: udpText('0100000A:1C04', 0) },
    ...{ check: 'ports', level: 'error', message: /nothing receives at 10\.0\.0\.1:7171/ },
  },
  {
    name: 'no TCP at the port',
    config: REPLICATED,
    files: { ...RUNNING, [`/proc/${NODE}/net/tcp`]: '' },
    ...{ check: 'ports', level: 'warning', message: /nothing listens for TCP/ },
  },
])

test('a node of the same name in a container is another node', async () => {
  const ns = (link: string) => ({ [`/proc/${NODE}/ns/net`]: { link } })
  const here = { '/proc/self/ns/net': { link: 'net:[1]' } }
  const messages = async (files: Paper) => {
    const findings = await examineCase({ files: { ...RUNNING, ...here, ...files } })
    return findings.map(({ message }) => message).join('\n')
  }
  assert.match(await messages(ns('net:[2]')), /no node edge-1 runs here/)
  assert.match(await messages(ns('net:[1]')), /edge-1 runs, and does not answer/)
})
