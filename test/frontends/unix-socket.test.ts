// Socket files: whose they are, with which mode they appear, and what becomes of those that lie there already.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import cluster from 'node:cluster'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { listenOn } from '../../src/streams/listener.ts'

const LISTENER = new URL('../support/unix-listener.ts', import.meta.url)
const FIELD = 'frontends.rpc'
/** Length of sun_path in the kernel, without its closing zero. */
const MAX_PATH_BYTES = 107

let folder = ''
let path = ''
const servers: Server[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tlscached-unix-'))
  path = join(folder, 'a.sock')
})
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => close(server)))
  rmSync(folder, { recursive: true })
})

/** A server whose connections get `name` and are closed. */
function newServer(name = ''): Server {
  // A client that only checks whether somebody answers is gone before the name is sent.
  const server = createServer((socket) => socket.on('error', () => {}).end(name))
  servers.push(server)
  return server
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()))
}

async function nameOfServer(): Promise<string> {
  const socket = connect({ path }).setEncoding('utf8')
  let name = ''
  for await (const part of socket) name += part
  return name
}

/** The socket file of a process that was killed. */
function leaveStaleSocket(): void {
  const program = `require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`
  const { signal } = spawnSync(process.execPath, ['-e', program, path])
  assert.equal(signal, 'SIGKILL')
  assert.ok(statSync(path).isSocket())
}

function modeOf(file: string): number {
  return statSync(file).mode & 0o777
}

test('a worker thread can listen', async () => {
  const env = { ...process.env, LISTEN_PATH: path }
  // On Node.js 20 a thread has to load tsx by itself.
  const program = `import('tsx/esm/api')
    .then(({ tsImport }) => tsImport('${LISTENER.href}', '${import.meta.url}'))`
  const worker = new Worker(program, { env, eval: true })
  assert.deepEqual(await once(worker, 'message'), ['listening'])
  assert.equal(modeOf(path), 0o600)
  worker.postMessage('end')
  assert.deepEqual(await once(worker, 'exit'), [0])
  assert.deepEqual(readdirSync(folder), [])
})

test('a worker of node:cluster listens by itself: the mode is 0600, and a second one is refused', async () => {
  cluster.setupPrimary({ exec: fileURLToPath(LISTENER), execArgv: ['--import', 'tsx'] })
  const first = cluster.fork({ LISTEN_PATH: path })
  const [, outcome] = await once(cluster, 'message')
  assert.equal(outcome, 'listening')
  assert.equal(modeOf(path), 0o600)
  const second = cluster.fork({ LISTEN_PATH: path })
  const [, refusal] = await once(cluster, 'message')
  assert.equal(refusal, `field: cannot listen on unix:${path}: address already in use`)
  for (const worker of [second, first]) {
    worker.send('end')
    await once(worker, 'exit')
  }
  assert.deepEqual(readdirSync(folder), [])
})

test('a path never appears with another mode, whatever the umask is', async () => {
  const watch = `
    const { lstatSync } = require('node:fs')
    const { workerData: { path, flags }, parentPort } = require('node:worker_threads')
    const modes = new Set()
    let looks = 0
    parentPort.postMessage('watching')
    while (Atomics.load(flags, 0) === 0) {
      looks += 1
      const status = lstatSync(path, { throwIfNoEntry: false })
      if (status !== undefined) modes.add(status.mode & 0o777)
    }
    parentPort.postMessage({ modes: [...modes], looks })`
  const flags = new Int32Array(new SharedArrayBuffer(4))
  const watcher = new Worker(watch, { eval: true, workerData: { path, flags } })
  await once(watcher, 'message')
  const umask = process.umask(0)
  try {
    for (let round = 0; round < 300; round += 1) {
      const server = createServer()
      await listenOn(server, { path }, FIELD)
      await close(server)
    }
    const server = newServer()
    await listenOn(server, { path }, FIELD)
    Atomics.store(flags, 0, 1)
    const [{ modes, looks }] = await once(watcher, 'message')
    assert.deepEqual(modes, [0o600])
    assert.ok(looks > 300)
  } finally {
    process.umask(umask)
  }
})

test('nothing but the socket is left in its folder while the server listens, and nothing after', async () => {
  const server = newServer()
  await listenOn(server, { path }, FIELD)
  assert.deepEqual(readdirSync(folder), ['a.sock'])
  await close(server)
  assert.deepEqual(readdirSync(folder), [])
})

test('a server that ends does not remove the socket of another one', async () => {
  const server = newServer('old')
  await listenOn(server, { path }, FIELD)
  renameSync(path, join(folder, 'away'))
  await listenOn(newServer('new'), { path }, FIELD)
  await close(server)
  assert.equal(await nameOfServer(), 'new')
})

test('a server that ends does not remove a file that has taken the place of its socket', async () => {
  const server = newServer()
  await listenOn(server, { path }, FIELD)
  rmSync(path)
  writeFileSync(path, 'precious')
  await close(server)
  assert.ok(existsSync(path))
})

test('when many servers start at once, exactly one gets the path, and keeps it', async () => {
  for (const isStale of [false, true]) {
    if (isStale) leaveStaleSocket()
    const names = Array.from({ length: 20 }, (_, index) => `server ${index}`)
    const outcomes = await Promise.allSettled(
      names.map((name) => listenOn(newServer(name), { path }, FIELD)),
    )
    const winners = names.filter((_, index) => outcomes[index]?.status === 'fulfilled')
    assert.equal(winners.length, 1)
    assert.deepEqual([await nameOfServer()], winners)
    assert.deepEqual(readdirSync(folder), ['a.sock'])
    await Promise.all(servers.splice(0).map((server) => close(server)))
  }
})

test('a start that fails leaves the server as it was, and nothing in the folder', async () => {
  writeFileSync(path, 'precious')
  const server = newServer()
  await assert.rejects(listenOn(server, { path }, FIELD), { code: 'ERR_LISTEN' })
  assert.equal(server.listening, false)
  assert.deepEqual(readdirSync(folder), ['a.sock'])
})

test('a path may have as many bytes as the kernel takes', async () => {
  const deep = join(folder, 'd'.repeat(MAX_PATH_BYTES - folder.length - '/'.length - '/s'.length))
  mkdirSync(deep)
  path = join(deep, 's')
  assert.equal(path.length, MAX_PATH_BYTES)
  await listenOn(newServer('there'), { path }, FIELD)
  assert.equal(await nameOfServer(), 'there')
})

test('what a start that was killed left behind is removed by a later one', async () => {
  const old = join(folder, '.tlscached-aB3xyz')
  const recent = join(folder, '.tlscached-recent')
  const foreign = join(folder, '.tlscached-backup1')
  const full = join(folder, '.tlscached-aaaaaa')
  for (const each of [old, recent, foreign, full]) mkdirSync(each)
  for (const each of [old, foreign]) writeFileSync(join(each, 'new'), '')
  writeFileSync(join(full, 'precious'), '')
  const hourAgo = Date.now() / 1000 - 3600
  for (const each of [old, foreign, full]) utimesSync(each, hourAgo, hourAgo)
  await listenOn(newServer(), { path }, FIELD)
  const left = ['.tlscached-aaaaaa', '.tlscached-backup1', '.tlscached-recent', 'a.sock']
  assert.deepEqual(readdirSync(folder).sort(), left)
})
