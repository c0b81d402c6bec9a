// The configuration: what is accepted, from which source, and what comes out.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type ConfigSources, checkConfig, readConfig } from '../../src/node/config.ts'
import { settings, standaloneSettings } from '../../src/node/config-schema.ts'
import { formatPeerSource } from '../../src/replication/peers/discovery.ts'

const folder = mkdtempSync(join(tmpdir(), 'tlscached-config-'))
after(() => rmSync(folder, { recursive: true }))

const KEY = Buffer.alloc(32, 7).toString('base64')
const FILE = join(folder, 'tlscached.yaml')

function read(yaml: string, sources: Partial<ConfigSources> = {}) {
  writeFileSync(FILE, yaml)
  return readConfig({ file: FILE, hostName: 'host', ...sources })
}

test('with no file, environment and flags: loopback, one cache, no peers', () => {
  assert.deepEqual(readConfig({ hostName: 'host' }), {
    nodeName: 'host',
    caches: [
      {
        limits: {
          name: 'ssl',
          items: 20_000,
          keysize: 128,
          blocksize: 16_384,
          timeoutMs: 300_000,
          full: 'evict',
        },
        singleUse: false,
        renew: false,
        isReplicated: true,
      },
    ],
    replication: undefined,
    uwsgiListeners: [],
    frontends: {
      http: { host: '127.0.0.1', port: 5080 },
      httpHosts: [],
      memcached: undefined,
      memcachedTickets: undefined,
      sessiond: undefined,
      sessiondRemove: 'honour',
      rpc: undefined,
      stats: undefined,
      uwsgi: undefined,
      cache: 'ssl',
      isInsecure: false,
    },
    log: { level: 'info', format: 'json' },
    tickets: undefined,
    watchdogMs: 2000,
  })
})

test('listeners in other wires stand alone, or beside our own', () => {
  const yaml = `caches: [{ name: a }, { name: b, replicate: false }]
replication:
  listeners:
    - { wire: uwsgi, listen: 127.0.0.1:1, peers: ["127.0.0.1:2"] }
    - { wire: uwsgi, listen: 225.1.1.1:7171, cache: b, interface: eth0, multicast_ttl: 2, insecure: true }
`
  const alone = read(yaml)
  assert.equal(alone.replication, undefined)
  assert.deepEqual(
    alone.caches.map(({ isReplicated }) => isReplicated),
    [true, false],
  )
  const absent = { interface: undefined, multicastTtl: undefined }
  assert.deepEqual(alone.uwsgiListeners, [
    {
      listen: { host: '127.0.0.1', port: 1 },
      peers: [{ host: '127.0.0.1', port: 2 }],
      cache: 'a',
      ...absent,
    },
    {
      listen: { host: '225.1.1.1', port: 7171 },
      peers: [],
      cache: 'b',
      interface: 'eth0',
      multicastTtl: 2,
    },
  ])
  const both = read(`${yaml}  listen: 127.0.0.1:3\n`)
  assert.deepEqual(both.replication?.listen, { host: '127.0.0.1', port: 3 })
  assert.equal(both.uwsgiListeners.length, 2)
})

test('every setting of a file is taken over', () => {
  const config = read(`
node: { name: edge-1 }
caches:
  - { name: a, items: 5, keysize: 32, blocksize: 4KiB, timeout: 250ms, contexts: [shop.example, "hex:00ff"], full: refuse }
  - { name: b, single_use: true }
replication:
  listen: 10.0.0.1:7171
  peers: [10.0.0.2:7171, "[fd00::2]:7171", peers.example:7171, "dns+srv://_t._udp.example"]
  repeaters: [dns+srv://repeat.example, 10.0.0.9:7272]
  keys: [${KEY}]
  insecure: true
  max_datagram: 9000
frontends:
  http: unix:/run/tlscached.sock
  http_hosts: [node.example]
  memcached: unix:/run/memcached.sock
  sessiond: 127.0.0.1:5002
  sessiond_remove: ignore
  rpc: unix:/run/rpc.sock
  stats: 127.0.0.1:5001
  uwsgi: 127.0.0.1:3031
  cache: b
  insecure: true
log: { level: debug, format: text }
`)
  const [a, b] = config.caches
  assert.deepEqual(a?.limits, {
    name: 'a',
    items: 5,
    keysize: 32,
    blocksize: 4096,
    timeoutMs: 250,
    contexts: [Buffer.from('shop.example'), Buffer.from([0, 255])],
    full: 'refuse',
  })
  assert.deepEqual([a?.singleUse, b?.singleUse], [false, true])
  assert.equal(config.nodeName, 'edge-1')
  assert.deepEqual(config.replication?.listen, { host: '10.0.0.1', port: 7171 })
  assert.deepEqual(config.replication?.peers.map(formatPeerSource), [
    '10.0.0.2:7171',
    '[fd00::2]:7171',
    'peers.example:7171',
    'dns+srv://_t._udp.example',
  ])
  assert.deepEqual(config.replication?.repeaters, [
    { service: 'repeat.example' },
    { host: '10.0.0.9', port: 7272 },
  ])
  assert.equal(config.replication?.keys?.size, 1)
  assert.equal(config.replication?.maxDatagramBytes, 9000)
  assert.deepEqual(config.frontends, {
    http: { path: '/run/tlscached.sock' },
    httpHosts: ['node.example'],
    memcached: { path: '/run/memcached.sock' },
    memcachedTickets: undefined,
    sessiond: { host: '127.0.0.1', port: 5002 },
    sessiondRemove: 'ignore',
    rpc: { path: '/run/rpc.sock' },
    stats: { host: '127.0.0.1', port: 5001 },
    uwsgi: { host: '127.0.0.1', port: 3031 },
    cache: 'b',
    isInsecure: true,
  })
  assert.deepEqual(config.log, { level: 'debug', format: 'text' })
})

