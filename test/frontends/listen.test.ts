// Listening for frontends over streams: socket files and their traces, and errors an operator understands.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, test } from 'node:test'
import { listenOn } from '../../src/streams/listener.ts'

const folder = mkdtempSync(join(tmpdir(), 'tlscached-listen-'))
after(() => rmSync(folder, { recursive: true }))

const servers: Server[] = []
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => close(server)))
})

function newServer(): Server {
  const server = createServer()
  servers.push(server)
  return server
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()))
}

/** A socket file whose process ended without removing it, as after SIGKILL. */
function leaveStaleSocket(path: string): void {
  const program = `require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`
  const { signal } = spawnSync(process.execPath, ['-e', program, path])
  assert.equal(signal, 'SIGKILL')
  assert.ok(statSync(path).isSocket())
}

test('a port that the kernel chose is told', async () => {
  const address = await listenOn(newServer(), { host: '127.0.0.1', port: 0 }, 'frontends.http')
  assert.ok('port' in address && address.port > 0)
})

test('a socket file is for its owner only, and goes when the server closes', async () => {
  const path = join(folder, 'own.sock')
  const before = process.umask()
  const server = newServer()
  await listenOn(server, { path }, 'frontends.http')
  assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.equal(process.umask(), before)
  await close(server)
  assert.equal(existsSync(path), false)
})

test('the socket file of a process that is gone is replaced', async () => {
  const path = join(folder, 'stale.sock')
  leaveStaleSocket(path)
  assert.deepEqual(await listenOn(newServer(), { path }, 'frontends.http'), { path })
  assert.equal(statSync(path).mode & 0o777, 0o600)
})

test('the socket file of a process that answers stays', async () => {
  const path = join(folder, 'live.sock')
  await listenOn(newServer(), { path }, 'frontends.http')
  await assert.rejects(listenOn(newServer(), { path }, 'frontends.http'), {
    code: 'ERR_LISTEN',
    message: `frontends.http: cannot listen on unix:${path}: address already in use`,
  })
  assert.ok(existsSync(path))
})

test('a file that is no socket is never removed', async () => {
  const path = join(folder, 'file')
  writeFileSync(path, 'precious')
  await assert.rejects(listenOn(newServer(), { path }, 'frontends.http'), {
    code: 'ERR_LISTEN',
    message: `frontends.http: cannot listen on unix:${path}: there is a file that is no socket`,
  })
  assert.ok(existsSync(path))
})

test('what keeps an address from being had is said in one line', async () => {
  const taken = await listenOn(newServer(), { host: '127.0.0.1', port: 0 }, 'frontends.http')
  assert.ok('port' in taken)
  const cases = [
    [taken, `127.0.0.1:${taken.port}`, 'address already in use'],
    [{ host: '192.0.2.1', port: 0 }, '192.0.2.1:0', 'this machine does not have that address'],
    [{ path: join(folder, 'no/a') }, `unix:${join(folder, 'no/a')}`, 'no such directory'],
  ] as const
  for (const [address, text, reason] of cases) {
    await assert.rejects(listenOn(newServer(), address, 'frontends.x'), {
      code: 'ERR_LISTEN',
      message: `frontends.x: cannot listen on ${text}: ${reason}`,
    })
  }
})
