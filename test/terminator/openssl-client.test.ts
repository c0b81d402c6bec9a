// OpenSSL's own client against two terminators that share a store: what it made on one resumes on the other.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { silentLogger, systemClock } from '../../src/base/world.ts'
import {
  DEMO_CERTIFICATE,
  startTerminator,
  type Terminator,
} from '../../src/cli/demo-terminator.ts'
import { LocalHooks } from '../../src/hooks/local-hooks.ts'
import { SessionStore } from '../../src/store/session-store.ts'
import { VersionClock } from '../../src/store/versions.ts'
import { whyWithout } from '../support/programs.ts'

const skip = whyWithout('openssl', 'version')

/** Runs `openssl s_client` for one request and gives back all it printed. */
function sClient(terminator: Terminator, ...more: string[]): Promise<string> {
  const { host, port } = terminator.address
  const child = spawn('openssl', [
    's_client',
    ...['-connect', `${host}:${port}`, '-servername', 'localhost', '-tls1_2', '-ign_eof', ...more],
  ])
  let printed = ''
  child.stdout.on('data', (chunk: Buffer) => {
    printed += chunk.toString('latin1')
  })
  child.stderr.resume()
  child.stdin.end('GET / HTTP/1.0\r\n\r\n')
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => {
      if (code === 0) resolve(printed)
      else reject(new Error(`openssl s_client ended with ${code}`))
    })
  })
}

async function setup(t: TestContext) {
  const store = new SessionStore(
    { name: 'ssl', items: 100, keysize: 32, blocksize: 4096, timeoutMs: 300_000, full: 'evict' },
    {
      clock: systemClock,
      versions: new VersionClock(systemClock),
      origin: 1,
      seed: Buffer.from('seed'),
    },
  )
  const hooks = new LocalHooks(store, { clock: systemClock, logger: silentLogger })
  const start = async (node: string, context: string) => {
    const terminator = await startTerminator({
      listen: { host: '127.0.0.1', port: 0 },
      node,
      hooks,
      context,
      certificate: DEMO_CERTIFICATE,
      sessionTimeoutSec: 300,
      logger: silentLogger,
    })
    t.after(() => terminator.stop())
    return terminator
  }
  const directory = await mkdtemp(join(tmpdir(), 'tlscached-'))
  t.after(() => rm(directory, { recursive: true }))
  return { store, start, sessionFile: join(directory, 'session.pem') }
}

test('openssl s_client: made on one terminator, resumed on the other', { skip }, async (t) => {
  const { store, start, sessionFile } = await setup(t)
  const a = await start('edge-a', 'shop.example')
  const b = await start('edge-b', 'shop.example')
  const first = await sClient(a, '-sess_out', sessionFile)
  assert.match(first, /^New, TLSv1\.2/m)
  assert.match(first, /edge-a full\n/)
  const second = await sClient(b, '-sess_in', sessionFile)
  assert.match(second, /^Reused, TLSv1\.2/m)
  assert.match(second, /edge-b resumed\n/)

  const id = /Session-ID: ([0-9A-F]{64})/.exec(first)?.[1] ?? ''
  assert.equal(store.remove(Buffer.from(id, 'hex'), Buffer.from('shop.example')), true)
  assert.match(await sClient(a, '-sess_in', sessionFile), /^New, TLSv1\.2/m)
})

test('openssl s_client: under another session ID context it is a new session', {
  skip,
}, async (t) => {
  const { store, start, sessionFile } = await setup(t)
  const a = await start('edge-a', 'shop.example')
  const b = await start('edge-b', 'bank.example')
  await sClient(a, '-sess_out', sessionFile)
  const second = await sClient(b, '-sess_in', sessionFile)
  assert.match(second, /^New, TLSv1\.2/m)
  assert.match(second, /edge-b full\n/)
  assert.equal(store.stats.gets.context_mismatch, 1)
})
