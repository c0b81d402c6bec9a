// Files and commands of targets: a fault leaves the old file and says what went wrong; nginx takes the files.

import assert from 'node:assert/strict'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, beforeEach, describe, test } from 'node:test'
import { systemClock } from '../../src/base/world.ts'
import { runCommand } from '../../src/tickets/targets/command.ts'
import {
  type SecretFileSystem,
  secretFileSystem,
  writeSecretFile,
} from '../../src/tickets/targets/secret-file.ts'
import { until } from '../support/latch.ts'
import { whyWithoutRoot } from '../support/programs.ts'

const TMPFS = 0x01021994
const EXT4 = 0xef53
const folder = mkdtempSync(join(tmpdir(), 'tlscached-targets-'))
const path = join(folder, 'www.keys')
after(() => rmSync(folder, { recursive: true, force: true }))

/** The real file system, said to be in memory, with some calls replaced. */
function filesWith(calls: Partial<SecretFileSystem> = {}): SecretFileSystem {
  return { ...secretFileSystem, statfs: () => Promise.resolve({ type: TMPFS }), ...calls }
}

function failWith(code: string): () => Promise<never> {
  return () => Promise.reject(Object.assign(new Error(`${code}: made up`), { code }))
}

describe('a file of keys', () => {
  const options = { mode: 0o400, allowDisk: false }
  const keys = Buffer.alloc(48, 7)

  beforeEach(() => {
    rmSync(path, { force: true })
    writeFileSync(path, 'old')
  })

  test('is replaced at once, with its mode, whatever the umask', async () => {
    const inode = statSync(path).ino
    const umask = process.umask(0o777)
    try {
      assert.equal(
        await writeSecretFile(path, keys, { ...options, mode: 0o440 }, filesWith()),
        undefined,
      )
    } finally {
      process.umask(umask)
    }
    assert.notEqual(statSync(path).ino, inode)
    assert.equal(statSync(path).mode & 0o777, 0o440)
    assert.deepEqual(readdirSync(folder), ['www.keys'])
  })

  test('does not mind what a killed process left behind', async () => {
    writeFileSync(join(folder, '.www.keys.tmp'), 'half', { mode: 0o666 })
    assert.equal(await writeSecretFile(path, keys, options, filesWith()), undefined)
    assert.deepEqual(readdirSync(folder), ['www.keys'])
    assert.equal(statSync(path).size, keys.length)
  })

  test('may have its temporary name elsewhere, beside those of other folders', async () => {
    const names: string[] = []
    const open: SecretFileSystem['open'] = (name, flags, mode) => {
      names.push(name)
      return secretFileSystem.open(name, flags, mode)
    }
    const elsewhere = { ...options, temporaryFolder: folder }
    for (const inner of ['a', 'b']) {
      mkdirSync(join(folder, inner), { recursive: true })
      const result = await writeSecretFile(
        join(folder, inner, 'keys'),
        keys,
        elsewhere,
        filesWith({ open }),
      )
      assert.equal(result, undefined)
      assert.deepEqual(readdirSync(join(folder, inner)), ['keys'])
      rmSync(join(folder, inner), { recursive: true })
    }
    assert.equal(new Set(names).size, 2)
  })

  test('gets its folder, which is missing after a reboot, whatever the umask', async () => {
    const [made, inner] = [join(folder, 'tickets'), join(folder, 'tickets', 'www')]
    const umask = process.umask(0o077)
    const target = join(inner, 'keys')
    const result = await writeSecretFile(target, keys, options, filesWith()).finally(() => {
      process.umask(umask)
    })
    assert.equal(result, undefined)
    for (const one of [made, inner]) assert.equal(statSync(one).mode & 0o777, 0o755)
    rmSync(made, { recursive: true })
  })

  test('gets its folder also when other files get the same one at that moment', async () => {
    const deep = join(folder, 'one', 'two', 'three')
    const results = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        writeSecretFile(join(deep, `${index}.key`), keys, options, filesWith()),
      ),
    )
    assert.deepEqual(
      results.filter((failure) => failure !== undefined),
      [],
    )
    assert.equal(readdirSync(deep).length, 8)
    rmSync(join(folder, 'one'), { recursive: true })
  })

  test('gives its new folder and the one above it to a terminator that writes there', {
    skip: whyWithoutRoot(),
  }, async () => {
    const storage = join(folder, 'tickets', 'caddy')
    const folderOwner = { uid: 33, gid: 34 }
    const target = join(storage, 'stek', 'stek.bin')
    const result = await writeSecretFile(target, keys, { ...options, folderOwner }, filesWith())
    assert.equal(result, undefined)
    const ownerOf = (one: string) => [statSync(one).uid, statSync(one).gid]
    for (const one of [storage, join(storage, 'stek')]) assert.deepEqual(ownerOf(one), [33, 34])
    assert.deepEqual(ownerOf(join(folder, 'tickets')), ownerOf(folder))
    rmSync(join(folder, 'tickets'), { recursive: true })
  })

  test('is refused on a disk, unless that is allowed', async () => {
    const onDisk = filesWith({ statfs: () => Promise.resolve({ type: EXT4 }) })
    const failure = await writeSecretFile(path, keys, options, onDisk)
    assert.equal(failure?.reason, 'disk')
    assert.match(failure?.message ?? '', /not on tmpfs or ramfs.*allow_disk/)
    assert.equal(readFileSync(path, 'utf8'), 'old')
    assert.equal(
      await writeSecretFile(path, keys, { ...options, allowDisk: true }, onDisk),
      undefined,
    )
  })

  const faults: readonly [string, Partial<SecretFileSystem>, string][] = [
    ['a full file system', { open: failWith('ENOSPC') }, 'space'],
    ['a quota', { rename: failWith('EDQUOT') }, 'space'],
    ['a folder of somebody else', { open: failWith('EACCES') }, 'permission'],
    ['a name that somebody takes meanwhile', { open: failWith('EEXIST') }, 'write'],
    ['a folder that cannot be made', { mkdir: failWith('EACCES') }, 'permission'],
    ['a folder that is gone', { statfs: failWith('ENOENT') }, 'write'],
    ['a rename that fails', { rename: failWith('EPERM') }, 'permission'],
    ['a write that stops half-way', { open: openHalf }, 'write'],
  ]
  for (const [name, calls, reason] of faults) {
    test(`stays as it was after ${name}`, async () => {
      const failure = await writeSecretFile(path, keys, options, filesWith(calls))
      assert.equal(failure?.reason, reason)
      assert.match(failure?.message ?? '', /www\.keys as user \d+/)
      assert.equal(readFileSync(path, 'utf8'), 'old')
      assert.deepEqual(readdirSync(folder), ['www.keys'])
    })
  }

  /** A file that keeps only half of what is written and does not say so. */
  async function openHalf(name: string, flags: string, mode: number) {
    const handle = await secretFileSystem.open(name, flags, mode)
    const { writeFile } = handle
    handle.writeFile = (bytes) => writeFile.call(handle, bytes.subarray(0, 24))
    return handle
  }
})

