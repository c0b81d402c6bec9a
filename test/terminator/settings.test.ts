// The settings of `tlscached terminate`: file, environment and flags, what they come to, and that each mistake is named
// with its place and its limit.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { Ajv } from 'ajv'
import { Command } from 'commander'
import { parse } from 'yaml'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { addSettingOptions, readFlags } from '../../src/cli/setting-options.ts'
import { ConfigError } from '../../src/settings/errors.ts'
import type { SettingSources } from '../../src/settings/read.ts'
import { COMMAND_PREFIXES, isStandalone, jsonSchemaOf } from '../../src/settings/schema.ts'
import {
  checkTerminatorFiles,
  fixedPartsOf,
  processesOf,
  readTerminatorFiles,
  readTerminatorSettings,
  terminatorSchema,
  terminatorSettings,
} from '../../src/terminator/settings.ts'

const folder = mkdtempSync(join(tmpdir(), 'tlscached-terminate-'))
after(() => rmSync(folder, { recursive: true }))
const file = join(folder, 'terminate.yaml')
const certFile = join(folder, 'cert.pem')
const keyFile = join(folder, 'key.pem')
writeFileSync(certFile, DEMO_CERTIFICATE.cert)
writeFileSync(keyFile, DEMO_CERTIFICATE.key)

const LEAST = [
  ...['--listen', '127.0.0.1:443', '--cert', certFile, '--key', keyFile],
  ...['--backend', '127.0.0.1:80', '--node', 'unix:/run/rpc.sock'],
]
const STANDALONE = terminatorSettings.filter(isStandalone)

/** Flags as the command line reads them. */
function flagsOf(args: readonly string[]) {
  const command = new Command('terminate').exitOverride().configureOutput({ writeErr: () => {} })
  addSettingOptions(command, STANDALONE, COMMAND_PREFIXES.terminate, true)
  return readFlags(command.parse([...args], { from: 'user' }), STANDALONE)
}

const read = (args: readonly string[], sources: SettingSources = {}) =>
  readTerminatorSettings({ ...sources, flags: flagsOf(args) })

function complaints(args: readonly string[], sources: SettingSources = {}): string[] {
  try {
    checkTerminatorFiles(read(args, sources))
  } catch (error) {
    if (error instanceof ConfigError) return error.message.replaceAll(folder, '').split('\n')
    throw error
  }
  return []
}

test('the least there must be, with the defaults', () => {
  const written = read(LEAST)
  const { hosts, ...config } = readTerminatorFiles(written)
  assert.deepEqual(config, {
    listen: [{ host: '127.0.0.1', port: 443 }],
    backends: [{ host: '127.0.0.1', port: 80 }],
    node: { address: 'unix:/run/rpc.sock', cache: 'ssl', isInsecure: false },
    minVersion: '1.2',
    balancers: [],
    sessionTimeoutSec: 300,
    deadlineMs: 50,
    handshakeTimeoutMs: 10_000,
    connectTimeoutMs: 2000,
    checkPeriodMs: 2000,
    idleTimeoutMs: 300_000,
    maxConnections: 10_000,
  })
  assert.deepEqual(
    hosts.all.map(({ names }) => names),
    [['localhost']],
  )
  assert.equal(written.settings.drain, 10_000)
  assert.ok(processesOf(written.settings) >= 1)
})

const EVERYTHING = [
  ...['--listen', '[::1]:444', '--backend', 'unix:/run/app.sock', '--context', 'shop'],
  ...['--min-version', '1.3', '--alpn', 'h2,http/1.1', '--client-ca', certFile],
  ...['--proxy-protocol', 'v2', '--processes', '8', '--metrics', '127.0.0.1:0'],
  ...['--deadline', '20ms', '--session-timeout', '1h', '--cache', 'edge', '--drain', '1s'],
  ...['--accept-proxy-protocol', '10.0.0.0/8', '--accept-proxy-protocol', 'fd00::/8'],
  ...['--log-level', 'warn', '--watchdog', '0'],
]

test('everything that can be said, by flags', () => {
  const written = read([...LEAST, ...EVERYTHING])
  const config = readTerminatorFiles(written)
  assert.equal(config.listen.length, 2)
  assert.deepEqual(config.backends[1], { path: '/run/app.sock' })
  assert.equal(config.hosts.find('').context, 'shop')
  assert.equal(config.minVersion, '1.3')
  assert.deepEqual(config.alpn, ['h2', 'http/1.1'])
  assert.equal(config.clientCa, DEMO_CERTIFICATE.cert)
  assert.equal(config.proxyProtocol, 'v2')
  assert.equal(config.balancers?.length, 2)
  assert.deepEqual([config.deadlineMs, config.sessionTimeoutSec], [20, 3600])
  assert.equal(config.node.cache, 'edge')
  assert.equal(processesOf(written.settings), 8)
  assert.deepEqual(written.settings.log, { level: 'warn', format: 'json' })
  assert.equal(written.settings.watchdog, 0)
})

