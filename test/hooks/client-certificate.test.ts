// Client certificates: what a server that demands one resumes, out of a cache that it shares with a server that does not.

import assert from 'node:assert/strict'
import { constants } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { after, describe, type TestContext, test } from 'node:test'
import { createServer, type TlsOptions } from 'node:tls'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import type { SessionHooks } from '../../src/hooks/hooks.ts'
import { attachSessionCache } from '../../src/hooks/node-tls.ts'
import { createLiveCache } from '../support/cache-fixture.ts'
import { CertificateFolder } from '../support/certificates.ts'
import { whyWithout } from '../support/programs.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { handshake } from '../support/tls-client.ts'

const CONTEXT = 'shop.example'

/** A server joined to the cache that sends a letter to each client whose handshake is done. */
async function serve(t: TestContext, hooks: SessionHooks, options: TlsOptions = {}) {
  const logger = new RecordingLogger()
  const server = createServer({
    ...DEMO_CERTIFICATE,
    secureOptions: constants.SSL_OP_NO_TICKET,
    sessionIdContext: CONTEXT,
    ...options,
  })
  server.on('secureConnection', (socket) => {
    socket.on('error', () => {})
    socket.resume().end('x')
  })
  const binding = attachSessionCache(server, hooks, { context: CONTEXT, logger })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    binding.detach()
    server.close()
  })
  return { logger, stats: binding.stats, port: (server.address() as AddressInfo).port }
}

describe('client certificates', { skip: whyWithout('openssl', 'version') }, () => {
  const folder = new CertificateFolder()
  after(() => folder.remove())
  const authority = folder.make({ commonName: 'authority' })
  const { cert, key } = folder.make({ commonName: 'client', issuer: authority })
  const demand = { requestCert: true, ca: authority.cert }

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const visit = { minVersion: version, maxVersion: version, request: 'hi' }

    test(`${version}: a session made without one does not resume where one is demanded`, async (t) => {
      const { hooks } = createLiveCache()
      const open = await serve(t, hooks)
      const guarded = await serve(t, hooks, demand)
      const { session } = await handshake(open.port, visit)
      const stranger = await handshake(guarded.port, { ...visit, session }).catch(() => undefined)
      assert.notEqual(stranger?.received, 'x')
      const { handshakes, offered, found, failed } = guarded.stats
      assert.deepEqual([handshakes, offered, found, failed], [0, 1, 0, 1])
      const [line] = guarded.logger.lines
      assert.match(String(line?.fields['reason']), /made without a client certificate/)
      // It still resumes where none is demanded.
      assert.equal((await handshake(open.port, { ...visit, session })).isReused, true)
    })

    test(`${version}: a session made with one resumes, and one that need not be shown ends nothing`, async (t) => {
      const { hooks } = createLiveCache()
      const guarded = await serve(t, hooks, demand)
      const { session } = await handshake(guarded.port, { ...visit, cert, key })
      const second = await handshake(guarded.port, { ...visit, cert, key, session })
      assert.deepEqual([second.isReused, second.received], [true, 'x'])
      const asking = await serve(t, hooks, { ...demand, rejectUnauthorized: false })
      const without = await handshake(asking.port, visit)
      const again = await handshake(asking.port, { ...visit, session: without.session })
      assert.deepEqual([again.isReused, again.received], [true, 'x'])
    })
  }
})
