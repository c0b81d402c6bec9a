// Files of uWSGI: what each option comes to, in whatever order, and every mistake with its line.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { checkConverted } from '../../src/node/config.ts'
import { nearest } from '../../src/settings/errors.ts'
import { type Conversion, type ConversionOptions, convert } from '../../src/uwsgi/conversion.ts'
import { parseIni } from '../../src/uwsgi/ini.ts'
import { MEANINGLESS_OPTIONS, OPTION_ALIASES, USED_OPTIONS } from '../../src/uwsgi/options.ts'

const OPTIONS: ConversionOptions = {
  wire: 'sealed',
  isInsecure: false,
  rpcAddress: 'unix:/run/rpc.sock',
  machine: { hostName: 'host', environment: () => undefined, kindOf: () => undefined },
  nearest,
}

function read(lines: string, options: Partial<ConversionOptions> = {}): Conversion {
  return convert(parseIni(`[uwsgi]\n${lines}`, 'a.ini'), { ...OPTIONS, ...options })
}

/** Returns the mistakes in the file and in the configuration that it is converted to. */
function problemsOf(conversion: Conversion): string[] {
  const { config, places, problems } = conversion
  try {
    checkConverted({ root: config, places, problems })
    return []
  } catch (error) {
    assert.ok(error instanceof Error)
    return error.message.split('\n')
  }
}

const ROUTER = `
; spawn the master process (it will run the cache sweeper thread)
master = true
cache = 20000
cache-blocksize = 4096
ssl-sessions-use-cache = true
ssl-sessions-timeout = 300
https-session-context = foobar
https = 192.168.173.1:8443,foobar.crt,foobar.key
http-processes = 8
http-to = 192.168.173.10:3031
http-to = 192.168.173.11:3031
stats = 127.0.0.1:5001
`
const UNICAST = `${ROUTER}
cache-udp-server = 192.168.173.1:7171
cache-udp-node = 192.168.173.2:7171
cache-udp-node = 192.168.173.3:7171
`
const MULTICAST = `${ROUTER}
cache-udp-server = 225.1.1.1:7171
cache-udp-node = 225.1.1.1:7171
`
const NAMED = `
cache2 = name=ssl,items=20000,keysize=128,blocksize=4096,node=127.0.0.1:4242,udp=127.0.0.1:4141
ssl-sessions-use-cache = ssl
https-session-context = foobar
https = :8443,foobar.crt,foobar.key
http-to = 127.0.0.1:3031
`

const PLAN = {
  listen: '192.168.173.1:8443',
  cert: 'foobar.crt',
  key: 'foobar.key',
  context: 'foobar',
  cache: 'default',
  processes: 8,
  backends: ['192.168.173.10:3031', '192.168.173.11:3031'],
  sessionTimeoutSec: 300,
}
const DEFAULT_CACHE = {
  name: 'default',
  items: 20_000,
  keysize: 255,
  blocksize: 4096,
  timeout: '300s',
  full: 'refuse',
}
const FRONTENDS = {
  http: 'none',
  stats: '127.0.0.1:5001',
  rpc: 'unix:/run/rpc.sock',
  cache: 'default',
}

test('one node with eight processes', () => {
  const conversion = read(ROUTER)
  assert.deepEqual(problemsOf(conversion), [])
  assert.deepEqual(conversion.config, {
    node: { name: 'host/192.168.173.1:8443' },
    caches: [DEFAULT_CACHE],
    frontends: FRONTENDS,
  })
  assert.deepEqual(conversion.terminator, PLAN)
  assert.deepEqual(
    conversion.notes.map(({ option, where }) => [option, where]),
    [
      ['master', 'a.ini:4'],
      ['http-to', 'a.ini:13'],
    ],
  )
})

test('three nodes by unicast and by multicast', () => {
  const unicast = read(UNICAST)
  assert.deepEqual(problemsOf(unicast), [])
  assert.deepEqual(unicast.config['replication'], {
    listen: '192.168.173.1:7171',
    peers: ['192.168.173.2:7171', '192.168.173.3:7171'],
  })
  const multicast = read(`${MULTICAST}multicast-ttl = 3`)
  assert.deepEqual(problemsOf(multicast), [])
  assert.deepEqual(multicast.config['replication'], { listen: '225.1.1.1:7171', multicast_ttl: 3 })
})