const YAML = `
listen: [127.0.0.1:443, '[::1]:444']
cert: [${certFile}]
key: [${keyFile}]
backend: ['127.0.0.1:80', 'unix:/run/app.sock']
node: unix:/run/rpc.sock
context: [shop]
min_version: 1.3
alpn: [h2, http/1.1]
client_ca: ${certFile}
proxy_protocol: v2
processes: 8
metrics: 127.0.0.1:0
deadline: 20ms
session_timeout: 1h
cache: edge
drain: 1s
accept_proxy_protocol: [10.0.0.0/8, 'fd00::/8']
log: { level: warn }
watchdog: 0
`

test('a file and variables say what flags say', () => {
  const byFlags = read([...LEAST, ...EVERYTHING]).settings
  writeFileSync(file, YAML)
  assert.deepEqual(read([], { file }).settings, byFlags)
  const environment = Object.fromEntries(
    Object.entries({
      ...{ LISTEN: '127.0.0.1:443,[::1]:444', CERT: certFile, KEY: keyFile, CONTEXT: 'shop' },
      ...{ BACKEND: '127.0.0.1:80, unix:/run/app.sock', NODE: 'unix:/run/rpc.sock' },
      ...{ MIN_VERSION: '1.3', ALPN: 'h2,http/1.1', CLIENT_CA: certFile, PROXY_PROTOCOL: 'v2' },
      ...{ PROCESSES: '8', METRICS: '127.0.0.1:0', DEADLINE: '20ms', SESSION_TIMEOUT: '1h' },
      ...{ CACHE: 'edge', DRAIN: '1s', ACCEPT_PROXY_PROTOCOL: '10.0.0.0/8,fd00::/8' },
      ...{ LOG_LEVEL: 'warn', WATCHDOG: '0' },
    }).map(([name, value]) => [`TLSCACHED_TERMINATE_${name}`, value]),
  )
  assert.deepEqual(read([], { environment }).settings, byFlags)
})

test('flags are stronger than variables, and variables than the file; a list is replaced as a whole', () => {
  writeFileSync(file, YAML)
  const environment = {
    TLSCACHED_TERMINATE_CACHE: 'variable',
    TLSCACHED_TERMINATE_BACKEND: '127.0.0.1:81',
    TLSCACHED_TERMINATE_DRAIN: '2s',
    TLSCACHED_NODE_NAME: 'a node',
  }
  const args = ['--cache', 'flag', '--backend', '127.0.0.1:82', '--backend', '127.0.0.1:83']
  const { settings } = read(args, { file, environment })
  assert.deepEqual([settings.cache, settings.drain], ['flag', 2000])
  assert.deepEqual(
    settings.backend.map((one) => 'port' in one && one.port),
    [82, 83],
  )
})

test('the JSON Schema takes the file', () => {
  const ajv = new Ajv({ allowUnionTypes: true })
  ajv.addKeyword('patternErrorMessage')
  const isValid = ajv.compile(jsonSchemaOf(terminatorSchema, 'terminate'))
  assert.ok(isValid(parse(YAML)), ajv.errorsText(isValid.errors))
  assert.equal(isValid({ ...parse(YAML), min_version: 1.1 }), false)
})

test('only certificates, keys, contexts and lists may change without a restart', () => {
  const fixed = (args: readonly string[]) => fixedPartsOf(read([...LEAST, ...args]).settings)
  const own = ['--cert', keyFile, '--key', keyFile, '--context', 'a', '--client-ca', certFile]
  assert.equal(fixed([...own, '--client-crl', certFile]), fixed([]))
  assert.notEqual(fixed(['--cache', 'edge']), fixed([]))
})

test('every mistake in a file is told with its place and the nearest known name', () => {
  writeFileSync(file, `listen: 127.0.0.1:443\nnodes: x\ncert: [a]\nkey: [b, '']\nalpn: [h2, 7]\n`)
  assert.deepEqual(complaints([], { file, environment: { TLSCACHED_TERMINATE_NOD: 'x' } }), [
    '/terminate.yaml: backend: is required',
    '/terminate.yaml: node: is required',
    '/terminate.yaml:1:1: listen: must be a list, as in [a, b]',
    '/terminate.yaml:2:1: nodes: unknown key; the nearest known one is node',
    '/terminate.yaml:4:10: key[1]: must not be empty',
    '/terminate.yaml:5:12: alpn[1]: must be text (a number needs quotes)',
    'TLSCACHED_TERMINATE_NOD: unknown variable; the nearest known one is TLSCACHED_TERMINATE_NODE',
  ])
})

