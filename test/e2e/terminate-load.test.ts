// The load run in short: two processes, few clients, the node killed once. `npm run test:load` is the whole.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judge, runLoad } from '../load/terminator-load.ts'

const SHORT = { seconds: 2, processes: 2, clients: 8, pauseMs: 20, deadlineMs: 5000 }

test('sessions resume under load, in every process', async () => {
  const result = await runLoad({ ...SHORT, restarts: 0 })
  for (const { version, failed, resumedShare, isReached } of judge(result)) {
    assert.ok(isReached, `TLS ${version}: ${failed} failed, ${resumedShare} resumed`)
  }
  for (const process of ['1', '2']) {
    const ofIt = [...result.metrics].filter(([name]) => name.includes(`process="${process}"`))
    assert.ok(ofIt.some(([name, count]) => name.includes('resumed="yes"') && count > 0))
  }
})

test('no handshake fails while the node is away and comes back', async () => {
  const { tallies, awayMs } = await runLoad({ ...SHORT, restarts: 1 })
  assert.equal(awayMs.length, 1)
  for (const { handshakes, failures, offered, resumed } of tallies.values()) {
    assert.ok(handshakes > 0)
    assert.ok(offered > 0 && resumed === offered, `${resumed} of ${offered} resumed`)
    assert.deepEqual([...failures], [])
  }
})
