// What a repeater logs of its subscribers.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RecordingLogger } from '../support/recording-logger.ts'
import { RepeatedCluster } from '../support/repeated-cluster.ts'

test('a subscriber is logged as `peer`, because each line already has the name of the repeater as `node`', async () => {
  const cluster = new RepeatedCluster()
  const logger = new RecordingLogger()
  const { repeater } = await cluster.repeater(1, { logger })
  const members = await cluster.startBehind(1, 1)
  await cluster.stop(members)
  cluster.clock.advance(0)
  assert.deepEqual(logger.lines, [
    {
      level: 'info',
      fields: { peer: 'node-1', address: '10.0.0.1:7171' },
      message: 'repeater: node subscribed',
    },
    {
      level: 'info',
      fields: { peer: 'node-1', reason: 'left' },
      message: 'repeater: node is gone',
    },
  ])
  await repeater.stop()
})
