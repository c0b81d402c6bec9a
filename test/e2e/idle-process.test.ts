// Run as our program's first line says, Node.js does not stop to give memory back when it is idle. V8 does so after 8
// or 16 seconds, as its own heuristics find: this test looks on for longer, in real time.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { finish } from '../support/node-processes.ts'

const MAIN = new URL('../../src/cli/main.ts', import.meta.url)
const PACKAGE = new URL('../../package.json', import.meta.url)
const IDLE_MS = 20_000
/** Leaves garbage, as loading TypeScript does, and has next to nothing to do from then on. */
const SCRIPT = `
  let kept = []
  for (let count = 0; count < 300_000; count += 1) {
    kept.push({ count, list: [count] })
    if (kept.length > 100_000) kept = []
  }
  setInterval(() => {}, 10)
  setTimeout(() => process.exit(), ${IDLE_MS})
`

test('an idle process collects nothing to give memory back', async () => {
  const script = ['--import', 'tsx', '--input-type=module', '--eval', SCRIPT]
  const args = [...flags().split(' '), '--trace-gc', ...script]
  const { code, stdout, stderr } = await finish(spawn(process.execPath, args, { stdio: 'pipe' }))
  assert.equal(code, 0, stderr)
  assert.match(stdout, /Scavenge/)
  assert.doesNotMatch(stdout, /\(reduce\)/)
})

test('npm runs the program with the options of its first line', () => {
  const { scripts } = JSON.parse(readFileSync(PACKAGE, 'utf8'))
  for (const name of ['start', 'tlscached'])
    assert.ok(scripts[name].startsWith(`exec node ${flags()} --import tsx `), name)
})

function flags(): string {
  const [, found] = /^#!\/usr\/bin\/env -S node (.+)\n/.exec(readFileSync(MAIN, 'utf8')) ?? []
  assert.ok(found !== undefined)
  return found
}