test('a multicast group comes with its own settings', () => {
  const { replication } = read(
    `replication: { listen: "225.1.1.1:7171", interface: eth1, multicast_ttl: 2, keys_file: /k }`,
  )
  assert.equal(replication?.interface, 'eth1')
  assert.equal(replication?.multicastTtl, 2)
  assert.equal(replication?.keysFile, '/k')
})

test('flags win over the environment, which wins over the file; the rest stays', () => {
  const config = read('log: { level: debug, format: text }\nnode: { name: f }', {
    environment: { TLSCACHED_LOG_LEVEL: 'warn', TLSCACHED_NODE_NAME: 'e', HOME: '/x' },
    flags: new Map([['node.name', '7']]),
  })
  assert.deepEqual(config.log, { level: 'warn', format: 'text' })
  // Text stays text, also where YAML would see a number.
  assert.equal(config.nodeName, '7')
})

test('lists, caches, numbers and truth values work in the environment and as flags', () => {
  const config = readConfig({
    hostName: 'host',
    environment: {
      TLSCACHED_CACHES: '[{name: a, items: 3, timeout: 5m}, {name: b}]',
      TLSCACHED_REPLICATION_PEERS: '[10.0.0.2:1, "[::1]:2"]',
      TLSCACHED_REPLICATION_INSECURE: 'true',
    },
    flags: new Map([
      ['replication.listen', '[::1]:7171'],
      ['frontends.http', 'none'],
      ['replication.max_datagram', '1KiB'],
    ]),
  })
  assert.deepEqual(
    config.caches.map(({ limits }) => [limits.name, limits.items, limits.timeoutMs]),
    [
      ['a', 3, 300_000],
      ['b', 20_000, 300_000],
    ],
  )
  assert.deepEqual(config.replication?.peers, [
    { host: '10.0.0.2', port: 1 },
    { host: '::1', port: 2 },
  ])
  assert.equal(config.replication?.isInsecure, true)
  assert.equal(config.replication?.maxDatagramBytes, 1024)
  assert.equal(config.frontends.http, undefined)
})

test('empty files and empty sections say nothing', () => {
  for (const yaml of ['', '# only a comment\n', 'replication:\nlog:\n']) {
    assert.deepEqual(read(yaml), readConfig({ hostName: 'host' }))
  }
})

test('what comes out is frozen and holds no key that could be shown', () => {
  const config = read(`replication: { listen: "127.0.0.1:1", keys: [${KEY}] }`)
  assert.throws(() => Object.assign(config, { nodeName: 'x' }), TypeError)
  assert.throws(() => Object.assign(config.caches[0]?.limits ?? {}, { items: 1 }), TypeError)
  assert.equal(JSON.stringify(config).includes(KEY), false)
})

test('an object is read like a file', () => {
  assert.equal(checkConfig({ node: { name: 'a' } }, 'host').nodeName, 'a')
})

test('every setting has exactly one spelling in each source', () => {
  const variables = standaloneSettings.map(({ variable }) => variable)
  const flags = standaloneSettings.map(({ flag }) => flag)
  assert.equal(new Set(variables).size, variables.length)
  assert.equal(new Set(flags).size, flags.length)
  const listen = standaloneSettings.find(({ key }) => key === 'replication.listen')
  assert.equal(listen?.variable, 'TLSCACHED_REPLICATION_LISTEN')
  assert.equal(listen?.flag, '--replication-listen')
  assert.ok(settings.some(({ key, flag }) => key === 'caches[].items' && flag === undefined))
})

test('a node with tickets alone has no cache, and the times of a group follow its interval', () => {
  const config = read('tickets: { groups: [{ name: www }, { name: api, rotate: 10m, wait: 5m }] }')
  assert.deepEqual(config.caches, [])
  assert.deepEqual(config.tickets, {
    groups: [
      {
        name: 'www',
        rotateMs: 3_600_000,
        lifetimeMs: 3_600_000,
        waitMs: 3_600_000,
        terminators: [],
      },
      { name: 'api', rotateMs: 600_000, lifetimeMs: 600_000, waitMs: 300_000, terminators: [] },
    ],
    targets: [],
  })
  const both = read('caches: [{ name: tls }]\ntickets: { groups: [{ name: www }] }')
  assert.deepEqual(
    both.caches.map(({ limits }) => limits.name),
    ['tls'],
  )
})

test('what terminators ask of the times comes from the targets of their group', () => {
  const { tickets } = read(`
tickets:
  groups: [{ name: www }, { name: api }]
  targets:
    - { kind: lighttpd, group: api, file: /run/tlscached/stek }
`)
  const asked = tickets?.groups.map(({ terminators }) =>
    terminators.map(({ kind, pollMs }) => [kind, pollMs]),
  )
  assert.deepEqual(asked, [[], [['lighttpd', 70_000]]])
})

test('a group whose keys memcached serves is asked for the minute in which they are read', () => {
  const { tickets, frontends } = read(`
caches: [{ name: tls }]
tickets: { groups: [{ name: www }, { name: api }] }
frontends: { memcached: "127.0.0.1:11211", memcached_tickets: api }
`)
  assert.equal(frontends.memcachedTickets, 'api')
  const asked = tickets?.groups.map(({ terminators }) => terminators.map(({ pollMs }) => pollMs))
  assert.deepEqual(asked, [[], [60_000]])
})
