// Frontends of a node as the configuration asks for them: one session, seen through every door.

import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseHostAddress } from '../../src/base/address.ts'
import { systemClock } from '../../src/base/world.ts'
import { connectHooks } from '../../src/hooks/remote-hooks.ts'
import { createNode } from '../../src/node/node.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { encodeSession } from '../support/session-encoder.ts'

const ID = Buffer.alloc(32, 0xab)
const CONTEXT = Buffer.from('shop')
const DEADLINE_MS = 10_000

test('a session put over memcached is found over sessiond, over rpc and in process, and counted', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-frontends-'))
  const socketFile = join(folder, 'memcached.sock')
  const frontends = {
    http: '127.0.0.1:0',
    memcached: `unix:${socketFile}`,
    sessiond: '127.0.0.1:0',
    rpc: '127.0.0.1:0',
    cache: 'tls',
  }
  const caches = [{ name: 'other' }, { name: 'tls' }]
  const node = createNode({ caches, frontends }, { logger: new RecordingLogger() })
  t.after(async () => {
    await node.stop()
    rmSync(folder, { recursive: true })
  })
  await node.start()
  const names = node.listening().map(({ name }) => name)
  assert.deepEqual(names, ['memcached', 'sessiond', 'rpc', 'http'])

  const timeSec = Math.floor(systemClock.wallMs() / 1000)
  const session = encodeSession({ id: ID, context: CONTEXT, timeSec, timeoutSec: 300 })
  const client = connect({ path: socketFile })
  client.write(`set mod_ssl-sess:${ID.toString('hex')} 0 299 ${session.length} \r\n`)
  client.write(Buffer.concat([session, Buffer.from('\r\n')]))
  const [stored]: Buffer[] = await once(client, 'data')
  assert.equal(stored?.toString(), 'STORED\r\n')
  client.destroy()

  assert.deepEqual(node.hooks('tls').get(CONTEXT, ID)?.session, session)
  assert.equal(node.hooks('other').get(CONTEXT, ID), undefined)

  const sessiond = node.listening().find(({ name }) => name === 'sessiond')
  const { host, port } = parseHostAddress(sessiond?.address ?? '')
  const stunnel = createSocket('udp4')
  stunnel.send(Buffer.concat([Buffer.from([1, 1, 0, 0]), ID]), port, host)
  const [answer]: Buffer[] = await once(stunnel, 'message')
  stunnel.close()
  assert.deepEqual(answer?.subarray(36), session)

  const rpc = node.listening().find(({ name }) => name === 'rpc')
  for (const [cache, expected] of [
    ['tls', session],
    ['other', undefined],
  ] as const) {
    const hooks = connectHooks(rpc?.address ?? '', { cache, deadlineMs: DEADLINE_MS })
    assert.deepEqual((await hooks.get(CONTEXT, ID))?.session, expected)
    await hooks.close()
  }

  const { text } = await node.metrics()
  assert.match(text, /^tlscached_frontend_events_total\{frontend="memcached",event="puts"\} 1$/m)
  assert.match(text, /^tlscached_frontend_events_total\{frontend="sessiond",event="hits"\} 1$/m)
  assert.match(text, /^tlscached_frontend_events_total\{frontend="rpc",event="gets"\} 2$/m)
  assert.match(text, /^tlscached_frontend_events_total\{frontend="rpc",event="get_hits"\} 1$/m)
  for (const name of ['memcached', 'rpc']) {
    assert.match(
      text,
      new RegExp(`^tlscached_frontend_connections\\{frontend="${name}"\\} \\d$`, 'm'),
    )
  }
})
