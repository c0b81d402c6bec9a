// Why a connection between nodes fails, as the log says it: in words, with real TLS and real strangers.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer as createTcpServer, type Server } from 'node:net'
import { test } from 'node:test'
import { createServer, type TlsOptions } from 'node:tls'
import { systemClock } from '../../src/base/world.ts'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { connectSync } from '../../src/replication/sync/client.ts'
import { handshakeReason, serverOptions } from '../../src/replication/sync/tls.ts'
import { Keyring } from '../../src/wire/keyring.ts'
import { seededBytes } from '../support/seeded-random.ts'

const OURS = new Keyring([seededBytes('ours')(32)])
const OTHERS = new Keyring([seededBytes('others')(32)])

/** What `connectSync` says of this server, which is closed afterwards. */
async function reasonOf(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  try {
    await connectSync({ host: '127.0.0.1', port }, OURS, systemClock)
    return 'connected'
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  } finally {
    server.close()
  }
}

test('a peer with other keys: both sides say so', async () => {
  const server = createServer(serverOptions({ current: OTHERS }))
  const refused = once(server, 'tlsClientError')
  assert.match(await reasonOf(server), /^the peer has other keys: compare the files of keys/)
  const [error] = await refused
  assert.match(handshakeReason(error), /^the peer has other keys: compare the files of keys/)
})

test('a program that does not speak TLS', async () => {
  const server = createTcpServer((socket) => {
    socket.on('error', () => {})
    socket.end('SSH-2.0-OpenSSH_9.2\r\n')
  })
  assert.match(await reasonOf(server), /^the other side does not speak TLS/)
})

test('a TLS server with a certificate', async () => {
  const options: TlsOptions = DEMO_CERTIFICATE
  const reason = await reasonOf(createServer(options))
  assert.match(reason, /^the other side speaks TLS and is not a node/)
})