describe('a command', () => {
  test('that ends well is no failure', async () => {
    assert.equal(await runCommand(['true'], 'check', systemClock), undefined)
  })

  test('that fails is told with the first line of its errors, and no shell reads its arguments', async () => {
    const script = 'echo "$1" >&2; echo more >&2; exit 3'
    const failure = await runCommand(
      ['sh', '-c', script, 'sh', '$(id) "bad"'],
      'reload',
      systemClock,
    )
    assert.deepEqual(failure, { reason: 'reload', message: 'sh ended with 3: $(id) "bad"' })
  })

  test('that says notices and warnings first is told with its first error', async () => {
    const lines = ['[notice] 1#1: signal process started', '[ WARNING ] old', '', '[error] no pid']
    const script = `printf '%s\\n' ${lines.map((line) => `'${line}'`).join(' ')} >&2; exit 1`
    const failure = await runCommand(['sh', '-c', script], 'reload', systemClock)
    assert.match(failure?.message ?? '', /^sh ended with 1: \[error\] no pid$/)
  })

  test('that is not there is a failure, and so is one that a signal ends', async () => {
    const missing = await runCommand(['/nowhere/nginx', '-t'], 'check', systemClock)
    assert.match(missing?.message ?? '', /^\/nowhere\/nginx cannot be run: .*ENOENT/)
    const killed = await runCommand(['sh', '-c', 'kill -9 $$'], 'check', systemClock)
    assert.equal(killed?.message, 'sh ended with SIGKILL')
  })

  test('that hangs is killed with everything that it started', async () => {
    const pidFile = join(folder, 'pid')
    const script = `sleep 600 & echo $! > ${pidFile}; wait`
    const failure = await runCommand(['sh', '-c', script], 'reload', systemClock, 500)
    assert.equal(failure?.message, 'sh was killed after 500 ms')
    const pid = Number(readFileSync(pidFile, 'utf8'))
    await until('the sleeping child ends', () => !isAlive(pid))
  })
})

/** Whether the process runs; one that has ended and was not waited for does not. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
