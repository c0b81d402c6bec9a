// The flags of V8 that the program sets, in its first line and when it runs: each must be known to the Node that runs
// this test. One that is not keeps the program from starting ("bad option"), or writes to standard error.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

const main = readFileSync(new URL('../../src/cli/main.ts', import.meta.url), 'utf8')

test('this Node knows every flag of V8 that the program sets', () => {
  const [firstLine = ''] = main.split('\n')
  const inFirstLine = firstLine.match(/--[a-z-]+/g) ?? []
  const atRunTime = [...main.matchAll(/setFlagsFromString\('(--[a-z-]+)/g)].map(([, flag]) => flag)
  assert.deepEqual([inFirstLine.length, atRunTime.length], [3, 2])
  const options = execFileSync(process.execPath, ['--v8-options'], { encoding: 'utf8' })
  const known = new Set(options.match(/^ {2}--[a-z-]+/gm)?.map((line) => line.trim()))
  for (const flag of [...inFirstLine, ...atRunTime]) {
    const name = flag?.replace(/^--no-/, '--') ?? ''
    assert.ok(known.has(name), `node ${process.version} does not know ${flag}`)
  }
})
