// Ticket keys of a ring in real TLS servers: what one server of a group hands out, another one resumes.

import assert from 'node:assert/strict'
import { constants } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { after, afterEach, describe, test } from 'node:test'
import { createServer, type Server, type TlsOptions } from 'node:tls'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { attachTicketKeys, type TicketKeyOptions } from '../../src/hooks/ticket-keys.ts'
import type { TicketKeySource } from '../../src/tickets/authority.ts'
import type { AgedKey, RingView } from '../../src/tickets/rule.ts'
import { TicketKey } from '../../src/tickets/ticket-key.ts'
import { seededBytes } from '../support/seeded-random.ts'
import { type Handshake, handshake } from '../support/tls-client.ts'

const random = seededBytes('ticket keys')
const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const
type Version = (typeof VERSIONS)[number]

class FakeSource implements TicketKeySource {
  #view: RingView = { current: undefined, next: [], previous: [] }
  #listener = () => {}
  fails = false
  isWatched = false

  view(): RingView {
    if (this.fails) throw new Error('the source is away')
    return this.#view
  }

  onChange(listener: () => void): () => void {
    this.#listener = listener
    this.isWatched = true
    return () => {
      this.isWatched = false
    }
  }

  set(view: Partial<RingView>): void {
    this.#view = { current: undefined, next: [], previous: [], ...view }
    this.#listener()
  }
}

function newKey(): AgedKey {
  return { key: TicketKey.generate(random), bornMs: 0, knownMs: 0 }
}

const servers: Server[] = []
const OPTIONS = { key: DEMO_CERTIFICATE.key, cert: DEMO_CERTIFICATE.cert }

async function serve(options: TlsOptions = {}): Promise<Server> {
  const server = createServer({ ...OPTIONS, ...options }, (socket) => socket.end('hello'))
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

function shake(server: Server, version: Version, session?: Buffer): Promise<Handshake> {
  const { port } = server.address() as AddressInfo
  const versions = { minVersion: version, maxVersion: version }
  return handshake(port, { request: 'hi', ...versions, ...(session ? { session } : {}) })
}

async function isResumed(
  server: Server,
  version: Version,
  session: Buffer | undefined,
): Promise<boolean> {
  const { isReused, received } = await shake(server, version, session)
  assert.equal(received, 'hello')
  return isReused
}

const closeAll = () => {
  for (const server of servers.splice(0)) server.close()
}
afterEach(closeAll)
after(closeAll)

/** Two servers with one source each, as on two machines. */
async function servePair(options?: TicketKeyOptions) {
  const sources = [new FakeSource(), new FakeSource()] as const
  const [a, b] = await Promise.all([serve(), serve()])
  const bindings = [
    attachTicketKeys(a, sources[0], { random, ...options }),
    attachTicketKeys(b, sources[1], { random, ...options }),
  ] as const
  const setBoth = (view: Partial<RingView>) => {
    for (const source of sources) source.set(view)
  }
  return { a, b, sources, bindings, setBoth }
}

for (const version of VERSIONS) {
  describe(version, () => {
    test('a ticket resumes on the other server until its key is retired', async () => {
      const { a, b, bindings, setBoth } = await servePair()
      assert.ok(bindings[0].opensAllKeys, 'this release of Node.js has no callback for ticket keys')
      const [first, second, third] = [newKey(), newKey(), newKey()]
      setBoth({ current: first, next: [second] })
      const { session } = await shake(a, version)
      assert.ok(await isResumed(b, version, session))
      setBoth({ current: second, next: [third], previous: [first] })
      assert.ok(await isResumed(b, version, session))
      setBoth({ current: second, next: [third] })
      assert.ok(!(await isResumed(b, version, session)))
    })

    test('a ticket under a key that is only next on the other server resumes there', async () => {
      const { a, b, sources } = await servePair()
      const [first, second] = [newKey(), newKey()]
      sources[0].set({ current: second, previous: [first] })
      sources[1].set({ current: first, next: [second] })
      const { session } = await shake(a, version)
      assert.ok(await isResumed(b, version, session))
    })

    test('a ticket under a past key is renewed under the current one', async () => {
      const { a, b, setBoth } = await servePair()
      const [first, second] = [newKey(), newKey()]
      setBoth({ current: first, next: [second] })
      const { session } = await shake(a, version)
      setBoth({ current: second, previous: [first] })
      const renewed = await shake(b, version, session)
      assert.ok(renewed.isReused)
      setBoth({ current: second })
      assert.ok(await isResumed(a, version, renewed.session))
    })

    test('no key, an erased key or a source that fails costs a full handshake only', async () => {
      const { a, b, sources, setBoth } = await servePair()
      assert.ok(!(await isResumed(a, version, undefined)))
      const first = newKey()
      setBoth({ current: first })
      const { session } = await shake(a, version)
      sources[1].fails = true
      assert.ok(!(await isResumed(b, version, session)))
      sources[1].fails = false
      assert.ok(await isResumed(b, version, session))
      sources[1].set({})
      assert.ok(!(await isResumed(b, version, session)))
    })

    test('keys outlive the renewal of a certificate', async () => {
      const { a, b, setBoth } = await servePair()
      setBoth({ current: newKey() })
      const { session } = await shake(a, version)
      b.setSecureContext(OPTIONS)
      // Node.js gives a context made by setSecureContext another session ID context when the server had one of its own.
      assert.ok(await isResumed(b, version, session))
    })

    test('after close the server has a key of its own, and still resumes its own tickets', async () => {
      const { a, b, bindings, setBoth } = await servePair()
      setBoth({ current: newKey() })
      const { session } = await shake(a, version)
      bindings[1].close()
      bindings[1].close()
      assert.ok(!(await isResumed(b, version, session)))
      const own = await shake(b, version)
      assert.ok(await isResumed(b, version, own.session))
      assert.ok(!(await isResumed(a, version, own.session)))
    })

    test('with setTicketKeys only the current key resumes', async () => {
      const { a, b, sources, bindings, setBoth } = await servePair({ singleKey: true })
      assert.ok(!bindings[0].opensAllKeys)
      const [first, second] = [newKey(), newKey()]
      setBoth({ current: first })
      const { session } = await shake(a, version)
      assert.ok(await isResumed(b, version, session))
      setBoth({ current: first, next: [second] })
      assert.ok(await isResumed(b, version, session))
      setBoth({ current: second, previous: [first] })
      assert.ok(!(await isResumed(b, version, session)))
      for (const binding of bindings) binding.close()
      assert.ok(!sources[0].isWatched && !sources[1].isWatched)
    })
  })
}

test('a server with the callback and one with setTicketKeys resume each other', async () => {
  const source = new FakeSource()
  source.set({ current: newKey() })
  const [a, b] = await Promise.all([serve(), serve()])
  attachTicketKeys(a, source, { random })
  attachTicketKeys(b, source, { random, singleKey: true })
  for (const version of VERSIONS) {
    assert.ok(await isResumed(b, version, (await shake(a, version)).session))
    assert.ok(await isResumed(a, version, (await shake(b, version)).session))
  }
})

test('a server without tickets is refused', async () => {
  const server = await serve({ secureOptions: constants.SSL_OP_NO_TICKET })
  assert.throws(() => attachTicketKeys(server, new FakeSource()), { code: 'ERR_SERVER' })
})
