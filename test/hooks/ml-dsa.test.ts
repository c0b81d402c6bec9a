// Clients with post-quantum certificates, whose sessions of 4.2 to 7.7 kB hold the certificate: they resume with the
// cache as it is by default. The certificates are frozen vectors, made once by OpenSSL 3.5, as that of Debian 12 knows no
// ML-DSA; they are valid for a hundred years.

import assert from 'node:assert/strict'
import { constants } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { createServer } from 'node:tls'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { attachSessionCache } from '../../src/hooks/node-tls.ts'
import { createNode } from '../../src/node/node.ts'
import { until } from '../support/latch.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { handshake } from '../support/tls-client.ts'

const CONTEXT = 'shop.example'

/** OpenSSL has ML-DSA from 3.5 on: Node.js 22, 24 and 26 are built with it, 20 is not. */
function whyWithoutMlDsa(): string | false {
  const { openssl } = process.versions
  const [major = 0, minor = 0] = openssl.split('.').map(Number)
  if (major > 3 || (major === 3 && minor >= 5)) return false
  return `the OpenSSL of this Node.js is ${openssl}: ML-DSA needs 3.5`
}
const skip = whyWithoutMlDsa()

function read(name: string): string {
  return readFileSync(new URL(`../vectors/ml-dsa/${name}.pem`, import.meta.url), 'utf8')
}

async function setUp(t: TestContext, strength: number, blocksize?: number) {
  const logger = new RecordingLogger()
  const cache = { name: 'ssl', ...(blocksize !== undefined && { blocksize }) }
  const node = createNode({ caches: [cache] }, { logger })
  await node.start()
  const cert = read(`cert-${strength}`)
  const server = createServer({
    ...DEMO_CERTIFICATE,
    ca: cert,
    requestCert: true,
    rejectUnauthorized: true,
    secureOptions: constants.SSL_OP_NO_TICKET,
    sessionIdContext: CONTEXT,
  })
  const names: unknown[] = []
  server.on('secureConnection', (socket) => {
    names.push(socket.getPeerCertificate().subject?.CN)
    socket.on('error', () => {})
    socket.end('hello')
  })
  const binding = attachSessionCache(server, node.hooks('ssl'), { context: CONTEXT })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.after(async () => {
    binding.detach()
    server.close()
    await node.stop()
  })
  const { port } = server.address() as AddressInfo
  const stats = node.caches.get('ssl')?.stats
  assert.ok(stats !== undefined)
  const visit = (session?: Buffer) =>
    handshake(port, {
      cert,
      key: read(`key-${strength}`),
      maxVersion: 'TLSv1.3',
      // Ends when the server does: the sessions of TLS 1.3 come before its bytes.
      request: 'x',
      ...(session !== undefined && { session }),
    })
  return { visit, stats, names, logger }
}

for (const strength of [44, 65, 87]) {
  test(`a client with a certificate of ML-DSA-${strength} resumes with the default blocksize`, {
    skip,
  }, async (t) => {
    const { visit, stats, names } = await setUp(t, strength)
    const first = await visit()
    await until('its sessions are stored', () => stats.puts.stored === 2)
    const { storedBytes } = stats
    t.diagnostic(`two sessions of ${storedBytes} bytes together`)
    assert.ok(storedBytes > 2 * 4096 && storedBytes < 2 * 8192)
    const second = await visit(first.session)
    assert.deepEqual([first.isReused, second.isReused], [false, true])
    assert.deepEqual(names, [`ml-dsa-${strength} client`, `ml-dsa-${strength} client`])
  })
}

test('with a blocksize of 4096 such a client does not resume, and the log says why', {
  skip,
}, async (t) => {
  const { visit, stats, logger } = await setUp(t, 65, 4096)
  const first = await visit()
  await until('its sessions are refused', () => stats.puts.blocksize === 2)
  assert.equal((await visit(first.session)).isReused, false)
  const line = logger.lines.find(({ level }) => level === 'warn')
  assert.match(
    line?.message ?? '',
    /^a session was refused: it has 5\d{3} bytes, caches\[\]\.blocksize is 1\.\.4096$/,
  )
  assert.equal(line?.fields['setting'], 'blocksize')
})
