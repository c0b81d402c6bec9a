// What a connection for secrets received is gone from its buffer when its listeners have returned.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { connectSecretly } from '../../src/base/secret-socket.ts'

test('data comes in views that are zeros after the event, and the end comes as on every socket', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-secret-socket-'))
  const path = join(folder, 'a.sock')
  const sent = Buffer.from('a secret '.repeat(5000))
  const server = createServer((socket) => {
    socket.on('data', () => socket.end(sent))
  }).listen(path)
  await once(server, 'listening')
  t.after(() => {
    server.close()
    rmSync(folder, { recursive: true })
  })
  const socket = connectSecretly({ path })
  const views: Buffer[] = []
  const copies: Buffer[] = []
  socket.on('data', (bytes: Buffer) => {
    views.push(bytes)
    copies.push(Buffer.from(bytes))
  })
  socket.write('all of it')
  await once(socket, 'end')
  assert.ok(Buffer.concat(copies).equals(sent))
  assert.ok(views.every((view) => view.every((byte) => byte === 0)))
})

test('nothing listens: an error, and then the end', async () => {
  const socket = connectSecretly({ path: '/nowhere/at/all.sock' })
  const [error] = await once(socket, 'error')
  assert.equal(error.code, 'ENOENT')
})