test('named caches, with keysize and without', () => {
  const first = read(NAMED)
  assert.deepEqual(problemsOf(first), [])
  assert.deepEqual(first.config, {
    node: { name: 'host/127.0.0.1:4141' },
    caches: [{ ...DEFAULT_CACHE, name: 'ssl', keysize: 128 }],
    replication: { listen: '127.0.0.1:4141', peers: ['127.0.0.1:4242'] },
    frontends: { http: 'none', rpc: 'unix:/run/rpc.sock', cache: 'ssl' },
  })
  assert.deepEqual(first.terminator?.listen, '0.0.0.0:8443')
  const second = read(NAMED.replace('keysize=128,', ''))
  assert.deepEqual(second.config['caches'], [{ ...DEFAULT_CACHE, name: 'ssl' }])
})

test('the order of the options makes no difference', () => {
  for (const lines of [ROUTER, UNICAST, MULTICAST, NAMED]) {
    const options = lines.split('\n').filter((line) => line !== '' && !line.startsWith(';'))
    const { config, terminator } = read(lines)
    fc.assert(
      fc.property(
        fc.shuffledSubarray(options, { minLength: options.length }),
        (shuffled: string[]) => {
          const again = read(shuffled.join('\n'))
          assert.deepEqual([again.config, again.terminator], [config, terminator])
        },
      ),
      { numRuns: 50 },
    )
  }
})

test('comments, bare options, aliases, other sections and placeholders', () => {
  const { config, notes } = convert(
    parseIni(
      '\ufeff; a comment\n# another\n[other]\nnonsense\n[uwsgi]\r\nmaster\r\ncache2=name=%n,max_items=5,key_size=32,lru=1\n' +
        '  name = x\n  stats-server =  /run/%(name).sock  \n[other]\nmore = nonsense\n',
      'a.ini',
    ),
    OPTIONS,
  )
  assert.deepEqual(config, {
    caches: [{ name: 'a', items: 5, keysize: 32, blocksize: 65_536, timeout: '7d', full: 'evict' }],
    frontends: { http: 'none', stats: 'unix:/run/x.sock' },
  })
  assert.deepEqual(
    notes.map(({ option }) => option),
    ['master'],
  )
})

test('several caches: the same nodes, one address; a cache without nodes stays here', () => {
  const { config, notes, problems } = read(`
socket = :3031
cache2 = name=b,items=10,udp=127.0.0.1:2,node=127.0.0.2:2
cache2 = name=a,items=10,udp=127.0.0.1:1,node=127.0.0.2:1
cache2 = name=c,items=10,bitmap=1,blocks=20,blocksize=100
cache = 5
`)
  assert.deepEqual(problems, [])
  assert.deepEqual(config['replication'], { listen: '127.0.0.1:1', peers: ['127.0.0.2:1'] })
  const caches = config['caches']
  assert.ok(Array.isArray(caches))
  assert.deepEqual(
    caches.map(({ name, blocksize, replicate }) => [name, blocksize, replicate]),
    [
      ['default', 65_536, false],
      ['a', 65_536, undefined],
      ['b', 65_536, undefined],
      ['c', 2000, false],
    ],
  )
  assert.deepEqual(config['frontends'], {
    http: 'none',
    uwsgi: '0.0.0.0:3031',
    cache: 'default',
  })
  assert.deepEqual(
    notes.map(({ option }) => option),
    ['cache2 bitmap', 'udp of cache "b"'],
  )
})

test('in the wire of uWSGI each cache keeps its addresses', () => {
  const lines = `
cache2 = name=a,items=10,udp=127.0.0.1:1;127.0.0.1:3,nodes=127.0.0.2:1
cache2 = name=b,items=10,udp=225.1.1.1:2,node=225.1.1.1:2
cache2 = name=c,items=10,node=127.0.0.2:3
`
  const a = { wire: 'uwsgi', cache: 'a', insecure: true }
  const { config } = read(lines, { wire: 'uwsgi', isInsecure: true })
  assert.deepEqual(config['replication'], {
    listeners: [
      { ...a, listen: '127.0.0.1:1', peers: ['127.0.0.2:1'] },
      { ...a, listen: '127.0.0.1:3' },
      { ...a, cache: 'b', listen: '225.1.1.1:2' },
      { ...a, cache: 'c', listen: '127.0.0.1:0', peers: ['127.0.0.2:3'] },
    ],
  })
  assert.deepEqual(problemsOf(read(lines, { wire: 'uwsgi' })), [
    'a.ini:4: replication.listeners[2]: sessions would cross the network in clear with 225.1.1.1:2: ' +
      'this wire has no keys, set insecure to use it all the same',
  ])
})

test('receiving at several addresses with one port is receiving at all; sending only needs no address', () => {
  const two = read('cache=1\ncache-udp-server=127.0.0.1:7\ncache-udp-server=127.0.0.2:7')
  assert.deepEqual(two.config['replication'], { listen: '0.0.0.0:7', peers: [] })
  const none = read('cache=1\ncache-udp-node=10.0.0.1:7')
  assert.deepEqual(none.config['replication'], { listen: '0.0.0.0:0', peers: ['10.0.0.1:7'] })
})

