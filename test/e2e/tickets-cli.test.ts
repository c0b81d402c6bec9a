// `tlscached tickets` and `tickets rotate` at a running node; nothing that it prints, logs or answers holds a secret.

import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { until } from '../support/latch.ts'
import { stopProcess } from '../support/node-processes.ts'

const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname
const folder = mkdtempSync(join(tmpdir(), 'tlscached-tickets-'))
const http = `unix:${join(folder, 'http.sock')}`
const rpc = `unix:${join(folder, 'rpc.sock')}`
const keysPath = join(folder, 'ticket-keys')
const child = { process: undefined as ReturnType<typeof spawn> | undefined, printed: '' }

async function run(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [MAIN, ...args])
  return stdout
}

before(async () => {
  const config = {
    tickets: {
      groups: [{ name: 'www' }],
      targets: [{ kind: 'file', group: 'www', file: keysPath, allow_disk: true }],
    },
    frontends: { http, rpc },
  }
  const file = join(folder, 'tlscached.yaml')
  writeFileSync(file, JSON.stringify(config))
  const serve = spawn(process.execPath, [MAIN, 'serve', file])
  child.process = serve
  for (const stream of [serve.stdout, serve.stderr]) {
    stream.on('data', (text: Buffer) => {
      child.printed += text.toString()
    })
  }
  await until('the node answers', async () =>
    run('tickets', '--http', http).then(
      () => true,
      () => false,
    ),
  )
})

after(async () => {
  if (child.process !== undefined) await stopProcess(child.process)
  rmSync(folder, { recursive: true })
})

test('shows keys and targets, makes a key, revokes the others, and prints no secret', async () => {
  await until('the terminator has its keys', async () => (await readKeys()).length > 0)
  const before = await readKeys()
  assert.match(await run('tickets', '--http', http), /www .* current .* self[\s\S]*www-file/)
  assert.match(await run('tickets', 'rotate', 'www', '--rpc', rpc), /www has a new ticket key/)
  const { groups } = JSON.parse(await run('tickets', '--http', http, '--json'))
  assert.deepEqual(
    groups[0].keys.map(({ state }: { state: string }) => state),
    ['next', 'current'],
  )
  assert.match(await run('tickets', 'rotate', 'www', '--revoke', '--rpc', rpc), /are retired/)
  const after = JSON.parse(await run('tickets', '--http', http, '--json')).groups[0].keys
  assert.equal(after.length, 1)
  assert.ok(!before.includes(after[0].name))
  await assert.rejects(run('tickets', 'rotate', 'api', '--rpc', rpc), /no group of this name/)

  // What the file has are names of 16 bytes and secrets of 64: the latter are nowhere else.
  await until('the terminator has the new key', async () => (await readKeys())[0] === after[0].name)
  const secret = readFileSync(keysPath).subarray(16)
  assert.equal(secret.length, 64)
  const told = [
    child.printed,
    await run('tickets', '--http', http),
    await run('stats', '--http', http, '--json'),
    readFileSync(`/proc/${child.process?.pid}/cmdline`, 'latin1'),
    readFileSync(`/proc/${child.process?.pid}/environ`, 'latin1'),
  ].join('\n')
  for (const part of [secret.subarray(0, 16), secret.subarray(32, 48)]) {
    assert.ok(!told.includes(part.toString('hex')))
    assert.ok(!told.includes(part.toString('base64').slice(0, 20)))
    assert.ok(!told.includes(part.toString('latin1')))
  }
})

/** Names of the keys in the file: 80 bytes each. */
async function readKeys(): Promise<string[]> {
  try {
    const bytes = readFileSync(keysPath)
    return Array.from({ length: bytes.length / 80 }, (_, index) =>
      bytes.toString('hex', 80 * index, 80 * index + 16),
    )
  } catch {
    return []
  }
}
