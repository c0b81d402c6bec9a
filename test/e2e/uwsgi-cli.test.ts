// Files of uWSGI on the command line: what convert prints, what serve and check refuse, and how serve ends.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, test } from 'node:test'
import { parse } from 'yaml'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { startCommandLine } from '../support/command-line.ts'
import { freePorts } from '../support/free-ports.ts'
import { CLI_ARGS, finish, stopProcess } from '../support/node-processes.ts'
import { whyWithout } from '../support/programs.ts'

const folder = mkdtempSync(join(tmpdir(), 'tlscached-uwsgi-cli-'))
after(() => rmSync(folder, { recursive: true }))
const run = startCommandLine()

const VECTORS = new URL('../vectors/uwsgi-files/', import.meta.url)
const UNICAST = new URL('unicast-1.ini', VECTORS).pathname
const MULTICAST = new URL('multicast-1.ini', VECTORS).pathname

function write(name: string, ...lines: string[]): string {
  const file = join(folder, name)
  writeFileSync(file, ['[uwsgi]', ...lines, ''].join('\n'))
  return file
}

test('convert prints YAML that is a configuration, and the rest as comments', async () => {
  const { code, stdout, stderr } = await run(['convert', UNICAST])
  assert.deepEqual([code, stderr], [0, ''])
  assert.match(stdout, new RegExp(`^# ${UNICAST}:3: master: `, 'm'))
  assert.match(
    stdout,
    /^# In front of it: tlscached terminate --listen 127\.0\.1\.1:8443 --cert foobar\.crt --key foobar\.key --context foobar .*--processes 2 /m,
  )
  const file = join(folder, 'converted.yaml')
  writeFileSync(file, stdout)
  assert.equal((await run(['check', file])).code, 0)
  const { replication, caches } = parse(stdout)
  assert.deepEqual(replication, {
    listen: '127.0.1.1:7171',
    peers: ['127.0.1.2:7171', '127.0.1.3:7171'],
  })
  assert.equal(caches[0].items, 20_000)
})

test('convert to the wire of uWSGI, and as JSON', async () => {
  const { code, stdout } = await run(['convert', UNICAST, '--wire', 'uwsgi', '--json'])
  assert.equal(code, 0)
  const { ok, config, terminate, notes, problems } = JSON.parse(stdout)
  assert.deepEqual([ok, problems], [true, []])
  assert.equal(config.replication.listeners[0].wire, 'uwsgi')
  assert.equal(terminate[0], '--listen')
  assert.deepEqual(
    notes.map(({ option }: { option: string }) => option),
    ['master', 'http-to'],
  )
})

test('many files are converted into a folder, and one that cannot be keeps no other from it', async () => {
  const out = join(folder, 'out')
  const wrong = write('wrong-one.ini', 'mastr')
  const files = [UNICAST, wrong, '/no/such.ini', MULTICAST]
  const { code, stdout, stderr } = await run(['convert', ...files, '--out', out])
  assert.equal(code, 2)
  assert.deepEqual(readdirSync(out).sort(), ['multicast-1.yaml', 'unicast-1.yaml'])
  assert.equal((await run(['check', join(out, 'unicast-1.yaml')])).code, 0)
  assert.equal(stdout.split('written').length, 3)
  // In a pipe, standard error has the problems and no progress.
  assert.deepEqual(
    stderr
      .trimEnd()
      .split('\n')
      .map((line) => line.replace(/: .*/, '')),
    [`${wrong}:2`, '/no/such.ini cannot be read'],
  )

  const again = await run(['convert', UNICAST, '--out', out])
  assert.equal(again.code, 2)
  assert.match(again.stderr, /unicast-1\.yaml cannot be written: .*EEXIST/)
  const lines = (await run(['convert', UNICAST, MULTICAST, '--json'])).stdout.trimEnd().split('\n')
  assert.deepEqual(
    lines.map((line) => JSON.parse(line).file),
    [UNICAST, MULTICAST],
  )
})

