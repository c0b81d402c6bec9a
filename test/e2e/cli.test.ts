// The command line as an operator uses it: real processes, their output, files and exit codes.

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, test } from 'node:test'
import { formatAddress, parseAddress } from '../../src/base/address.ts'
import { systemRandom } from '../../src/base/world.ts'
import { generateKey, parseKey } from '../../src/wire/keyring.ts'
import { startCommandLine } from '../support/command-line.ts'
import { ask } from '../support/http.ts'
import { until } from '../support/latch.ts'
import {
  CLI_ARGS,
  type NodeProcess,
  runCli,
  startServe,
  stopProcess,
} from '../support/node-processes.ts'

const folder = mkdtempSync(join(tmpdir(), 'tlscached-cli-'))
after(() => rmSync(folder, { recursive: true }))
const run = startCommandLine()

/** One line without a stack trace. */
function assertOneLine(text: string, pattern: RegExp): void {
  assert.match(text, pattern)
  assert.equal(text.trimEnd().split('\n').length, 1, text)
}

function spawnCli(args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [...CLI_ARGS, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
}

describe('usage', () => {
  const commands = [
    'serve',
    'terminate',
    'repeat',
    'check',
    'keygen',
    'demo',
    'get',
    'put',
    'remove',
    'stats',
    'peers',
  ]

  test('every command explains itself', async () => {
    const { code, stdout } = await run(['--help'])
    assert.equal(code, 0)
    for (const command of commands) assert.match(stdout, new RegExp(`^  ${command} `, 'm'))
    await Promise.all(
      commands.map(async (command) => {
        const help = await run(['help', command])
        assert.equal(help.code, 0)
        assert.match(help.stdout, new RegExp(`^Usage: tlscached ${command} `))
        assert.match(help.stdout, /--json/)
      }),
    )
  })

  const wrongUsages: readonly (readonly [string, readonly string[], RegExp])[] = [
    ['an unknown command', ['sevre'], /unknown command 'sevre'/],
    ['an unknown option', ['stats', '--htpp', 'x'], /unknown option '--htpp'/],
    ['an ID that is no hex', ['get', 'xyz'], /hexadecimal/],
    ['no ID', ['get'], /missing required argument 'id'/],
    ['an address that is none', ['stats', '--http', 'nowhere'], /not host:port/],
    ['two contexts', ['get', 'a1', '--context', 'a', '--context-hex', '00'], /cannot be used with/],
    ['too many arguments', ['keygen', 'x'], /too many arguments/],
    ['a number of nodes that is none', ['demo', '--nodes', '1'], /must be a whole number, 2\.\.16/],
    ['a repeater nowhere', ['repeat'], /^config: listen: is required$/m],
    [
      'the flags of a node for a repeater',
      ['check', '--for', 'repeat', '--caches', 'x'],
      /of serve/,
    ],
    ['a terminator without settings', ['terminate'], /^config: backend: is required$/m],
    ['a repeater on a group', ['repeat', '--listen', '225.1.1.1:1'], /not on a multicast group/],
    ['a repeater without keys', ['repeat', '--listen', '10.0.0.1:1'], /needs keys/],
    ['a file named twice', ['check', 'a', '--config', 'b'], /named twice/],
  ]
  for (const [name, args, pattern] of wrongUsages) {
    test(`${name}: exit code 2`, async () => {
      const { code, stdout, stderr } = await run(args)
      assert.match(stderr, pattern)
      assert.equal(stderr.includes('    at '), false, stderr)
      assert.deepEqual([code, stdout], [2, ''])
    })
  }

  test('a node that is not there: exit code 1', async () => {
    const path = join(folder, 'nobody.sock')
    const { code, stderr } = await run(['stats', '--http', `unix:${path}`])
    assert.equal(code, 1)
    assertOneLine(stderr, /^cannot reach the node at unix:/)
  })
})

describe('check', () => {
  const wrong = join(folder, 'wrong.yaml')
  writeFileSync(wrong, 'caches:\n  - { name: a, itmes: 5 }\nlog: { level: loud }\n')
  const problems = [
    {
      where: `${wrong}:2:16`,
      key: 'caches[0].itmes',
      message: 'unknown key; the nearest known one is caches[0].items',
    },
    {
      where: `${wrong}:3:8`,
      key: 'log.level',
      message: 'must be debug or info or warn or error or silent',
    },
  ]

  test('a valid file: exit code 0', async () => {
    const file = join(folder, 'right.yaml')
    writeFileSync(file, 'log: { level: warn }\n')
    const { code, stdout, stderr } = await run(['check', file])
    assert.deepEqual([code, stdout, stderr], [0, `${file} is valid\n`, ''])
  })

  test('the file of a terminator, with the files that it names', async () => {
    const file = join(folder, 'terminate.yaml')
    const least = 'listen: ["*:443"]\nbackend: ["127.0.0.1:80"]\nnode: unix:/run/rpc.sock\n'
    writeFileSync(file, `${least}cert: [/no/such.crt]\nkey: [/no/such.key]\n`)
    const { code, stdout, stderr } = await run(['check', '--for', 'terminate', file])
    assert.deepEqual([code, stdout], [2, ''])
    assertOneLine(stderr, /terminate\.yaml:4:1: cert: ENOENT: .*\/no\/such\.crt/)
    const reference = await run(['check', '--for', 'terminate', '--reference'])
    assert.match(reference.stdout, /^\| `accept_proxy_protocol` +\| nobody /m)
  })

  test('every mistake with its place: exit code 2', async () => {
    const { code, stdout, stderr } = await run(['check', '--config', wrong])
    const lines = problems.map(({ where, key, message }) => `${where}: ${key}: ${message}\n`)
    assert.deepEqual([code, stdout, stderr], [2, '', lines.join('')])
  })

  test('the file of a repeater, and its keys', async () => {
    const file = join(folder, 'repeater.yaml')
    writeFileSync(file, 'listen: 127.0.0.1:7272\n')
    const right = await run(['check', '--for', 'repeat', file])
    assert.deepEqual([right.code, right.stdout], [0, `${file} is valid\n`])
    writeFileSync(file, 'listen: 10.0.0.9:7272\n')
    const keyless = await run(['check', '--for', 'repeat', file])
    assert.equal(keyless.code, 2)
    assertOneLine(keyless.stderr, /repeater\.yaml: replication with 10\.0\.0\.9:7272 needs keys/)
    const { stdout } = await run(['check', '--for', 'repeat', '--schema'])
    assert.ok('keys_file_mode' in JSON.parse(stdout).properties)
  })

  test('as a document', async () => {
    const { code, stdout } = await run(['check', wrong, '--json'])
    assert.equal(code, 2)
    assert.deepEqual(JSON.parse(stdout), { ok: false, problems, warnings: [] })
  })

  test('warnings on standard error, and exit code 0', async () => {
    const args = ['check', '--caches', '[{name: a, contexts: [www.test]}]']
    const { code, stdout, stderr } = await run([...args, '--frontends-memcached', '127.0.0.1:1'])
    assert.deepEqual([code, stdout], [0, 'the configuration is valid\n'])
    assertOneLine(stderr, /^warning: caches\[0\]\.contexts: "www\.test" is text/)
  })

  test('flags are checked, too', async () => {
    const { code, stderr } = await run(['check', '--caches', '[{name: a, items: 0}]'])
    assert.equal(code, 2)
    assertOneLine(stderr, /^--caches: caches\[0\]\.items: must be/)
  })

  test('keys that others can read, and keys that are missing', async () => {
    const file = join(folder, 'open.keys')
    writeFileSync(file, generateKey(systemRandom), { mode: 0o644 })
    const listen = ['--replication-listen', '0.0.0.0:7171']
    const open = await run(['check', ...listen, '--replication-keys-file', file])
    assert.equal(open.code, 2)
    assertOneLine(open.stderr, /everybody has access/)
    const none = await run(['check', ...listen])
    assert.equal(none.code, 2)
    assertOneLine(none.stderr, /0\.0\.0\.0:7171 needs keys/)
  })
})

describe('keygen', () => {
  test('prints a key, another one each time', async () => {
    const keys = await Promise.all([run(['keygen']), run(['keygen'])])
    for (const { code, stdout } of keys) {
      assert.equal(code, 0)
      assert.equal(parseKey(stdout.trimEnd())?.length, 32)
    }
    assert.notEqual(keys[0].stdout, keys[1].stdout)
  })

  test('writes a new file that only its owner can read, and never over another', async () => {
    const file = join(folder, 'new.keys')
    const first = await run(['keygen', '--out', file])
    assert.deepEqual([first.code, first.stdout], [0, ''])
    assert.equal(statSync(file).mode & 0o777, 0o600)
    const key = readFileSync(file, 'utf8')
    assert.equal(parseKey(key.trimEnd())?.length, 32)
    const second = await run(['keygen', '--out', file])
    assert.equal(second.code, 1)
    assertOneLine(second.stderr, /the file exists already/)
    assert.equal(readFileSync(file, 'utf8'), key)
  })
})

describe('a running node', () => {
  let node: NodeProcess
  let http: string

  before(async () => {
    node = await startServe(folder, {
      node: { name: 'edge' },
      caches: [{ name: 'ssl', items: 1, full: 'refuse' }],
    })
    http = formatAddress(node.http)
  })
  after(() => stopProcess(node.child))

  const on = (...args: string[]) => run([...args, '--http', http])
  const tell = (...args: string[]) => runCli([...args, '--http', http], 'from standard input')

  test('put, get and remove', async () => {
    const file = join(folder, 'session')
    const out = join(folder, 'session.out')
    writeFileSync(file, Buffer.from([0, 255, 10]))
    const put = await on('put', 'a1', file, '--context', 'shop', '--ttl', '60', '--json')
    assert.deepEqual([put.code, JSON.parse(put.stdout)], [0, { result: 'stored' }])
    const got = await on('get', 'a1', '--context-hex', '73686f70', '--json')
    const { ttl_seconds, ...rest } = JSON.parse(got.stdout)
    assert.deepEqual([got.code, rest], [0, { id: 'a1', cache: 'ssl', session: 'AP8K' }])
    // How long that took is the machine's business.
    assert.ok(ttl_seconds > 0 && ttl_seconds <= 60, String(ttl_seconds))
    const written = await on('get', 'a1', '--context', 'shop', '--out', out)
    assert.deepEqual([written.code, written.stdout], [0, ''])
    assert.deepEqual(readFileSync(out), Buffer.from([0, 255, 10]))
    assert.equal(statSync(out).mode & 0o777, 0o600)
    writeFileSync(out, 'something longer from before')
    chmodSync(out, 0o644)
    assert.equal((await on('get', 'a1', '--context', 'shop', '--out', out)).code, 0)
    assert.deepEqual(readFileSync(out), Buffer.from([0, 255, 10]))
    assert.equal(statSync(out).mode & 0o777, 0o600)
    const removed = await on('remove', 'a1', '--context', 'shop', '--json')
    assert.deepEqual([removed.code, JSON.parse(removed.stdout)], [0, { removed: true }])
    const missed = await on('get', 'a1', '--context', 'shop')
    assert.equal(missed.code, 1)
    assertOneLine(missed.stderr, /^ERR_MISS: /)
  })

  test('a session from standard input, octets to standard output, and a refusal', async () => {
    assert.equal((await tell('put', 'b1')).code, 0)
    assert.equal((await tell('get', 'b1')).stdout, 'from standard input')
    const full = await tell('put', 'b2')
    assert.equal(full.code, 1)
    assertOneLine(full.stderr, /^ERR_FULL: /)
    assert.equal((await on('remove', 'b1')).code, 0)
  })

  test('stats and peers, for people and as documents', async () => {
    const stats = await on('stats')
    assert.match(stats.stdout, /│ cache │ items │/)
    const document = JSON.parse((await on('stats', '--json')).stdout)
    assert.equal(document.node, 'edge')
    assert.equal(document.caches[0].items_limit, 1)
    assert.equal((await on('peers')).stdout, 'this node does not replicate\n')
    assert.equal(JSON.parse((await on('peers', '--json')).stdout).replication, null)
  })
})

describe('serve', () => {
  async function firstLine(child: ChildProcess): Promise<string> {
    assert.ok(child.stdout !== null)
    const [line]: string[] = await once(createInterface({ input: child.stdout }), 'line')
    return line ?? ''
  }

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    test(`${signal} stops it cleanly: exit code 0, and no socket file is left`, async () => {
      const path = join(folder, `${signal}.sock`)
      const child = spawnCli(['serve', '--frontends-http', `unix:${path}`])
      child.stderr?.resume()
      assert.equal(await firstLine(child), `http listens on unix:${path}`)
      const exit = once(child, 'exit')
      child.kill(signal)
      assert.deepEqual(await exit, [0, null])
      assert.equal(existsSync(path), false)
    })
  }

  test('an address in use is one line, exit code 1', async () => {
    const child = spawnCli(['serve', '--frontends-http', '127.0.0.1:0', '--json'])
    child.stderr?.resume()
    const { name, address } = JSON.parse(await firstLine(child))
    assert.equal(name, 'http')
    const second = await runCli(['serve', '--frontends-http', address])
    assert.deepEqual([second.code, second.stdout], [1, ''])
    const { level, code, msg } = JSON.parse(second.stderr)
    assert.deepEqual([level, code], ['error', 'ERR_LISTEN'])
    assert.equal(msg, `frontends.http: cannot listen on ${address}: address already in use`)
    const replication = ['serve', '--frontends-http', 'none', '--replication-listen']
    const first = spawnCli([...replication, '127.0.0.1:0'])
    first.stderr?.resume()
    const taken = (await firstLine(first)).replace('replication listens on ', '')
    const third = await runCli([...replication, taken, '--log-level', 'silent'])
    assert.equal(third.code, 1)
    assertOneLine(
      third.stderr,
      /^replication\.listen: cannot listen on .*: address already in use$/m,
    )
    await Promise.all([stopProcess(child), stopProcess(first)])
  })

  test('a wrong configuration: every mistake on its line, exit code 2', async () => {
    const { code, stderr } = await runCli(['serve', '--log-level', 'loud', '--node-name', ''])
    assert.equal(code, 2)
    assert.deepEqual(
      stderr
        .trimEnd()
        .split('\n')
        .map((line) => line.split(':')[0]),
      ['--log-level', '--node-name'],
    )
    const keyless = await runCli(['serve', '--replication-listen', '0.0.0.0:0'])
    assert.equal(keyless.code, 2)
    assertOneLine(keyless.stderr, /needs keys/)
  })

  test('SIGHUP reads keys and peers again; a mistake keeps the old ones and is logged', async () => {
    const file = join(folder, 'reload.yaml')
    const socket = join(folder, 'reload.sock')
    const config = (peers: string) =>
      `replication: { listen: "127.0.0.1:0", peers: [${peers}] }\nfrontends: { http: "unix:${socket}" }`
    writeFileSync(file, config(''))
    const child = spawnCli(['serve', file])
    let log = ''
    child.stderr?.on('data', (chunk: Buffer) => {
      log += chunk.toString()
    })
    const http = parseAddress(`unix:${socket}`)
    const peers = async () => {
      const answer = await ask(http, { path: '/v1/peers' }).catch(() => undefined)
      return answer === undefined ? undefined : JSON.parse(answer.body.toString()).peers.length
    }
    await until('it serves', async () => (await peers()) === 0)
    writeFileSync(file, config('"127.0.0.1:9"'))
    child.kill('SIGHUP')
    await until('it has the new peer', async () => (await peers()) === 1)
    writeFileSync(file, config('nonsense'))
    child.kill('SIGHUP')
    await until('it logged the mistake', () => log.includes('reload failed'))
    assert.equal(await peers(), 1)
    await stopProcess(child)
  })

  test('the process title names role and node', async () => {
    const child = spawnCli(['serve', '--frontends-http', '127.0.0.1:0', '--node-name', 'edge-7'])
    child.stderr?.resume()
    await firstLine(child)
    assert.match(readFileSync(`/proc/${child.pid}/cmdline`, 'latin1'), /^tlscached serve edge-7/)
    await stopProcess(child)
  })
})