for (const setting of ['listen', 'cert', 'key', 'backend', 'node']) {
  test(`without ${setting}: a mistake that names it`, () => {
    const at = LEAST.indexOf(`--${setting}`)
    assert.deepEqual(complaints(LEAST.toSpliced(at, 2)), [`config: ${setting}: is required`])
  })
}

const mistakes: readonly (readonly [readonly string[], string])[] = [
  [['--listen', 'x'], '--listen: listen[1]: "x" is not host:port or [ipv6]:port'],
  [['--listen', 'a:0'], '--listen: listen[1]: the port must be 1..65535'],
  [['--node', 'a:0', '--insecure'], '--node: node: the port must be 1..65535'],
  [
    ['--backend', 'unix:x'],
    '--backend: backend[1]: "unix:x" is not unix:/path with at most 107 bytes',
  ],
  [['--processes', '0'], '--processes: processes: must be a whole number, 1..256'],
  [['--processes', '257'], '--processes: processes: must be a whole number, 1..256'],
  [
    ['--max-connections', '0'],
    '--max-connections: max_connections: must be a whole number, 1..1000000',
  ],
  [['--min-version', '1.1'], '--min-version: min_version: must be 1.2 or 1.3'],
  [['--proxy-protocol', 'v3'], '--proxy-protocol: proxy_protocol: must be v1 or v2'],
  [['--alpn', 'h2,,x'], '--alpn: alpn[1]: must not be empty'],
  [
    ['--alpn', 'x'.repeat(256)],
    '--alpn: alpn[0]: must have at most 255 bytes, as in h2 or http/1.1',
  ],
  [
    ['--deadline', '50'],
    '--deadline: deadline: must be a duration, 1ms..1m (as in 250ms, 300s, 5m, 12h)',
  ],
  [
    ['--deadline', '61s'],
    '--deadline: deadline: must be a duration, 1ms..1m (as in 250ms, 300s, 5m, 12h)',
  ],
  [
    ['--session-timeout', '8d'],
    '--session-timeout: session_timeout: must be a duration, 1ms..7d (as in 250ms, 300s, 5m, 12h)',
  ],
  [['--drain', '0s'], '--drain: drain: must be a duration, 1ms..1d (as in 250ms, 300s, 5m, 12h)'],
  [
    ['--cache', '?'],
    '--cache: cache: must be 1..63 letters, digits, ".", "_" or "-", the first one a letter or digit',
  ],
  [
    ['--node', '192.0.2.1:1'],
    '--node: node: sessions would cross the network in clear to 192.0.2.1:1: run a node on this machine, or set insecure',
  ],
  [
    ['--accept-proxy-protocol', '192.0.2.0/33'],
    '--accept-proxy-protocol: accept_proxy_protocol[0]: "192.0.2.0/33" is not an IP address with a prefix length, as in 192.0.2.0/24 or 2001:db8::/32',
  ],
  [
    ['--cert', certFile],
    '--key: key: must have one for each certificate: there are 2 certificates and 1 keys',
  ],
  [['--client-crl', certFile], '--client-crl: client_crl: needs client_ca'],
  [
    ['--client-ca', join(folder, 'none')],
    "--client-ca: client_ca: ENOENT: no such file or directory, open '/none'",
  ],
  [
    ['--client-ca', certFile, '--client-crl', certFile],
    '--client-crl: client_crl: the file has no "BEGIN X509 CRL"',
  ],
  [
    ['--context', 'x'.repeat(33)],
    '--context: context: a session ID context has 1..32 bytes, this one has 33',
  ],
  [
    ['--context', 'a', '--context', 'b'],
    '--context: context: one for each virtual host, not 2 for 1 virtual hosts',
  ],
  [
    ['--cert', certFile, '--key', keyFile],
    '--cert: cert: /cert.pem is for the same names as /cert.pem and would never be used',
  ],
]
for (const [args, message] of mistakes) {
  test(`${args.join(' ').replaceAll(folder, '').slice(0, 40)}: refused`, () => {
    assert.deepEqual(complaints([...LEAST, ...args]), [message])
  })
}

test('an option that is none, and an argument too many', () => {
  assert.throws(() => flagsOf(['--sni', 'x']), { message: /unknown option '--sni'/ })
  assert.throws(() => flagsOf(['a', 'b']), { message: /too many arguments/ })
})

test('a node on another machine, when that is said', () => {
  assert.equal(read([...LEAST, '--node', '192.0.2.1:1', '--insecure']).settings.insecure, true)
})
