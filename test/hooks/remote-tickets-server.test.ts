// Two TLS servers, each with the ticket keys of its own authority over a unix socket: tickets of one resume on the other
// through a rotation, and while a node is away.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createServer } from 'node:tls'
import { silentLogger, systemClock, systemRandom } from '../../src/base/world.ts'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { RpcFrontend } from '../../src/frontends/rpc/frontend.ts'
import { connectTicketKeys } from '../../src/hooks/remote-tickets.ts'
import { attachTicketKeys } from '../../src/hooks/ticket-keys.ts'
import { TicketAuthority } from '../../src/tickets/authority.ts'
import { ringTimes } from '../../src/tickets/times.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { until } from '../support/latch.ts'
import { handshake } from '../support/tls-client.ts'

const HOUR_MS = 3_600_000
const GROUP = { name: 'www', rotateMs: HOUR_MS, lifetimeMs: HOUR_MS, waitMs: HOUR_MS }
const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const

/** An authority behind an rpc socket, and a TLS server of another process as far as it can tell. */
async function start(t: TestContext, name: string, folder: string, clock: FakeClock) {
  const tickets = new TicketAuthority({
    groups: [{ name: 'www', times: ringTimes(GROUP, []) }],
    nodeId: Buffer.from(name),
    clock,
    random: systemRandom,
  })
  const address = { path: join(folder, `${name}.sock`) }
  const parts = { caches: new Map(), clock: systemClock, logger: silentLogger }
  const frontend = new RpcFrontend({ address, tickets, ...parts })
  await frontend.start()
  const keys = connectTicketKeys(`unix:${address.path}`, { group: 'www' })
  const { key, cert } = DEMO_CERTIFICATE
  const server = createServer({ key, cert }, (socket) => socket.end('hello'))
  const { opensAllKeys } = attachTicketKeys(server, keys)
  assert.ok(opensAllKeys)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(async () => {
    server.close()
    keys.close()
    await frontend.stop()
    tickets.stop()
  })
  return { tickets, frontend, keys, port: (server.address() as AddressInfo).port }
}

test('tickets resume on the other server through a rotation, and while its node is away', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-remote-tickets-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const clock = new FakeClock()
  const [a, b] = [await start(t, 'a', folder, clock), await start(t, 'b', folder, clock)]
  const currentOf = ({ keys }: typeof a) => keys.view().current?.key.hexName
  const swap = () => {
    b.tickets.merge(a.tickets.offers())
    a.tickets.merge(b.tickets.offers())
  }
  const shake = (port: number, version: (typeof VERSIONS)[number], session?: Buffer) =>
    handshake(port, {
      ...{ request: 'hi', minVersion: version, maxVersion: version },
      ...(session !== undefined && { session }),
    })
  a.tickets.mayMake()
  swap()
  b.tickets.mayMake()
  assert.ok(await a.keys.open())
  assert.ok(await b.keys.open())
  const first = currentOf(a)
  assert.equal(currentOf(b), first)
  const sessions = await Promise.all(VERSIONS.map((version) => shake(a.port, version)))
  const assertResumed = async (when: string) => {
    for (const [index, version] of VERSIONS.entries()) {
      const { isReused } = await shake(b.port, version, sessions[index]?.session)
      assert.ok(isReused, `${version} ${when}`)
    }
  }
  await assertResumed('under the first key')
  while (a.tickets.rings[0]?.view(clock.monotonicMs()).current?.key.hexName === first) {
    clock.advance(HOUR_MS / 10)
    swap()
  }
  await until('both have the second key', () => {
    return currentOf(a) !== first && currentOf(a) === currentOf(b)
  })
  await assertResumed('under a past key')
  await b.frontend.stop()
  await until('the loss is known', () => !b.keys.isConnected)
  await assertResumed('without a node')
})
