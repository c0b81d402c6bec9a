// What doctor finds of the limits of the system.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CONNECTIONS } from '../../src/doctor/limits.ts'
import { MAX_CONNECTIONS as HTTP } from '../../src/frontends/http/frontend.ts'
import { DEFAULT_MAX_CONNECTIONS as MEMCACHED } from '../../src/frontends/memcached/frontend.ts'
import { DEFAULT_MAX_CONNECTIONS as RPC } from '../../src/frontends/rpc/frontend.ts'
import { MAX_CONNECTIONS as STATS } from '../../src/frontends/stats/frontend.ts'
import { MAX_CONNECTIONS as UWSGI } from '../../src/frontends/uwsgi/frontend.ts'
import { NODE, REPLICATED, RUNNING, rows, udpText } from './examined.ts'
import { limitsText } from './paper-machine.ts'

test('the connections that are counted are those that frontends accept', () => {
  const accepted = { http: HTTP, memcached: MEMCACHED, rpc: RPC, stats: STATS, uwsgi: UWSGI }
  assert.deepEqual(CONNECTIONS, accepted)
})

rows('limits', [
  {
    name: 'a small receive buffer',
    config: REPLICATED,
    files: { '/proc/sys/net/core/rmem_max': '212992\n' },
    ...{ check: 'buffers', level: 'warning', message: /212992 bytes of the 4194304/ },
    fix: /sysctl -w net\.core\.rmem_max=4194304/,
  },
  {
    name: 'datagrams that the kernel dropped',
    config: REPLICATED,
    files: { ...RUNNING, [`/proc/${NODE}/net/udp`]: udpText('0100000A:1C03', 9) },
    ...{ check: 'buffers', level: 'warning', message: /dropped 9 datagrams/ },
  },
  {
    name: 'fewer files than connections',
    config: { frontends: { memcached: '127.0.0.1:11211' } },
    files: { '/proc/self/limits': limitsText({ 'Max open files': ['1024', '1024'] }) },
    ...{ check: 'files', level: 'warning', message: /1024 open files .*5120 connections/ },
    fix: /LimitNOFILE=5376/,
  },
  {
    name: 'a limit of the address space',
    files: { '/proc/self/limits': limitsText({ 'Max address space': ['1073741824', '-1'] }) },
    ...{ check: 'memory', level: 'error', message: /1024 MiB/, fix: /LimitAS=/ },
  },
  {
    name: 'a cgroup that is smaller than the caches',
    config: { caches: [{ name: 'ssl', items: 1_000_000 }] },
    files: {
      '/proc/self/cgroup': '0::/a/b\n',
      '/sys/fs/cgroup/a/memory.max': '268435456\n',
      '/sys/fs/cgroup/a/b/memory.max': 'max\n',
    },
    ...{ check: 'memory', level: 'warning', message: /allows it 256 MiB/ },
  },
  {
    name: 'a cgroup of version 1',
    config: { caches: [{ name: 'ssl', items: 1_000_000 }] },
    files: {
      '/proc/self/cgroup': '4:memory:/a\n0::/\n',
      '/sys/fs/cgroup/memory/a/memory.limit_in_bytes': '268435456\n',
    },
    ...{ check: 'memory', level: 'warning', message: /allows it 256 MiB/ },
  },
  {
    name: 'core dumps of the node',
    files: {
      ...RUNNING,
      [`/proc/${NODE}/limits`]: limitsText({ 'Max core file size': ['unlimited', 'unlimited'] }),
    },
    ...{ check: 'core', level: 'warning', message: /the node may write core dumps/ },
    fix: /LimitCORE=0/,
  },
  {
    name: 'core dumps into a program that knows no limit',
    files: { '/proc/sys/kernel/core_pattern': '|/usr/share/apport/apport -p%p\n' },
    ...{ check: 'core', level: 'warning', message: /\/usr\/share\/apport\/apport/ },
  },
  {
    name: "core dumps into systemd's program, which keeps to the limit",
    files: { '/proc/sys/kernel/core_pattern': '|/lib/systemd/systemd-coredump %P %u\n' },
    ...{ check: 'core', level: 'ok', message: /no core dumps/ },
  },
  {
    name: 'swap on a disk, and the node in it',
    files: {
      ...RUNNING,
      '/proc/swaps': 'Filename Type Size Used Priority\n/dev/sda2 partition 999 10 -2\n',
      [`/proc/${NODE}/status`]:
        'Name:\tnode\nPPid:\t1\nUid:\t990\t990\t990\t990\nVmSwap:\t     640 kB\n',
    },
    ...{ check: 'swap', level: 'warning', message: /\/dev\/sda2\), 640 KiB of this node/ },
    fix: /MemorySwapMax=0/,
  },
  {
    name: 'swap that the cgroup forbids',
    files: {
      '/proc/swaps': 'Filename Type Size Used Priority\n/dev/sda2 partition 999 10 -2\n',
      '/sys/fs/cgroup/memory.swap.max': '0\n',
    },
    ...{ check: 'swap', level: 'ok', message: /keeps the node out of swap/ },
  },
  {
    name: 'swap that stays in memory',
    files: { '/proc/swaps': 'Filename Type Size Used Priority\n/dev/zram0 partition 9 1 100\n' },
    ...{ check: 'swap', level: 'ok', message: /no swap on a disk/ },
  },
])
