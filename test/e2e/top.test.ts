// `tlscached top` and `stats --watch` with a real node: a screen on a terminal, plain text in a pipe.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { formatAddress } from '../../src/base/address.ts'
import { printable } from '../../src/cli/terminal.ts'
import { until } from '../support/latch.ts'
import {
  CLI_ARGS,
  type NodeProcess,
  runCli,
  startServe,
  stopProcess,
} from '../support/node-processes.ts'
import { whyWithout } from '../support/programs.ts'

const folder = mkdtempSync(join(tmpdir(), 'tlscached-top-'))
let node: NodeProcess | undefined
let http = ''

before(async () => {
  const replication = { listen: '127.0.0.1:0', peers: [] }
  node = await startServe(folder, { node: { name: 'edge-1' }, replication })
  http = formatAddress(node.http)
})

after(async () => {
  if (node !== undefined) await stopProcess(node.child)
  rmSync(folder, { recursive: true })
})

test('in a pipe it is printed once, without a character that moves a cursor', async () => {
  const { code, stdout, stderr } = await runCli(['top', '--http', http])
  assert.equal(code, 0)
  assert.equal(stderr, '')
  assert.match(stdout, /^ERROR edge-1: this node serves alone/)
  assert.match(stdout, /^edge-1 +here +alone /m)
  assert.equal(printable(stdout.replaceAll('\n', '')), stdout.replaceAll('\n', ''))
  const unknown = await runCli(['top', '--http', http, '--node', 'edge-9'])
  assert.equal(unknown.code, 2)
  assert.match(unknown.stderr, /no node "edge-9"; known are edge-1/)
})

test('on a terminal it is a screen of its own until q is typed', {
  skip: whyWithout('script'),
}, async () => {
  const command = [process.execPath, ...CLI_ARGS, 'top', '--http', http].join(' ')
  const terminal = spawn('script', [
    '--quiet',
    '--flush',
    '--return',
    '--command',
    command,
    '/dev/null',
  ])
  let text = ''
  terminal.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  const ended = once(terminal, 'exit')
  await until('the screen is drawn', () => text.includes('edge-1') && text.includes('NODE'))
  assert.ok(text.startsWith('\u001b[?1049h'))
  terminal.stdin.write('q')
  const [code]: number[] = await ended
  assert.equal(code, 0)
  assert.ok(text.trimEnd().endsWith('\u001b[?25h\u001b[?1049l'))
})

test('stats --watch prints again and again', async () => {
  const args = ['stats', '--http', http, '--json', '--watch', '1s']
  const child = spawn(process.execPath, [...CLI_ARGS, ...args])
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  await until('two documents are there', () => text.split('\n').length > 2)
  const [first = '', second = ''] = text.split('\n')
  assert.deepEqual(Object.keys(JSON.parse(first)), Object.keys(JSON.parse(second)))
  await stopProcess(child)
})
