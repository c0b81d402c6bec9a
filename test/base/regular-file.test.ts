// Files that are read without waiting: a FIFO, a folder or one that is too large is an error at once.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { readRegularFile } from '../../src/base/regular-file.ts'
import { runCli } from '../support/node-processes.ts'

const folder = mkdtempSync(join(tmpdir(), 'tlscached-files-'))
after(() => rmSync(folder, { recursive: true }))
const fifo = join(folder, 'fifo')
execFileSync('mkfifo', [fifo])

test('a file of any size up to the limit is read whole', () => {
  const path = join(folder, 'file')
  for (const size of [0, 1, 4095, 4096, 4097, 10_000]) {
    writeFileSync(path, 'a'.repeat(size))
    assert.equal(readRegularFile(path, 10_000).text.length, size)
  }
  assert.throws(() => readRegularFile(path, 9999), /larger than 9999 bytes/)
  // Its size is told as 0.
  assert.match(readRegularFile('/proc/self/status', 65_536).text, /^Name:/)
})

test('a path that is not a regular file is an error, and reading it does not wait', () => {
  for (const path of [fifo, folder, '/dev/zero']) {
    assert.throws(() => readRegularFile(path, 10), /not a regular file/)
  }
})

const terminate = [
  'terminate',
  '--listen',
  '127.0.0.1:1',
  '--node',
  '127.0.0.1:1',
  '--backend',
  '127.0.0.1:1',
]
const commands: readonly (readonly string[])[] = [
  ['check', fifo],
  ['check', '--uwsgi', fifo],
  ['repeat', '--listen', '127.0.0.1:0', '--keys-file', fifo],
  [...terminate, '--cert', fifo, '--key', fifo],
]
for (const args of commands) {
  test(`${args[0]} ${args.at(-2)}: a FIFO in the place of a file`, async () => {
    const { code, stdout, stderr } = await runCli(args)
    assert.match(stdout + stderr, /not a regular file/)
    assert.equal(code, 2)
  })
}