test('without https-session-context it is the address, as there, and that is said', () => {
  const { terminator, notes } = read(ROUTER.replace('https-session-context = foobar', ''))
  assert.equal(terminator?.context, 'http-192.168.173.1:8443')
  assert.ok(notes.some(({ option }) => option === 'https-session-context'))
})

const CACHE = 'cache2 = name=ssl,items=10'

const MISTAKES: readonly [lines: string, ...expected: string[]][] = [
  ['cahce = 5', '2: cahce: unknown option; the nearest known one is cache'],
  ['= 5', '2: an option has no name'],
  ['toString = 1', '2: toString: unknown option'],
  ['cache = 0', '2: caches[0].items: must be a whole number, 1..16777216'],
  [
    'cache = many',
    '2: cache: must be a whole number, not "many"',
    '2: caches[0].items: must be a whole number, 1..16777216',
  ],
  ['cache = 1\ncache = 2', '3: cache: is there twice with different values'],
  ['master = 1', ': has no cache: neither `cache` nor `cache2`'],
  [
    'cache-blocksize = 4096',
    '2: cache-blocksize: is for the cache of the option `cache`, which is missing',
  ],
  ['cache2 = items=10', '2: cache2: name is missing'],
  ['cache2 = name=a', '2: cache2: items is missing'],
  ['cache2 = name=a,items=0', '2: caches[0].items: must be a whole number, 1..16777216'],
  [
    'cache2 = name=a,items=1,blokcsize=5',
    '2: cache2: unknown key "blokcsize"; the nearest known one is blocksize',
  ],
  ['cache2 = name=a,items=1,items=2', '2: cache2: items is there twice'],
  ['cache2 = name=a,items=1,purge_lru=maybe', '2: cache2: purge_lru must be 1 or 0, not "maybe"'],
  [
    'cache2 = name=a,items=1,hash=md5',
    '2: cache2: hash must be one of djb33x, murmur2, random, rand, rr, not "md5"',
  ],
  ['cache2 = name=a,items=5,blocks=4', '2: cache2: there must be as many blocks as items'],
  [`${CACHE}\n${CACHE}`, '3: cache2: there are two caches with the name "ssl"'],
  [`${CACHE}\nssl-sessions-use-cache = tls`, '3: ssl-sessions-use-cache: there is no cache "tls"'],
  ['ssl-sessions-use-cache', '2: ssl-sessions-use-cache: there is no cache of the option `cache`'],
  [
    `${CACHE},keysize=16\nssl-sessions-use-cache = ssl`,
    '2: keysize 16 of cache "ssl" is too small: session IDs have 32 bytes',
  ],
  [
    `${CACHE},blocksize=100\nssl-sessions-use-cache = ssl`,
    '2: blocksize 100 of cache "ssl" is too small for any session: the smallest has 121 bytes',
  ],
  [
    `${CACHE}\nssl-sessions-use-cache = ssl\nssl-sessions-timeout = 999999`,
    '4: caches[0].timeout: must be a duration, 1ms..7d',
  ],
  [
    `${CACHE}\nhttps-session-context = ${'x'.repeat(33)}`,
    '3: https-session-context: a session ID context has at most 32 bytes, this one has 33',
  ],
  [`${NAMED}\nhttps = :1,a,b`, '9: https: is there twice with different values'],
  [NAMED.replace(',foobar.key', ''), '6: https: must be address,cert,key'],
  [
    NAMED.replace('foobar.key', 'foobar.key,HIGH,!ca.pem'),
    '6: https: has client certificates: give',
  ],
  [
    NAMED.replace('http-to = 127.0.0.1:3031', ''),
    '6: https: needs http-to: somebody to pass on to',
  ],
  [
    NAMED.replace('ssl-sessions-use-cache = ssl', ''),
    '6: https: without ssl-sessions-use-cache no session would be shared',
  ],
  [`${CACHE},udp=here`, '2: "here" is not host:port or [ipv6]:port'],
  [
    `${CACHE},udp=127.0.0.1:1;127.0.0.1:2`,
    '2: cache "ssl" receives at several ports; here it must be one',
  ],
  [
    `${CACHE},udp=127.0.0.1:1,node=225.1.1.1:1`,
    '2: cache "ssl": a multicast address must be both the udp server and the only node',
  ],
  [
    `${CACHE},udp=127.0.0.1:1,node=127.0.0.2:1\ncache2=name=a,items=1,udp=127.0.0.1:2,node=127.0.0.3:1`,
    '2: cache "ssl" has other nodes than "a"; here all caches have the same',
  ],
  [`${CACHE}\nsocket = :3031`, '3: frontends.uwsgi: sessions would cross the network in clear'],
  [`${CACHE}\nstats = here`, '3: frontends.stats: "here" is not host:port or [ipv6]:port'],
]

