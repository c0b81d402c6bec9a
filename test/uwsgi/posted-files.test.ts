// Files of uWSGI as people post them: variables, conditions, loops, sockets opened before, and every option that
// the program itself knows.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { nearest } from '../../src/settings/errors.ts'
import type { Machine } from '../../src/uwsgi/config-logic.ts'
import { type Conversion, convert } from '../../src/uwsgi/conversion.ts'
import { parseIni } from '../../src/uwsgi/ini.ts'
import { KNOWN_OPTIONS } from '../../src/uwsgi/options.ts'
import { whyWithout } from '../support/programs.ts'

const MACHINE: Machine = {
  hostName: 'edge-1',
  environment: (name) => (name === 'STAGE' ? 'live' : undefined),
  kindOf: (path) => (path === '/etc/ssl/own.pem' ? 'file' : path === '/srv' ? 'folder' : undefined),
}

function read(lines: string): Conversion {
  return convert(parseIni(`[uwsgi]\n${lines}`, '/etc/uwsgi/site.ini'), {
    wire: 'sealed',
    isInsecure: false,
    rpcAddress: 'unix:/run/rpc.sock',
    machine: MACHINE,
    nearest,
  })
}

/** Without a problem. */
function readWell(lines: string): Conversion {
  const conversion = read(lines)
  assert.deepEqual(conversion.problems, [])
  return conversion
}

const problemsOf = (lines: string) =>
  read(lines).problems.map(({ where, key, message }) => `${where}: ${key}: ${message}`)

const CACHE = 'cache2 = name=ssl,items=1000,blocksize=4096\nssl-sessions-use-cache = ssl\n'
const BACKEND = 'http-to = 127.0.0.1:8000\nhttps-session-context = shop\n'

test('https with a shared socket and ciphers (unbit/uwsgi issue 2094), with the cache of issue 580', () => {
  const { terminator, notes } = readWell(`${CACHE}${BACKEND}
module = app:app
strict = true
master = true
processes = 16
shared-socket = 0.0.0.0:443
https = =0,ssl/cert.pem,ssl/key.pem,HIGH
vacuum = true
enable-threads = true
single-interpreter = true
need-app = true
die-on-term = true
disable-logging = true
log-4xx = true
log-5xx = true
max-requests = 1000
max-worker-lifetime = 3600
reload-on-rss = 2048
worker-reload-mercy = 60
cheaper-algo = busyness
cheaper = 4
cheaper-initial = 4
cheaper-overload = 1
cheaper-step = 2
cheaper-busyness-min = 20
cheaper-busyness-max = 70
`)
  assert.deepEqual(
    [terminator?.listen, terminator?.cert, terminator?.key],
    ['0.0.0.0:443', 'ssl/cert.pem', 'ssl/key.pem'],
  )
  assert.ok(notes.some(({ option }) => option === 'ciphers of https'))
})

test('https2 with a second shared socket and variables (unbit/uwsgi issue 580)', () => {
  const { terminator } = readWell(`
ssl_ciphers = HIGH:!aNULL
uwsgi_router_ip = 10.0.0.1
shared-socket = :80
shared-socket = :443
https2 = addr==1,cert=cert.pem,key=key.pem,spdy=1,ciphers=%(ssl_ciphers)
http = =0
${CACHE}${BACKEND}
http-subscription-server = %(uwsgi_router_ip):9000
ssl-sessions-timeout = 30
`)
  assert.deepEqual(
    [terminator?.listen, terminator?.cert, terminator?.key, terminator?.sessionTimeoutSec],
    ['0.0.0.0:443', 'cert.pem', 'key.pem', 30],
  )
})

test('variables of the file, of the environment, and of the place of the file', () => {
  const { terminator } = readWell(`
base = /srv
app = shop
certs = %(base)/%(app)
set-placeholder = port=8443
${CACHE}
https = 10.0.0.1:%(port),%(certs)/cert.pem,%dkeys/%n-$(STAGE).key
http-to = 127.0.0.1:8000
https-session-context = %(app)
chdir = %(base)/$(NOT_THERE)
`)
  assert.equal(terminator?.cert, '/srv/shop/cert.pem')
  assert.equal(terminator?.key, '/etc/uwsgi/keys/site-live.key')
  assert.deepEqual([terminator?.listen, terminator?.context], ['10.0.0.1:8443', 'shop'])
})

const CONDITIONS: readonly (readonly [condition: string, holds: boolean])[] = [
  ['if-env = STAGE', true],
  ['if-env = STAGE=live', true],
  ['if-env = STAGE=test', false],
  ['if-not-env = STAGE', false],
  ['if-not-env = OTHER', true],
  ['if-opt = mode', true],
  ['if-opt = mode=tls', true],
  ['if-not-opt = mode=plain', true],
  ['if-exists = /srv', true],
  ['if-file = /srv', false],
  ['if-file = /etc/ssl/own.pem', true],
  ['if-dir = /srv', true],
  ['if-not-dir = /srv', false],
  ['if-hostname = edge-1', true],
  ['if-hostname-match = ^edge-', true],
  ['if-not-hostname-match = ^edge-', false],
  ['if-plugin = http', true],
  ['if-reload', false],
  ['if-not-reload', true],
]

