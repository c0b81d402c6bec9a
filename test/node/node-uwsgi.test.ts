// The listeners in uWSGI's own datagrams, as parts of a node.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createNode } from '../../src/node/node.ts'
import { until } from '../support/latch.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

/** There is no way to it from loopback. */
const REFUSED = '192.0.2.1:7171'

test('what the network refuses is counted, and the cache has it all the same', async (t) => {
  const listener = {
    wire: 'uwsgi' as const,
    listen: '127.0.0.1:0',
    peers: [REFUSED],
    insecure: true,
  }
  const replication = { listeners: [listener] }
  const node = createNode(
    { caches: [{ name: 'ssl' }], frontends: { http: '127.0.0.1:0' }, replication },
    { logger: new RecordingLogger() },
  )
  t.after(() => node.stop())
  await node.start()
  const hooks = node.hooks('ssl')
  const [context, id] = [Buffer.from('shop'), Buffer.from('id')]
  assert.equal(hooks.put({ context, id, session: Buffer.from('session') }), 'stored')
  const http = node.listening().find(({ name }) => name === 'http')
  let metrics = ''
  await until('the error is counted', async () => {
    metrics = await (await fetch(`http://${http?.address}/metrics`)).text()
    return metrics.includes('tlscached_uwsgi_send_errors_total{cache="ssl"} 1\n')
  })
  assert.match(metrics, /^tlscached_uwsgi_datagrams_total\{cache="ssl",direction="sent"\} 1$/m)
  assert.notEqual(hooks.get(context, id), undefined)
})
