// The connection over which ticket keys travel has an ephemeral key exchange: a recording of it stays closed to somebody
// who learns the key of the cluster later.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  type AddressInfo,
  createServer as createRelay,
  connect as dial,
  type Socket,
} from 'node:net'
import { test } from 'node:test'
import { connect, createServer } from 'node:tls'
import { clientOptions, serverOptions } from '../../src/replication/sync/tls.ts'
import { Keyring } from '../../src/wire/keyring.ts'
import { seededBytes } from '../support/seeded-random.ts'

const keyring = new Keyring([seededBytes('cluster key')(32)])
/** Extensions of a ServerHello, RFC 8446 section 4.2. */
const PRE_SHARED_KEY = 41
const KEY_SHARE = 51

/** The types of the extensions in a ServerHello, which is the first record of a server, RFC 8446 section 4.1.3. */
function extensionsOf(record: Buffer): number[] {
  assert.deepEqual([record[0], record[5]], [22, 2], 'a ServerHello')
  const sessionIdAt = 5 + 4 + 2 + 32
  let at = sessionIdAt + 1 + record.readUInt8(sessionIdAt) + 2 + 1
  const end = at + 2 + record.readUInt16BE(at)
  const types: number[] = []
  for (at += 2; at < end; at += 4 + record.readUInt16BE(at + 2)) types.push(record.readUInt16BE(at))
  return types
}

test('both ends agree on a key that the key of the cluster does not give', async (t) => {
  const sockets: Socket[] = []
  const server = createServer(serverOptions({ current: keyring }))
  server.on('connection', (socket) => sockets.push(socket))
  server.on('secureConnection', (socket) => socket.on('error', () => {}))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  // What somebody on the way records of the server: each connection from its first record on.
  const recordings: Buffer[][] = []
  const relay = createRelay((near) => {
    const far = dial(port, '127.0.0.1')
    const recording: Buffer[] = []
    recordings.push(recording)
    far.on('data', (bytes) => recording.push(bytes))
    for (const socket of [near, far]) socket.on('error', () => {})
    sockets.push(near, far)
    near.pipe(far).pipe(near)
  })
  relay.listen(0, '127.0.0.1')
  await once(relay, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    relay.close()
    server.close()
  })
  const secrets: string[] = []
  for (const _ of [1, 2]) {
    const relayed = (relay.address() as AddressInfo).port
    const socket = connect({ host: '127.0.0.1', port: relayed, ...clientOptions(keyring) })
    socket.on('keylog', (line: Buffer) => {
      const [label = '', , secret = ''] = line.toString().trim().split(' ')
      if (label === 'CLIENT_TRAFFIC_SECRET_0') secrets.push(secret)
    })
    await once(socket, 'secureConnect')
    assert.equal(socket.getProtocol(), 'TLSv1.3')
    socket.destroy()
  }
  assert.equal(new Set(secrets).size, 2)
  for (const recording of recordings) {
    const extensions = extensionsOf(Buffer.concat(recording))
    for (const type of [PRE_SHARED_KEY, KEY_SHARE]) assert.ok(extensions.includes(type), `${type}`)
  }
})