for (const [lines, ...expected] of MISTAKES) {
  test(`mistake: ${expected[0]}`, () => {
    const problems = problemsOf(read(lines))
    assert.equal(problems.length, expected.length, problems.join('\n'))
    for (const [index, line] of expected.entries()) {
      assert.ok(
        problems[index]?.startsWith(`a.ini${line.startsWith(':') ? '' : ':'}${line}`),
        `${problems[index]} - ${line}`,
      )
    }
  })
}

test('a file without the section, with one that is not closed, and with lines before it', () => {
  const problems = (text: string) =>
    parseIni(text, 'a.ini').problems.map(({ where, message }) => `${where}: ${message}`)
  const noSection = /^a\.ini: has no section \[uwsgi\]: it is no file of uWSGI/
  const [only, ...others] = problems('[http]\nx = 1')
  assert.match(only ?? '', noSection)
  assert.deepEqual(others, [])
  const [bracket, none] = problems('[uwsgi')
  assert.equal(bracket, 'a.ini:1: a section has no closing bracket')
  assert.match(none ?? '', noSection)
  assert.deepEqual(problems('cache = 1\n[uwsgi]'), [
    'a.ini:1: is before any section: [uwsgi] is missing',
  ])
})

test('a file of another program is said to be one, and not line by line', () => {
  const nginx = 'server {\n  listen 443 ssl;\n  ssl_session_ticket_key a;\n}\n'
  const { problems } = parseIni(nginx, 'nginx.conf')
  assert.deepEqual(
    problems.map(({ where }) => where),
    ['nginx.conf'],
  )
})

test('every known option is used, or named once with the reason', () => {
  for (const [name, why] of MEANINGLESS_OPTIONS) {
    const { notes, problems } = read(`${name} = 1\n${name} = 2\n${CACHE}`)
    assert.deepEqual(problems, [])
    assert.deepEqual(notes, [{ option: name, where: 'a.ini:2', why }])
  }
  const known = new Set<string>(USED_OPTIONS)
  for (const name of [...OPTION_ALIASES.values()]) assert.ok(known.has(name))
  for (const name of MEANINGLESS_OPTIONS.keys()) assert.ok(!known.has(name))
})

test('what is known of a cache and means nothing is named once', () => {
  const spec = `${CACHE},sync=a:1,hash=rr,hashsize=5,lazy=1,no_expire=1,sweep_on_full=3,clear_on_full=1,ignore_full=1,lastmod=1,store=f,store_sync=1,store_delete=1,math_initial=1`
  const { notes, problems } = read(spec)
  assert.deepEqual(problems, [])
  assert.equal(notes.length, 13)
})

test('larger limits than ours are cut to ours, and that is said', () => {
  const { config, notes } = read('cache2 = name=a,items=1,keysize=1024,blocksize=1000000')
  assert.deepEqual(config['caches'], [
    { name: 'a', items: 1, keysize: 255, blocksize: 65_536, timeout: '7d', full: 'refuse' },
  ])
  assert.deepEqual(
    notes.map(({ option }) => option),
    ['keysize of cache "a"', 'blocksize of cache "a"'],
  )
})

test('values that grow by their placeholders are bounded, each and all together', () => {
  const problemsIn = (lines: readonly string[]) => read(lines.join('\n')).problems
  // Each line doubles the one above it: the 13th has 64 KiB, the last one would have 2^43 bytes.
  const doubling = ['v0 = 12345678']
  for (let at = 1; at <= 40; at += 1) doubling.push(`v${at} = %(v${at - 1})%(v${at - 1})`)
  const tooLong = problemsIn([...doubling, 'http-to = %(v40)']).find(({ key }) => key === 'v14')
  assert.deepEqual(tooLong, {
    where: 'a.ini:16',
    key: 'v14',
    message: 'has more than 65536 bytes with its placeholders filled in',
  })
  const long = 'x'.repeat(60_000)
  const inLoop = problemsIn([`for = ${long}`, 'http-to = %(_)%(_)', 'endfor'])
  assert.deepEqual(
    inLoop.filter(({ key }) => key === 'http-to').map(({ where, message }) => [where, message]),
    [['a.ini:3', 'has more than 65536 bytes with its placeholders filled in']],
  )
  const all = problemsIn([`v0 = ${long}`, 'for-times = 1000', 'http-to = %(v0)', 'endfor'])
  assert.deepEqual(
    all.filter(({ key }) => key === 'http-to').map(({ where, message }) => [where, message]),
    [['a.ini:4', 'here all values together have more than 4194304 bytes']],
  )
})