test('convert shows on a terminal how many files are done', {
  skip: whyWithout('script'),
}, async () => {
  const command = [...CLI_ARGS, 'convert', UNICAST, MULTICAST, '--out', join(folder, 'shown')]
  const args = ['--quiet', '--return', '--command', [process.execPath, ...command].join(' ')]
  const { code, stdout } = await finish(spawn('script', [...args, '/dev/null']))
  assert.equal(code, 0)
  assert.match(stdout, /files converted: 0 of 2/)
})

test('convert says when keys must be added, and with them it is a configuration', async () => {
  const { code, stdout } = await run(['convert', MULTICAST])
  assert.equal(code, 0)
  assert.match(stdout, /^# .*multicast-1\.ini:\d+: replication\.keys_file: must be added, /m)
  const json = JSON.parse((await run(['convert', MULTICAST, '--json'])).stdout)
  assert.equal(json.notes.at(-1).option, 'replication.keys_file')
  const keys = join(folder, 'added.keys')
  await run(['keygen', '--out', keys])
  const file = join(folder, 'needs-keys.yaml')
  writeFileSync(file, stdout)
  assert.equal((await run(['check', file])).code, 2)
  assert.equal((await run(['check', file, '--replication-keys-file', keys])).code, 0)
})

for (const wire of ['sealed', 'uwsgi']) {
  test(`convert --insecure prints a configuration that may send in clear, wire ${wire}`, async () => {
    const ini = write(
      `insecure-${wire}.ini`,
      'cache2 = name=ssl,items=10,udp=10.0.0.1:7171,node=10.0.0.2:7171',
      'socket = 10.0.0.1:3031',
    )
    const refused = await run(['convert', ini, '--wire', wire])
    assert.equal(refused.code, 2)
    const { code, stdout, stderr } = await run(['convert', ini, '--wire', wire, '--insecure'])
    assert.deepEqual([code, stderr], [0, ''])
    assert.doesNotMatch(stdout, /keys_file/)
    const { frontends, replication } = parse(stdout)
    assert.equal(frontends.insecure, true)
    assert.equal((wire === 'sealed' ? replication : replication.listeners[0]).insecure, true)
    const file = join(folder, `insecure-${wire}.yaml`)
    writeFileSync(file, stdout)
    assert.equal((await run(['check', file])).code, 0)
  })
}

test('every mistake is printed with its line', async () => {
  const file = write('wrong.ini', 'cache = 0', 'ssl-session-timeout = 5', 'mastr')
  const expected = [
    `${file}:2: caches[0].items: must be a whole number, 1..16777216`,
    `${file}:3: ssl-session-timeout: unknown option; the nearest known one is ssl-sessions-timeout`,
    `${file}:4: mastr: unknown option; the nearest known one is master`,
  ]
  for (const args of [
    ['convert', file],
    ['check', '--uwsgi', file],
    ['serve', '--uwsgi', file],
  ]) {
    const { code, stdout, stderr } = await run(args)
    assert.deepEqual([code, stdout], [2, ''], args[0])
    assert.deepEqual(stderr.trimEnd().split('\n'), expected, args[0])
  }
})

const REFUSED: readonly [name: string, args: readonly string[], message: RegExp][] = [
  [
    'nodes beyond loopback without keys',
    ['serve', '--uwsgi', MULTICAST],
    /225\.1\.1\.1:7171.*--keys-file FILE.*--insecure/,
  ],
  ['keys for no file of uWSGI', ['serve', '--keys-file', '/k'], /--keys-file is only for --uwsgi/],
  ['clear text for none', ['check', '--insecure'], /--insecure is only for --uwsgi/],
  ['two files', ['serve', '--uwsgi', UNICAST, '/other.yaml'], /takes the place of a configuration/],
  ['a file that is not there', ['convert', '/no/such.ini'], /\/no\/such\.ini cannot be read/],
  ['several files without a place for them', ['convert', UNICAST, MULTICAST], /give --out FOLDER/],
  ['two files of one name', ['convert', UNICAST, UNICAST, '--out', '/tmp'], /would both become/],
  ['a wire that is none', ['serve', '--uwsgi', UNICAST, '--wire', 'carp'], /--wire/],
]

for (const [name, args, message] of REFUSED) {
  test(`refused: ${name}`, async () => {
    const { code, stderr } = await run(args)
    assert.equal(code, 2)
    assert.match(stderr, message)
  })
}

test('keys that are not there yet: exit code 1, so that a service manager starts it again', async () => {
  const { code, stderr } = await run(['serve', '--uwsgi', MULTICAST, '--keys-file', '/no/keys'])
  assert.equal(code, 1)
  assert.match(stderr, /there is no \/no\/keys; make it with "tlscached keygen --out \/no\/keys"/)
})

test('a terminator that cannot run ends the node, and leaves no socket behind', async () => {
  const [port = 0] = await freePorts(1)
  const temporary = join(folder, 'tmp')
  mkdirSync(temporary)
  const file = write(
    'no-cert.ini',
    'cache = 10',
    'ssl-sessions-use-cache',
    'https-session-context = foobar',
    `https = 127.0.0.1:${port},/no/such.crt,/no/such.key`,
    'http-to = 127.0.0.1:1',
  )
  const { code, stderr } = await run(['serve', '--uwsgi', file], {
    TMPDIR: temporary,
  })
  assert.equal(code, 2)
  assert.match(stderr, /--cert: .*\/no\/such\.crt/)
  assert.match(stderr, /the terminator ended by itself/)
  assert.deepEqual(
    readdirSync(temporary).filter((name) => name.startsWith('tlscached-')),
    [],
  )
})

/** Names resolve only once a signal came, after everybody else heard of it. */
const SLOW_NAMES = `
import dns from 'node:dns/promises'
import { writeSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
dns.lookup = () =>
  new Promise((resolve) => {
    const lookup = setInterval(() => {}, 1000)
    process.once('SIGTERM', () => {
      clearInterval(lookup)
      resolve({ address: '127.0.0.1', family: 4 })
    })
    // Not console.log: what a service prints that way becomes a line of its log.
    writeSync(1, 'looking for a name\\n')
  })
syncBuiltinESMExports()
`

test('SIGTERM while the node starts: no terminator is started after it', async () => {
  const preload = join(folder, 'slow-names.mjs')
  writeFileSync(preload, SLOW_NAMES)
  const [tls = 0, udp = 0] = await freePorts(2)
  const file = write(
    'slow-start.ini',
    // Where it listens: nothing else is waited for.
    `cache2 = name=ssl,items=10,udp=own.test:${udp},node=127.0.0.1:7171`,
    'ssl-sessions-use-cache = ssl',
    'https-session-context = foobar',
    // A terminator would say so: these are not there.
    `https = 127.0.0.1:${tls},/no/such.crt,/no/such.key`,
    'http-to = 127.0.0.1:1',
  )
  const args = ['--import', preload, ...CLI_ARGS, 'serve', '--uwsgi', file, '--insecure']
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  child.stdout.once('data', () => child.kill('SIGTERM'))
  const { code, stdout, stderr } = await finish(child)
  assert.deepEqual([code, stdout], [0, 'looking for a name\n'])
  assert.doesNotMatch(stderr, /--cert/)
})

test('the terminator of a node that is killed ends, and makes room', {
  timeout: 60_000,
}, async (t) => {
  const [port = 0] = await freePorts(1)
  const [cert, key] = [join(folder, 'demo.crt'), join(folder, 'demo.key')]
  writeFileSync(cert, DEMO_CERTIFICATE.cert)
  writeFileSync(key, DEMO_CERTIFICATE.key)
  const file = write(
    'killed.ini',
    'cache = 10',
    'ssl-sessions-use-cache',
    'https-session-context = foobar',
    `https = 127.0.0.1:${port},${cert},${key}`,
    'http-to = 127.0.0.1:1',
    'http-processes = 2',
  )
  const start = async () => {
    const args = [...CLI_ARGS, 'serve', '--uwsgi', file, '--log-level', 'error']
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] })
    t.after(() => stopProcess(child))
    const lines = createInterface({ input: child.stdout })
    for await (const line of lines) if (line.startsWith('tls listens on')) return child
    throw new Error('it ended before its terminator listened')
  }
  const killed = await start()
  // Its output is that of the terminator, too: it closes when all have ended.
  const allEnded = once(killed.stdout, 'close')
  killed.stdout.resume()
  killed.kill('SIGKILL')
  await allEnded
  await start()
})
