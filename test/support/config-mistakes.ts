// Configuration files with one mistake each, and what is said of it.

import type { ConfigSources } from '../../src/node/config.ts'

const KEY = Buffer.alloc(32, 7).toString('base64')

export interface Mistake {
  /** Different for each. */
  readonly name: string
  readonly yaml: string
  /** The one line that is reported, without the name of the file. */
  readonly expected: string
}

export const mistakes: readonly Mistake[] = [
  {
    name: 'an unknown section',
    yaml: 'chaches: []',
    expected: '1:1: chaches: unknown key; the nearest known one is caches',
  },
  {
    name: 'an unknown key in a list',
    yaml: 'caches:\n  - name: a\n    blokcsize: 4KiB',
    expected: '3:5: caches[0].blokcsize: unknown key; the nearest known one is caches[0].blocksize',
  },
  {
    name: 'a key in the wrong section',
    yaml: 'http: 127.0.0.1:1',
    expected: '1:1: http: unknown key; the nearest known one is frontends.http',
  },
  {
    name: 'a frontend that does not exist yet',
    yaml: 'frontends: { htp: "127.0.0.1:5001" }',
    expected: '1:14: frontends.htp: unknown key; the nearest known one is frontends.http',
  },
  {
    name: 'a frontend beyond loopback whose protocol protects nothing',
    yaml: 'frontends: { memcached: "10.0.0.1:11211" }',
    expected:
      '1:14: frontends.memcached: sessions would cross the network in clear: ' +
      'use loopback or a unix socket, or set insecure',
  },
  {
    name: 'an rpc frontend beyond loopback, which protects nothing either',
    yaml: 'frontends: { rpc: "10.0.0.1:7172" }',
    expected:
      '1:14: frontends.rpc: sessions would cross the network in clear: ' +
      'use loopback or a unix socket, or set insecure',
  },
  {
    name: 'a frontend on a cache that is not there',
    yaml: 'frontends: { sessiond: "127.0.0.1:5002", cache: tls }',
    expected: '1:42: frontends.cache: there is no cache "tls"',
  },
  {
    name: 'a remove policy that is none',
    yaml: 'frontends: { sessiond_remove: never }',
    expected: '1:14: frontends.sessiond_remove: must be honour or ignore',
  },
  {
    name: 'a key there twice',
    yaml: 'log:\n  level: info\n  level: warn',
    expected: '3:3: log.level: is there twice',
  },
  {
    name: 'a cache there twice',
    yaml: 'caches:\n  - { name: a }\n  - { name: a }',
    expected: '3:7: caches[1].name: "a" is the name of caches[0] already',
  },
  {
    name: 'no name of a cache',
    yaml: 'caches: [{ items: 1 }]',
    expected: '1:10: caches[0].name: is required',
  },
  {
    name: 'a name that is no label',
    yaml: 'caches: [{ name: "a b" }]',
    expected:
      '1:12: caches[0].name: must be 1..63 letters, digits, ".", "_" or "-", the first one a letter or digit',
  },
  {
    name: 'no cache at all',
    yaml: 'caches: []',
    expected: '1:1: caches: must have at least 1',
  },
  {
    name: 'no list',
    yaml: 'caches: { name: a }',
    expected: '1:1: caches: must be a list, as in [a, b]',
  },
  {
    name: 'no items',
    yaml: 'caches: [{ name: a, items: 0 }]',
    expected: '1:21: caches[0].items: must be a whole number, 1..16777216',
  },
  {
    name: 'items that are text',
    yaml: 'caches: [{ name: a, items: many }]',
    expected: '1:21: caches[0].items: must be a whole number, 1..16777216',
  },
  {
    name: 'a keysize above the limit',
    yaml: 'caches: [{ name: a, keysize: 256 }]',
    expected: '1:21: caches[0].keysize: must be a size, 1..255 bytes (as in 4096 or 4KiB)',
  },
  {
    name: 'a blocksize with a unit that is none',
    yaml: 'caches: [{ name: a, blocksize: 4kb }]',
    expected: '1:21: caches[0].blocksize: must be a size, 1..65536 bytes (as in 4096 or 4KiB)',
  },
  {
    name: 'a duration without a unit',
    yaml: 'caches: [{ name: a, timeout: 300 }]',
    expected: '1:21: caches[0].timeout: must be a duration, 1ms..7d (as in 250ms, 300s, 5m, 12h)',
  },
  {
    name: 'a duration above the limit',
    yaml: 'caches: [{ name: a, timeout: 8d }]',
    expected: '1:21: caches[0].timeout: must be a duration, 1ms..7d (as in 250ms, 300s, 5m, 12h)',
  },
  {
    name: 'a duration of nothing',
    yaml: 'caches: [{ name: a, timeout: 0s }]',
    expected: '1:21: caches[0].timeout: must be a duration, 1ms..7d (as in 250ms, 300s, 5m, 12h)',
  },
  {
    name: 'a context of 33 bytes',
    yaml: `caches: [{ name: a, contexts: [${'x'.repeat(33)}] }]`,
    expected:
      '1:32: caches[0].contexts[0]: a session ID context has at most 32 bytes, this one has 33',
  },
  {
    name: 'a context that is no hex',
    yaml: 'caches: [{ name: a, contexts: ["hex:0g"] }]',
    expected: '1:32: caches[0].contexts[0]: not an even number of hexadecimal digits',
  },
  {
    name: 'a word that is none of two',
    yaml: 'caches: [{ name: a, full: drop }]',
    expected: '1:21: caches[0].full: must be evict or refuse',
  },
  {
    name: 'a listener in a wire that is none',
    yaml: 'replication: { listeners: [{ wire: carp, listen: "127.0.0.1:1" }] }',
    expected: '1:30: replication.listeners[0].wire: must be uwsgi',
  },
  {
    name: 'a listener that sends in clear',
    yaml: 'replication: { listeners: [{ wire: uwsgi, listen: "127.0.0.1:1", peers: ["10.0.0.2:1"] }] }',
    expected:
      '1:28: replication.listeners[0]: sessions would cross the network in clear with 10.0.0.2:1: ' +
      'this wire has no keys, set insecure to use it all the same',
  },
  {
    name: 'a listener on a cache that is not there',
    yaml: 'replication: { listeners: [{ wire: uwsgi, listen: "127.0.0.1:1", cache: tls }] }',
    expected: '1:66: replication.listeners[0].cache: there is no cache "tls"',
  },
  {
    name: 'a listener with a group and peers',
    yaml: 'replication: { listeners: [{ wire: uwsgi, listen: "225.1.1.1:1", peers: [], insecure: true }] }',
    expected:
      '1:66: replication.listeners[0].peers: exclude a multicast listen address: the group is the list of peers',
  },
  {
    name: 'our own replication without an address beside a listener',
    yaml: 'replication: { peers: ["127.0.0.1:2"], listeners: [{ wire: uwsgi, listen: "127.0.0.1:1" }] }',
    expected: '1:1: replication.listen: is required',
  },
  {
    name: 'replication that listens nowhere',
    yaml: 'replication: { peers: ["10.0.0.2:1"] }',
    expected: '1:1: replication.listen: is required',
  },
  {
    name: 'an address that is none',
    yaml: 'replication: { listen: 10.0.0.1 }',
    expected: '1:16: replication.listen: "10.0.0.1" is not host:port or [ipv6]:port',
  },
  {
    name: 'a port above 65535',
    yaml: 'frontends: { http: "127.0.0.1:65536" }',
    expected: '1:14: frontends.http: "127.0.0.1:65536" is not host:port or [ipv6]:port',
  },
  {
    name: 'a socket path that is relative',
    yaml: 'frontends: { http: "unix:run.sock" }',
    expected: '1:14: frontends.http: "unix:run.sock" is not unix:/path with at most 107 bytes',
  },
  {
    name: 'a peer without a port',
    yaml: 'replication: { listen: "10.0.0.1:1", peers: ["10.0.0.2:0"] }',
    expected: '1:46: replication.peers[0]: "10.0.0.2:0" is a peer without a port',
  },
  {
    name: 'peers of a multicast group',
    yaml: 'replication:\n  listen: 225.1.1.1:7171\n  peers: ["10.0.0.2:1"]',
    expected:
      '3:3: replication.peers: exclude a multicast listen address: the group is the list of peers',
  },
  {
    name: 'repeaters of a multicast group',
    yaml: 'replication:\n  listen: 225.1.1.1:7171\n  repeaters: ["10.0.0.2:1"]',
    expected:
      '3:3: replication.repeaters: exclude a multicast listen address: the group is the list of peers',
  },
  {
    name: 'a service with a port',
    yaml: 'replication: { listen: 10.0.0.1:7171, repeaters: ["dns+srv://a.test:1"] }',
    expected:
      '1:51: replication.repeaters[0]: "dns+srv://a.test:1" is not dns+srv://name, as in dns+srv://_tlscached._udp.example.com',
  },
  {
    name: 'multicast settings without a group',
    yaml: 'replication:\n  listen: 10.0.0.1:7171\n  multicast_ttl: 1',
    expected: '3:3: replication.multicast_ttl: is only for a multicast listen address',
  },
  {
    name: 'keys and a file of keys',
    yaml: `replication:\n  listen: 127.0.0.1:1\n  keys_file: /k\n  keys: [${KEY}]`,
    expected: '4:3: replication.keys: excludes keys_file: give one of the two',
  },
  {
    name: 'a key that is none',
    yaml: 'replication: { listen: "127.0.0.1:1", keys: [c2VjcmV0] }',
    expected:
      '1:46: replication.keys[0]: must be a key of 32 bytes in base64, as tlscached keygen prints it',
  },
  {
    name: 'a key of the cluster there twice',
    yaml: `replication: { listen: "127.0.0.1:1", keys: ["${KEY}", "${KEY}"] }`,
    expected: '1:39: replication.keys: keyring: key 2 is there twice',
  },
  {
    name: 'a datagram too small',
    yaml: 'replication: { listen: "127.0.0.1:1", max_datagram: 100 }',
    expected:
      '1:39: replication.max_datagram: must be a size, 576..65507 bytes (as in 4096 or 4KiB)',
  },
  {
    name: 'a number where text belongs',
    yaml: 'node: { name: 7 }',
    expected: '1:9: node.name: must be text (a number needs quotes)',
  },
  {
    name: 'a truth value in quotes',
    yaml: 'frontends: { insecure: "yes" }',
    expected: '1:14: frontends.insecure: must be true or false',
  },
  {
    name: 'an unknown log level',
    yaml: 'log: { level: loud }',
    expected: '1:8: log.level: must be debug or info or warn or error or silent',
  },
  {
    name: 'a file that is a list',
    yaml: '- a',
    expected: '1:1: must be a mapping of sections, as in "log: { level: info }"',
  },
  {
    name: 'a tag that YAML does not know',
    yaml: 'log: !weird x',
    expected: '1:6: Unresolved tag: !weird',
  },
  {
    name: 'a wait that is longer than the interval of keys',
    yaml: 'tickets: { groups: [{ name: www, rotate: 10m, wait: 1h }] }',
    expected: '1:47: tickets.groups[0].wait: must not be longer than rotate (10m), not 1h',
  },
  {
    name: 'a wait that is too short for a terminator that polls',
    yaml:
      'tickets:\n  groups: [{ name: www, wait: 1m }]\n' +
      '  targets: [{ kind: lighttpd, group: www, file: /run/tlscached/stek }]',
    expected:
      '2:25: tickets.groups[0].wait: must be at least 140s, since lighttpd reads its keys every 70s, not 1m',
  },
  {
    name: 'tickets that live longer than a terminator holds keys',
    yaml:
      'tickets:\n  groups: [{ name: www, lifetime: 2h }]\n' +
      '  targets: [{ kind: haproxy, group: www, file: /run/tlscached/keys, socket: /run/haproxy.sock }]',
    expected:
      '2:25: tickets.groups[0].lifetime: must not be longer than 1h, not 2h: haproxy holds 3 keys, ' +
      'and a key is dropped 2 times rotate minus wait after its last ticket',
  },
  {
    name: 'two groups of one name',
    yaml: 'tickets: { groups: [{ name: www }, { name: www }] }',
    expected: '1:38: tickets.groups[1].name: "www" is the name of groups[0] already',
  },
  {
    name: 'a target of a group that is not there',
    yaml:
      'tickets:\n  groups: [{ name: www }]\n' +
      '  targets: [{ kind: envoy, group: api, file: /run/tlscached/sds.yaml }]',
    expected: '3:28: tickets.targets[0].group: there is no group "api" in tickets.groups',
  },
  {
    name: 'ticket keys over memcached of a group that is not there',
    yaml: 'frontends: { memcached: "127.0.0.1:11211", memcached_tickets: www }',
    expected: '1:44: frontends.memcached_tickets: there is no group "www" in tickets.groups',
  },
  {
    name: 'ticket keys over memcached without memcached',
    yaml: 'tickets: { groups: [{ name: www }] }\nfrontends: { memcached_tickets: www }',
    expected: '2:14: frontends.memcached_tickets: needs memcached, over which the keys are served',
  },
  {
    name: 'ticket keys over memcached beyond loopback, where sessions may go in clear',
    yaml:
      'caches: [{ name: ssl }]\ntickets: { groups: [{ name: www }] }\n' +
      'frontends: { memcached: "10.0.0.1:11211", memcached_tickets: www, insecure: true }',
    expected:
      '3:43: frontends.memcached_tickets: ticket keys would cross the network in clear, ' +
      'which insecure does not allow: let memcached listen on loopback or a unix socket',
  },
  {
    name: 'a wait that is too short for those who read keys over memcached',
    yaml:
      'caches: [{ name: ssl }]\ntickets:\n  groups: [{ name: www, wait: 1m }]\n' +
      'frontends: { memcached: "127.0.0.1:11211", memcached_tickets: www }',
    expected:
      '3:25: tickets.groups[0].wait: must be at least 2m, since nghttpx or h2o over memcached reads its keys every 1m, not 1m',
  },
  {
    name: 'a frontend of a cache on a node with tickets alone',
    yaml: 'tickets: { groups: [{ name: www }] }\nfrontends: { sessiond: "127.0.0.1:5002" }',
    expected:
      '2:14: frontends.sessiond: serves a cache, and a node with tickets alone has none: give caches',
  },
]

export interface StandaloneMistake {
  readonly name: string
  readonly sources: Pick<ConfigSources, 'environment' | 'flags'>
  readonly expected: string
}

/** Mistakes in the environment and in flags, which are named after the variable and the flag. */
export const standaloneMistakes: readonly StandaloneMistake[] = [
  {
    name: 'an unknown variable',
    sources: { environment: { TLSCACHED_LOG_LEVLE: 'x' } },
    expected: 'TLSCACHED_LOG_LEVLE: unknown variable; the nearest known one is TLSCACHED_LOG_LEVEL',
  },
  {
    name: 'an unknown key in a variable',
    sources: { environment: { TLSCACHED_CACHES: '[{name: a, itmes: 1}]' } },
    expected:
      'TLSCACHED_CACHES: caches[0].itmes: unknown key; the nearest known one is caches[0].items',
  },
  {
    name: 'a variable that is empty',
    sources: { environment: { TLSCACHED_NODE_NAME: '' } },
    expected: 'TLSCACHED_NODE_NAME: node.name: must not be empty',
  },
  {
    name: 'a flag that is no truth value',
    sources: { flags: new Map([['frontends.insecure', 'maybe']]) },
    expected: '--frontends-insecure: frontends.insecure: must be true or false',
  },
]
