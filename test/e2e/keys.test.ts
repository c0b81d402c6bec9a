// Keys as operators hand them over, and as they get lost: in files of systemd, Kubernetes and compose, on the command
// line, and in the place of something else.

import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, describe, test } from 'node:test'
import { systemRandom } from '../../src/base/world.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import { startCommandLine } from '../support/command-line.ts'
import { freeAddresses } from '../support/free-ports.ts'
import { until } from '../support/latch.ts'
import {
  CLI_ARGS,
  type Finished,
  finish,
  runCli,
  type Spawner,
  startRepeat,
  startServe,
  stopProcess,
} from '../support/node-processes.ts'
import { whyWithout, whyWithoutRoot } from '../support/programs.ts'

const folder = mkdtempSync(join(tmpdir(), 'tlscached-keys-'))
after(() => rmSync(folder, { recursive: true }))
chmodSync(folder, 0o755)
const run = startCommandLine()

const KEY = generateKey(systemRandom)
const SHOWN = KEY.slice(2, 14)

describe('a key in the wrong place', () => {
  const file = (name: string, text: string) => {
    const path = join(folder, name)
    writeFileSync(path, text)
    return path
  }
  const replication = 'replication:\n  listen: 127.0.0.1:0\n'
  const cases: readonly [string, readonly string[], Readonly<Record<string, string>>?][] = [
    ['the flag that is none', ['check', `--replication-keys=${KEY}`]],
    ['the flag that is none, of serve', ['serve', '--replication-keys', `[${KEY}]`]],
    ['an unknown option', ['check', `--key=${KEY}`]],
    ['an unknown option of repeat', ['repeat', '--listen', '127.0.0.1:0', `--keys=${KEY}`]],
    ['an unknown command', [KEY]],
    ['a second argument', ['check', 'a.yaml', KEY]],
    ['the file of the configuration', ['check', KEY]],
    ['the same, as a document', ['check', KEY, '--json']],
    [
      'the file of keys',
      ['serve', '--replication-listen', '127.0.0.1:0', '--replication-keys-file', KEY],
    ],
    ['the file of keys of repeat', ['repeat', '--listen', '127.0.0.1:0', '--keys-file', KEY]],
    ['a wrong value', ['repeat', '--listen', '127.0.0.1:0', '--keys-file-mode', KEY]],
    ['an address', ['repeat', '--listen', KEY]],
    ['a list of peers', ['check', '--replication-peers', `[${KEY}]`]],
    ['an unknown setting', ['check', file('unknown.yaml', `${replication}  ${KEY}: 1\n`)]],
    [
      'a setting that is there twice',
      ['check', '--json', file('twice.yaml', `${KEY}: 1\n${KEY}: 2\n`)],
    ],
    [
      'YAML that is none',
      ['check', file('broken.yaml', `${replication}  keys: ${KEY}]\n  "${KEY}`)],
    ],
    [
      'an alias of YAML',
      ['check', '--json', file('alias.yaml', `${replication}  keys: [*${KEY}]\n`)],
    ],
    ['a key cut short', ['check'], { TLSCACHED_REPLICATION_KEYS: `[${KEY.slice(1)}]` }],
    ['a file in the environment', ['check'], { TLSCACHED_CONFIG: KEY }],
    ['a node to ask', ['stats', '--http', KEY]],
    [
      'a file of uWSGI',
      ['check', '--uwsgi', file('a.ini', `[uwsgi]\ncache2 = name=a,items=${KEY}\n${KEY} = 1\n`)],
    ],
    ['a file of uWSGI to convert', ['convert', join(folder, 'a.ini'), '--json']],
  ]
  for (const [name, args, variables] of cases) {
    test(`${name}: refused and not shown`, async () => {
      const { code, stdout, stderr } = await run(args, variables)
      assert.notEqual(code, 0, stdout)
      const said = stdout + stderr
      assert.ok(said.length > 0 && !said.includes(SHOWN), said)
      assert.doesNotMatch(said, /\n {4}at /)
    })
  }

  test('the flag that is none says what to do', async () => {
    const { code, stderr } = await runCli(['serve', '--replication-keys', KEY])
    assert.equal(code, 2)
    assert.match(
      stderr,
      /every user of this machine can read .*tlscached keygen --out .*-keys-file/,
    )
    const { stdout } = await run(['check', '--help'])
    assert.doesNotMatch(stdout, /--replication-keys[ =]/)
  })
})

test('a FIFO as file of keys is refused at once', async () => {
  const fifo = join(folder, 'fifo')
  execFileSync('mkfifo', ['-m', '600', fifo])
  const args = ['--replication-listen', '127.0.0.1:0', '--replication-keys-file', fifo]
  const { code, stderr } = await run(['check', ...args])
  assert.equal(code, 2)
  assert.match(stderr, /fifo: not a regular file/)
})

/** Neither root nor the group of anything here. */
const USER = 65_534
const FS_GROUP = 29_000

/** Sets the ACL of setfacl -m u:65534:r: an entry for that user, and a mask that the mode shows as the group's bits. */
const SET_ACL = `
import os, struct, sys
NONE = 0xffffffff
entries = [(1, 4, NONE), (2, 4, ${USER}), (4, 0, NONE), (16, 4, NONE), (32, 0, NONE)]
value = struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *entry) for entry in entries)
os.setxattr(sys.argv[1], 'system.posix_acl_access', value)
`

