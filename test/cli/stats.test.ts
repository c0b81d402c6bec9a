// What `tlscached stats` shows: a row for each cache, and below it why puts were refused.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type CachesAnswer, formatCaches } from '../../src/cli/stats.ts'
import { describeCache } from '../../src/status/documents.ts'
import { createCacheFixture } from '../support/cache-fixture.ts'

const CONTEXT = Buffer.alloc(0)

function setUp() {
  const { hooks, store } = createCacheFixture({ blocksize: 100, full: 'refuse', items: 1 })
  const { limits, stats } = store
  const show = () => {
    const cache = describeCache({ limits, stats, singleUse: false })
    const answer = JSON.parse(JSON.stringify({ node: 'a', caches: [cache] })) as CachesAnswer
    return formatCaches(answer)
      .split('\n')
      .map((line) =>
        line
          .replaceAll(/[^\w ]/g, ' ')
          .trim()
          .split(/ +/)
          .join(' '),
      )
  }
  const put = (id: string, bytes: number) =>
    hooks.put({ context: CONTEXT, id: Buffer.from(id), session: Buffer.alloc(bytes, 1) })
  return { store, show, put }
}

test('without a refusal there is one table', () => {
  const { show, put } = setUp()
  put('a', 50)
  assert.equal(
    show().some((line) => line.includes('reason')),
    false,
  )
})

test('refused puts are shown by reason, those of peers apart', () => {
  const { store, show, put } = setUp()
  put('a', 50)
  put('b', 50)
  put('a', 101)
  put('a', 102)
  const id = Buffer.from('c')
  const session = Buffer.alloc(4096, 1)
  const entry = { id, context: CONTEXT, serverName: '', session, ttlMs: 1000 }
  const version = { clock: 1, origin: 2 }
  assert.equal(store.apply({ kind: 'put', cache: 'ssl', ...entry, version }), 'refused')
  const lines = show()
  const from = lines.indexOf('cache refused from reason puts')
  assert.deepEqual(
    lines.slice(from + 1).filter((line) => line !== ''),
    ['ssl callers blocksize 2', 'ssl callers full 1', 'ssl peers blocksize 1'],
  )
})
