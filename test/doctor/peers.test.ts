// What doctor finds between a node and its peers.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answering, examineCase, REPLICATED, RUNNING, rows } from './examined.ts'

rows('peers', [
  {
    name: 'nobody is known',
    config: { ...REPLICATED, replication: { ...REPLICATED.replication, peers: [] } },
    ...{ check: 'peers', level: 'warning', message: /no peer is known/ },
  },
  {
    name: 'UDP passes and TCP does not',
    ...{ config: REPLICATED, answer: answering({}), probes: { key: async () => 'silent' } },
    ...{ check: 'peers', level: 'error', message: /UDP works both ways, TCP port 7171 is silent/ },
    fix: /let UDP and TCP port 7171 pass/,
  },
  {
    name: 'TCP passes and UDP does not',
    config: REPLICATED,
    answer: answering({ name: '', up: false, last_seen_ms: null }),
    ...{ check: 'peers', level: 'error', message: /never heard, although TCP reaches it/ },
  },
  {
    name: 'a machine without a node',
    config: REPLICATED,
    answer: answering({ up: false, last_seen_ms: 42_000 }),
    probes: { udp: async () => 'refused', key: async () => 'refused' },
    ...{ check: 'peers', level: 'error', message: /silent for 42 s: its machine is there/ },
  },
  {
    name: 'nothing at all',
    config: REPLICATED,
    answer: answering({ up: false, last_seen_ms: 42_000 }),
    probes: { key: async () => 'silent' },
    ...{ check: 'peers', level: 'error', message: /silent for 42 s, and TCP port 7171 is silent/ },
  },
  {
    name: 'before the node runs, a peer that refuses',
    config: REPLICATED,
    probes: { udp: async () => 'refused', key: async () => 'refused' },
    ...{ check: 'peers', level: 'error', message: /no node listens there/ },
  },
  {
    name: 'both ways, as the peer says, too',
    config: REPLICATED,
    answer: {
      ...answering({}),
      views: new Map([['edge-2', { up: true, sync: { state: 'synced' } }]]),
    },
    ...{
      check: 'peers',
      level: 'ok',
      message: /UDP works both ways, TCP from here and from there/,
    },
  },
  {
    name: 'a peer that is heard and does not hear',
    config: REPLICATED,
    answer: { ...answering({}), views: new Map([['edge-2', { up: false, sync: null }]]) },
    ...{ check: 'peers', level: 'error', message: /says that it does not hear this node/ },
  },
  {
    name: 'a peer that cannot connect to this node',
    config: REPLICATED,
    answer: {
      ...answering({}),
      views: new Map([['edge-2', { up: true, sync: { state: 'failed' } }]]),
    },
    ...{ check: 'peers', level: 'warning', message: /comparing with this node over TCP broke off/ },
  },
  {
    name: 'losses',
    ...{ config: REPLICATED, answer: answering({ lost: 7 }) },
    ...{ check: 'peers', level: 'warning', message: /7 datagrams were lost/ },
  },
  {
    name: 'a comparison that broke off',
    ...{ config: REPLICATED, answer: answering({ sync: { state: 'failed' } }) },
    ...{ check: 'peers', level: 'warning', message: /broke off/ },
  },
  {
    name: 'a clock that is off by a share of the lifetime',
    ...{ config: REPLICATED, answer: answering({ clock_difference_ms: -40_000 }) },
    ...{ check: 'clock', level: 'warning', message: /40\.0 s behind/, fix: /chronyc/ },
  },
  {
    name: 'a clock that is off by more than the lifetime',
    ...{ config: REPLICATED, answer: answering({ clock_difference_ms: 400_000 }) },
    ...{ check: 'clock', level: 'error', message: /400\.0 s ahead/ },
  },
  {
    name: 'a path that the kernel knows to be smaller',
    config: REPLICATED,
    probes: {
      run: async (program, [, what]) =>
        program === 'ip' && what === 'route'
          ? '10.0.0.2 dev wg0 src 10.0.0.1 uid 0 \\    cache expires 590sec mtu 1280 \n'
          : undefined,
    },
    ...{ check: 'path', level: 'warning', message: /MTU of 1280/, fix: /max_datagram: 1252/ },
  },
  {
    name: 'a path on which ping finds a smaller link',
    config: REPLICATED,
    probes: {
      run: async (program) =>
        program === 'ping'
          ? 'PING 10.0.0.2 (10.0.0.2) 1400(1428) bytes of data.\nFrom 10.0.0.9 icmp_seq=1 Frag needed and DF set (mtu = 1400)\n'
          : '2: eth0: <BROADCAST,UP> mtu 1500 qdisc fq state UP\\    link/ether 02:42\n',
    },
    ...{ check: 'path', level: 'warning', message: /MTU of 1400/ },
  },
  {
    name: 'a path of Ethernet',
    config: REPLICATED,
    probes: {
      run: async (_, [, what]) =>
        what === 'route'
          ? '10.0.0.2 dev eth0 src 10.0.0.1 uid 0 \\    cache \n'
          : '2: eth0: <BROADCAST,UP> mtu 1500 qdisc fq state UP\\    link/ether 02:42\n',
    },
    ...{ check: 'path', level: 'ok', message: /1400 bytes pass \(MTU 1500\)/ },
  },
])

test('the earlier boot of a peer that was started again is no silent peer', async () => {
  const answer = answering({}, { up: false, last_seen_ms: 60_000 })
  const findings = await examineCase({ config: REPLICATED, files: RUNNING, answer })
  assert.equal(findings.filter(({ check }) => check === 'peers').length, 1)
})

test('an address that was heard a moment ago is not said to be silent as well', async () => {
  const answer = answering({}, { name: '', up: false, last_seen_ms: null, sync: null })
  const findings = await examineCase({ config: REPLICATED, answer })
  const levels = findings.filter(({ check }) => check === 'peers').map(({ level }) => level)
  assert.deepEqual(levels, ['ok'])
})