describe('files as they are handed over, root:root', { skip: whyWithoutRoot() }, () => {
  /** Checks a configuration with this file as another user, in a group. */
  const checkAs = (path: string, ...args: string[]): Promise<Finished> => {
    const who = [`--reuid=${USER}`, `--regid=${USER}`, `--groups=${FS_GROUP}`]
    const file = ['--replication-listen', '0.0.0.0:0', '--replication-keys-file', path]
    const command = [...who, process.execPath, ...CLI_ARGS, 'check', ...file, ...args]
    // That user may not write where the coverage of these tests is gathered. (Without it, Node.js passes it on.)
    const env = { ...process.env, NODE_V8_COVERAGE: '' }
    return finish(spawn('setpriv', command, { stdio: ['ignore', 'pipe', 'pipe'], cwd: '/', env }))
  }
  const put = (name: string, mode: number, group = 0) => {
    const path = join(folder, name)
    writeFileSync(path, KEY)
    chmodSync(path, mode)
    chownSync(path, 0, group)
    return path
  }

  const why = whyWithout('python3')
  test('a credential of systemd, mode 0440 with a list for the user', { skip: why }, async () => {
    const path = put('credential', 0o400)
    assert.match((await checkAs(path)).stderr, /EACCES/)
    execFileSync('python3', ['-c', SET_ACL, path])
    assert.deepEqual(await checkAs(path), {
      code: 0,
      stdout: 'the configuration is valid\n',
      stderr: '',
    })
  })

  test('a credential of a unit that does not run is no mistake', async () => {
    const file = '/run/credentials/tlscached-not-there.service/keys'
    for (const [command, addresses] of [
      ['serve', '{ replication: { listen: "0.0.0.0:0", keys_file: FILE } }'],
      ['repeat', '{ listen: "0.0.0.0:7272", keys_file: FILE }'],
    ] as const) {
      const path = join(folder, `${command}.yaml`)
      writeFileSync(path, addresses.replace('FILE', JSON.stringify(file)))
      const { code, stderr } = await run(['check', '--for', command, path])
      assert.equal(code, 0, stderr)
    }
  })

  test('the file of the user of the service, checked by root', async () => {
    const path = put('service', 0o600)
    chownSync(path, USER, USER)
    const check = () =>
      run(['check', '--replication-listen', '0.0.0.0:0', '--replication-keys-file', path])
    const { code, stderr } = await check()
    assert.equal(code, 0, stderr)
    assert.match(stderr, /belongs to user 65534: only a node that runs as that user takes it/)
    chmodSync(path, 0o604)
    assert.match((await check()).stderr, /everybody has access to it/)
  })

  test('a secret of Kubernetes, mode 0440 with fsGroup, through the link', async () => {
    const volume = join(folder, 'volume')
    mkdirSync(join(volume, '..2026'), { recursive: true })
    put('volume/..2026/keys', 0o440, FS_GROUP)
    symlinkSync('..2026', join(volume, '..data'))
    symlinkSync('..data/keys', join(volume, 'keys'))
    assert.equal((await checkAs(join(volume, 'keys'))).code, 0)
  })

  test('a secret of compose, mode 0444: only when that is asked for', async () => {
    const path = put('compose', 0o444)
    const refused = await checkAs(path)
    assert.equal(refused.code, 2)
    assert.match(refused.stderr, /compose: everybody has access .*replication\.keys_file_mode: any/)
    assert.equal((await checkAs(path, '--replication-keys-file-mode', 'any')).code, 0)
  })

  test("another group's", async () => {
    const path = put('group', 0o440, FS_GROUP + 1)
    const { stderr } = await checkAs(path, '--replication-keys-file-mode', 'any')
    assert.match(stderr, /EACCES/)
  })
})

/** Writes a new version of a volume of Kubernetes: a new folder, and one link that leads to it from now on. */
function swap(volume: string, version: string, keys: readonly string[]): void {
  mkdirSync(join(volume, version), { recursive: true })
  writeFileSync(join(volume, version, 'keys'), keys.join('\n'), { mode: 0o600 })
  symlinkSync(version, join(volume, '..data_tmp'))
  renameSync(join(volume, '..data_tmp'), join(volume, '..data'))
}

for (const command of ['serve', 'repeat']) {
  test(`${command}: keys that a swapped link leads to are read without a signal`, async (t) => {
    const volume = join(folder, command)
    swap(volume, '..1', [KEY])
    symlinkSync('..data/keys', join(volume, 'keys'))
    const lines: string[] = []
    const spawner: Spawner = (args) => {
      const all = [...args, '--log-level', 'info']
      const child = spawn(process.execPath, all, { stdio: ['ignore', 'ignore', 'pipe'] })
      t.after(() => stopProcess(child))
      if (child.stderr !== null)
        createInterface({ input: child.stderr }).on('line', (line) => lines.push(line))
      return child
    }
    const [listen = ''] = await freeAddresses(1)
    const keysFile = join(volume, 'keys')
    if (command === 'serve') {
      const replication = { listen, keys_file: keysFile }
      await startServe(folder, { node: { name: 'swapped' }, replication }, spawner)
    } else
      await startRepeat(folder, 'swapped-r', ['--listen', listen, '--keys-file', keysFile], spawner)
    swap(volume, '..2', ['# half-written', KEY.slice(0, 20)])
    await until('it says why not', () => lines.some((line) => /keys stay as they were/.test(line)))
    swap(volume, '..3', [generateKey(systemRandom), KEY])
    await until('it has both', () => lines.some((line) => /"keys":2,.*changed and read/.test(line)))
    assert.ok(!lines.some((line) => line.includes(SHOWN)))
  })
}
