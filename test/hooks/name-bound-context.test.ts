// Sessions of Node.js releases that bind a session's context to the server name (since November 2026): they are stored
// and found under the operator's context, like those of every other release.

import assert from 'node:assert/strict'
import { constants } from 'node:crypto'
import { test } from 'node:test'
import { createServer } from 'node:tls'
import fc from 'fast-check'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { attachSessionCache } from '../../src/hooks/node-tls.ts'
import { isContextOf, nameBoundContext } from '../../src/session/encoded-session.ts'
import { createCacheFixture } from '../support/cache-fixture.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { encodeSession } from '../support/session-encoder.ts'

const SHOP = Buffer.from('shop.example')
const BANK = Buffer.from('bank.example')
const NAME = 'a.example'
const ID = Buffer.alloc(32, 7)
const boundSession = (context: Buffer, serverName: string) =>
  encodeSession({ id: ID, context: nameBoundContext(context, serverName), serverName })

test('the context is the one that Node.js 22.23.5 and 24.22.3 write', () => {
  // Read out of sessions of those releases (PEERS.md 6.7).
  const written = (name: string) => nameBoundContext(SHOP, name).toString('hex').slice(0, 8)
  assert.equal(written('localhost'), 'd861e457')
  assert.equal(written('a.example'), 'd6ad834e')
})

test('a context belongs to itself and to its name, and to no other', () => {
  const bytes = fc.uint8Array({ maxLength: 32 })
  const name = fc.string({ unit: 'binary-ascii', maxLength: 40 })
  fc.assert(
    fc.property(bytes, bytes, name, name, (context, other, serverName, otherName) => {
      const written = nameBoundContext(context, serverName)
      assert.ok(isContextOf(context, context, serverName))
      assert.ok(isContextOf(written, context, serverName))
      const isSame = Buffer.compare(context, other) === 0
      assert.equal(isContextOf(written, other, serverName), isSame)
      assert.equal(isContextOf(written, context, otherName), serverName === otherName)
    }),
  )
})

test('a put under the operator context stores that context, and only its name gets it back', () => {
  const { hooks, store } = createCacheFixture()
  const session = boundSession(SHOP, NAME)
  assert.equal(hooks.put({ context: SHOP, id: ID, session, serverName: NAME }), 'stored')
  assert.deepEqual(store.contextless.peek(ID)?.context, SHOP)
  assert.deepEqual(hooks.get(SHOP, ID, NAME)?.session, session)
  assert.equal(hooks.get(SHOP, ID, 'b.example'), undefined)
  assert.equal(hooks.get(BANK, ID, NAME), undefined)
  assert.equal(store.stats.gets.context_mismatch, 2)
})

test('a session bound to another context or name is refused', () => {
  const { hooks, store } = createCacheFixture()
  assert.equal(
    hooks.put({ context: BANK, id: ID, session: boundSession(SHOP, NAME), serverName: NAME }),
    'context',
  )
  const hash = nameBoundContext(SHOP, 'b.example')
  const wrongName = encodeSession({ id: ID, context: hash, serverName: NAME })
  assert.equal(
    hooks.put({ context: SHOP, id: ID, session: wrongName, serverName: NAME }),
    'context',
  )
  assert.equal(store.stats.items, 0)
})

test('a list of contexts means the text of the operator where a protocol has no context', () => {
  const { hooks, store } = createCacheFixture({ contexts: [BANK, SHOP] })
  assert.equal(hooks.putOwn(ID, boundSession(SHOP, NAME)), 'stored')
  assert.deepEqual(store.contextless.peek(ID)?.context, SHOP)
  const other = encodeSession({ id: ID, context: nameBoundContext(Buffer.from('x'), NAME) })
  assert.equal(hooks.putOwn(ID, other), 'context')
})

test('a session of a release that writes contexts the other way is a miss, and no failure', () => {
  const server = createServer({
    ...DEMO_CERTIFICATE,
    secureOptions: constants.SSL_OP_NO_TICKET,
    sessionIdContext: SHOP.toString(),
  })
  const plain = encodeSession({ id: ID, context: SHOP })
  const bound = encodeSession({ id: ID, context: nameBoundContext(SHOP, '') })
  let held = bound
  const binding = attachSessionCache(
    server,
    { get: () => ({ session: held, ttlMs: 1000 }), put: () => 'stored', remove: () => false },
    {
      context: SHOP,
      // These events are emitted here: there is no connection, and so no ClientHello.
      readsClientHello: false,
      clock: new FakeClock(),
      logger: new RecordingLogger(),
    },
  )
  const ask = () => {
    let answer: unknown
    server.emit('resumeSession', ID, (_: unknown, session: unknown) => {
      answer = session
    })
    return answer
  }
  // Before its first own session a server does not know how its release writes, and OpenSSL decides.
  assert.equal(ask(), bound)
  server.emit('newSession', ID, plain, () => {})
  assert.equal(ask(), null)
  held = plain
  assert.equal(ask(), plain)
  const { otherRelease, failed, found } = binding.stats
  assert.deepEqual({ otherRelease, failed, found }, { otherRelease: 1, failed: 0, found: 2 })
})
