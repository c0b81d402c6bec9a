// The connection over which ticket keys travel has an ephemeral key exchange: a recording of it stays closed to somebody
// who learns the key of the cluster later.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { connect, createServer } from 'node:tls'
import { clientOptions, serverOptions } from '../../src/replication/sync/tls.ts'
import { Keyring } from '../../src/wire/keyring.ts'
import { seededBytes } from '../support/seeded-random.ts'

const keyring = new Keyring([seededBytes('cluster key')(32)])

test('both ends agree on a key that the key of the cluster does not give', async () => {
  const server = createServer(serverOptions({ current: keyring }))
  server.on('secureConnection', (socket) => socket.on('error', () => {}).destroySoon())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const secrets: string[] = []
  for (const _ of [1, 2]) {
    const socket = connect({ host: '127.0.0.1', port, ...clientOptions(keyring) })
    socket.on('keylog', (line: Buffer) => {
      const [label = '', , secret = ''] = line.toString().trim().split(' ')
      if (label === 'CLIENT_TRAFFIC_SECRET_0') secrets.push(secret)
    })
    await once(socket, 'secureConnect')
    assert.equal(socket.getProtocol(), 'TLSv1.3')
    const exchange = socket.getEphemeralKeyInfo()
    assert.equal(Reflect.get(exchange ?? {}, 'name'), 'X25519')
    socket.destroy()
  }
  assert.equal(new Set(secrets).size, 2)
  server.close()
  await once(server, 'close')
})