for (const [condition, holds] of CONDITIONS) {
  test(`${condition}: ${holds ? 'holds' : 'does not hold'}`, () => {
    const { config } = readWell(`mode = tls\n${condition}\ncache2 = name=a,items=1\nendif =\n
cache2 = name=b,items=1`)
    const names = JSON.stringify(config['caches'])
    assert.equal(names.includes('"name":"a"'), holds)
    assert.ok(names.includes('"name":"b"'))
  })
}

test('the value of a condition, and loops', () => {
  const { config, terminator } = readWell(`${CACHE}
if-env = STAGE
https-session-context = %(_)
endif =
for = 8000 8001
http-to = 127.0.0.1:%(_)
endfor =
for-times = 2
cache2 = name=c%(_),items=1
end-for =
https = :443,a,b
`)
  assert.equal(terminator?.context, 'live')
  assert.deepEqual(terminator?.backends, ['127.0.0.1:8000', '127.0.0.1:8001'])
  assert.match(JSON.stringify(config['caches']), /"name":"c1".*"name":"c2"/)
})

test('legion, sni, ssl and router options are known, each with its reason', () => {
  const { notes } = readWell(`${CACHE}
legion = mylegion 225.1.1.1:4242 98 bf-cbc:hello
legion-node = mylegion 225.1.1.1:4242
sni = www.example.com www.crt,www.key
sni-dir = /etc/ssl/sni
ssl-enable-sslv3 = true
ssl-option = 16777216
http-to-https = 0.0.0.0:80
http-websockets = true
sslrouter = :444,a,b
check-cache = pages
`)
  const reasons = new Map(notes.map(({ option, why }) => [option, why]))
  assert.match(reasons.get('legion-node') ?? '', /leader/)
  assert.match(reasons.get('sni') ?? '', /--cert and --key/)
  assert.match(reasons.get('ssl-option') ?? '', /--min-version/)
  assert.match(reasons.get('http-to-https') ?? '', /redirect/)
  assert.match(reasons.get('sslrouter') ?? '', /router of the option https/)
  assert.match(reasons.get('check-cache') ?? '', /TLS sessions/)
})

const AT = '/etc/uwsgi/site.ini'
const MISTAKES: readonly (readonly [lines: string, expected: string])[] = [
  [`${CACHE}bse = /srv`, `${AT}:4: bse: unknown option`],
  [`${CACHE}qqqqqqqq = 1`, `${AT}:4: qqqqqqqq: unknown option`],
  [
    `${CACHE}ssl-session-timeot = 1`,
    `${AT}:4: ssl-session-timeot: unknown option; the nearest known one is ssl-sessions-timeout`,
  ],
  [
    `${CACHE}ssl-sessions-timeout = %(later)\nlater = 5`,
    `${AT}:4: ssl-sessions-timeout: "%(later)" is not defined above it`,
  ],
  [`${CACHE}if-env = X\nmaster = 1`, `${AT}:4: if-env: has no endif`],
  [`${CACHE}endif =`, `${AT}:4: endif: ends nothing`],
  [`${CACHE}for-glob = /etc/*`, `${AT}:4: for-glob: is not supported: write the values out`],
  [
    `${CACHE}include = other.ini`,
    `${AT}:4: include: names another file, which is not read: put its options into this one`,
  ],
  [`${CACHE}${BACKEND}https = =3,a,b`, `${AT}:6: https: there is no shared-socket 3`],
  [`${CACHE}${BACKEND}https2 = addr=:1,cert=a`, `${AT}:6: https2: must be addr=..,cert=..,key=..`],
  [
    `${CACHE}${BACKEND}https = :1,a,b\nhttps2 = addr=:1,cert=a,key=b`,
    `${AT}:6: https: stands beside https2: one terminator has one of them`,
  ],
]

for (const [lines, expected] of MISTAKES) {
  test(`mistake: ${expected.slice(AT.length + 1)}`, () => {
    const problems = problemsOf(lines)
    assert.equal(problems[0], expected)
    assert.equal(problems.length, 1)
  })
}

test('every option that the program of Debian knows is known', {
  skip: whyWithout('uwsgi', '--version'),
}, () => {
  const plugins = 'http,cache,sslrouter,fastrouter,rawrouter,router_cache,python3'
  const { stdout } = spawnSync('uwsgi', ['--plugins', plugins, '--help'], { encoding: 'utf8' })
  const names = [...stdout.matchAll(/^ +(?:-.\|)?--([a-z0-9-]+)/gm)].map(([, name = '']) => name)
  assert.ok(names.includes('https2') && names.includes('legion') && names.includes('cache2'))
  const known = new Set(KNOWN_OPTIONS)
  assert.deepEqual(
    names.filter((name) => !known.has(name)),
    [],
  )
})
