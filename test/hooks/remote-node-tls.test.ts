// TLS servers of Node.js that share a cache over rpc, over real connections; the node goes away and comes back.
// Deadlines are on a clock that stands still: no handshake waits for one.

import assert from 'node:assert/strict'
import { constants } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createServer } from 'node:tls'
import { silentLogger, systemClock } from '../../src/base/world.ts'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { RpcFrontend } from '../../src/frontends/rpc/frontend.ts'
import { attachSessionCache } from '../../src/hooks/node-tls.ts'
import { connectHooks } from '../../src/hooks/remote-hooks.ts'
import { createLiveCache } from '../support/cache-fixture.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { until } from '../support/latch.ts'
import { handshake } from '../support/tls-client.ts'

const CONTEXT = 'shop.example'

/** One cache behind an rpc frontend. */
function createNode(path: string) {
  const { store, hooks } = createLiveCache()
  const caches = new Map([['ssl', hooks]])
  const options = { address: { path }, caches, clock: systemClock, logger: silentLogger }
  return { store, frontend: new RpcFrontend(options) }
}

async function serve(t: TestContext, path: string, clock: FakeClock) {
  const server = createServer({
    ...DEMO_CERTIFICATE,
    secureOptions: constants.SSL_OP_NO_TICKET,
    sessionIdContext: CONTEXT,
  })
  server.on('secureConnection', (socket) => {
    socket.on('error', () => {})
    socket.on('data', () => socket.end('hello'))
    socket.on('end', () => socket.end())
  })
  const hooks = connectHooks(`unix:${path}`, { cache: 'ssl', clock })
  const binding = attachSessionCache(server, hooks, { context: CONTEXT, clock })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(async () => {
    binding.detach()
    await hooks.close()
    await new Promise((resolve) => server.close(resolve))
  })
  return { hooks, binding, port: (server.address() as AddressInfo).port }
}

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`${version}: resumes over rpc, goes on without the node, and resumes again`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'tlscached-rpc-'))
    const path = join(folder, 'rpc.sock')
    const { frontend, store } = createNode(path)
    await frontend.start()
    t.after(async () => {
      await frontend.stop()
      rmSync(folder, { recursive: true })
    })
    const clock = new FakeClock()
    const a = await serve(t, path, clock)
    const b = await serve(t, path, clock)
    const options = { minVersion: version, maxVersion: version, request: 'hi' }
    const made = await handshake(a.port, options)
    assert.equal(made.isReused, false)
    assert.ok(made.session !== undefined)
    const stored = version === 'TLSv1.3' ? 2 : 1
    await until('the node has stored it', () => store.stats.items === stored)
    const offer = { ...options, session: made.session }
    assert.equal((await handshake(b.port, offer)).isReused, true)
    assert.equal(b.hooks.stats.gets.hit, 1)

    await frontend.stop()
    await until('both know it', () => !a.hooks.isConnected && !b.hooks.isConnected)
    for (const { port } of [a, b]) assert.equal((await handshake(port, offer)).isReused, false)
    assert.equal(b.hooks.stats.gets.unreachable, 1)
    assert.ok(b.hooks.stats.puts.unreachable > 0)
    assert.equal(a.hooks.stats.gets.late + b.hooks.stats.gets.late, 0)
    // A put that failed is told; a get that did is a miss like any other.
    assert.equal(b.binding.stats.failed, b.hooks.stats.puts.unreachable)

    await frontend.start()
    await until('both have found it again', () => {
      clock.advance(20)
      return a.hooks.isConnected && b.hooks.isConnected
    })
    assert.equal((await handshake(b.port, offer)).isReused, true)
    const held = store.stats.items
    const again = await handshake(b.port, options)
    await until('the node has stored that one, too', () => store.stats.items === held + stored)
    assert.equal((await handshake(a.port, { ...options, session: again.session })).isReused, true)
  })
}
