// The options of `tlscached terminate`: what they come to, and that each error names its flag and its limit.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { Command } from 'commander'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import {
  addTerminateOptions,
  readTerminatorConfig,
  type TerminateOptions,
} from '../../src/cli/terminate-options.ts'

const folder = mkdtempSync(join(tmpdir(), 'tlscached-options-'))
after(() => rmSync(folder, { recursive: true }))
const certFile = join(folder, 'cert.pem')
const keyFile = join(folder, 'key.pem')
writeFileSync(certFile, DEMO_CERTIFICATE.cert)
writeFileSync(keyFile, DEMO_CERTIFICATE.key)

const LEAST = [
  ...['--listen', '127.0.0.1:443', '--cert', certFile, '--key', keyFile],
  ...['--backend', '127.0.0.1:80', '--node', 'unix:/run/rpc.sock'],
]

/** What commander makes of the flags; it throws what it would have printed. */
function parse(flags: readonly string[]): TerminateOptions {
  const command = addTerminateOptions(new Command('terminate'))
  command.exitOverride().configureOutput({ writeErr: () => {} })
  return command.parse([...flags], { from: 'user' }).opts<TerminateOptions>()
}

function without(flag: string): string[] {
  const at = LEAST.indexOf(flag)
  return LEAST.toSpliced(at, 2)
}

test('the least there must be, with the defaults', () => {
  const options = parse(LEAST)
  const { hosts, ...config } = readTerminatorConfig(options)
  assert.deepEqual(config, {
    listen: [{ host: '127.0.0.1', port: 443 }],
    backends: [{ host: '127.0.0.1', port: 80 }],
    node: { address: 'unix:/run/rpc.sock', cache: 'ssl', isInsecure: false },
    minVersion: '1.2',
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
  assert.equal(options.drain, 10_000)
})

test('everything that can be said', () => {
  const options = parse([
    ...LEAST,
    ...['--listen', '[::1]:444', '--backend', 'unix:/run/app.sock', '--context', 'shop'],
    ...['--min-version', '1.3', '--alpn', 'h2,http/1.1', '--client-ca', certFile],
    ...['--proxy-protocol', 'v2', '--processes', '8', '--metrics', '127.0.0.1:0'],
    ...['--deadline', '20ms', '--session-timeout', '1h', '--cache', 'edge', '--drain', '1s'],
  ])
  const config = readTerminatorConfig(options)
  assert.equal(config.listen.length, 2)
  assert.deepEqual(config.backends[1], { path: '/run/app.sock' })
  assert.equal(config.hosts.find('').context, 'shop')
  assert.equal(config.minVersion, '1.3')
  assert.deepEqual(config.alpn, ['h2', 'http/1.1'])
  assert.equal(config.clientCa, DEMO_CERTIFICATE.cert)
  assert.equal(config.proxyProtocol, 'v2')
  assert.deepEqual([config.deadlineMs, config.sessionTimeoutSec], [20, 3600])
  assert.equal(config.node.cache, 'edge')
  assert.equal(options.processes, 8)
})

for (const flag of ['--listen', '--cert', '--key', '--backend', '--node']) {
  test(`without ${flag}: an error that names it`, () => {
    assert.throws(() => parse(without(flag)), { message: new RegExp(`'${flag} <`) })
  })
}

const mistakes: readonly (readonly [readonly string[], RegExp])[] = [
  [['--listen', 'x'], /'--listen <address>'.*not host:port/],
  [['--listen', 'a:0'], /'--listen <address>'.*1\.\.65535/],
  [['--node', 'a:0'], /'--node <address>'.*1\.\.65535/],
  [['--backend', 'unix:x'], /'--backend <address>'.*unix:\/path/],
  [['--processes', '0'], /'--processes <count>'.*1\.\.256/],
  [['--processes', '257'], /'--processes <count>'.*1\.\.256/],
  [['--max-connections', '0'], /'--max-connections <count>'.*1\.\.1000000/],
  [['--min-version', '1.1'], /'--min-version <version>'.*1\.2, 1\.3/],
  [['--proxy-protocol', 'v3'], /'--proxy-protocol <version>'.*v1, v2/],
  [['--alpn', 'h2,,x'], /'--alpn <names>'.*1\.\.255 bytes/],
  [['--alpn', 'x'.repeat(256)], /'--alpn <names>'.*1\.\.255 bytes/],
  [['--deadline', '50'], /'--deadline <duration>'.*1ms\.\.1m/],
  [['--deadline', '61s'], /'--deadline <duration>'.*1ms\.\.1m/],
  [['--session-timeout', '8d'], /'--session-timeout <duration>'.*1ms\.\.7d/],
  [['--drain', '0s'], /'--drain <duration>'/],
  [['--sni', 'x'], /unknown option '--sni'/],
  [['extra'], /too many arguments/],
]
for (const [flags, message] of mistakes) {
  test(`${flags.join(' ').slice(0, 40)}: an error that names flag and limit`, () => {
    assert.throws(() => parse([...LEAST, ...flags]), { message })
  })
}

const misfits: readonly (readonly [readonly string[], RegExp])[] = [
  [['--cert', certFile], /^--cert and --key go in pairs, here are 2 certificates and 1 keys$/],
  [['--client-ca', join(folder, 'none')], /^--client-ca: ENOENT/],
  [['--context', 'x'.repeat(33)], /^--context: .*1\.\.32 bytes, this one has 33$/],
  [['--context', 'a', '--context', 'b'], /^--context: one for each virtual host/],
  [['--cert', certFile, '--key', keyFile], /^--cert: .* would never be used$/],
]
test('a node on another machine is refused, unless that is said', () => {
  const flags = [...without('--node'), '--node', '192.0.2.1:1']
  assert.throws(() => readTerminatorConfig(parse(flags)), {
    code: 'ERR_INSECURE',
    message: /^--node: .*--insecure$/,
  })
  assert.equal(readTerminatorConfig(parse([...flags, '--insecure'])).node.isInsecure, true)
})

for (const [flags, message] of misfits) {
  test(`${flags
    .map((flag) => flag.replace(folder, ''))
    .join(' ')
    .slice(0, 40)}: refused`, () => {
    const options = parse([...LEAST, ...flags])
    assert.throws(() => readTerminatorConfig(options), { code: 'ERR_USAGE', message })
  })
}
