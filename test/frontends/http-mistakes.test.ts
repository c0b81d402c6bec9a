// Wrong input to the HTTP frontend: each gets its own error, and nothing that is stored is lost by any.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { codeIn, LIMITS, PATH, SESSION, setUp } from '../support/http-app.ts'

interface Wrong {
  readonly name: string
  readonly method: 'GET' | 'PUT' | 'DELETE' | 'POST'
  readonly url: string
  readonly payload?: Buffer
  readonly status: number
  readonly code: string
}

const session = (id: string, query = '') => `/v1/caches/ssl/sessions/${id}${query}`
const longId = 'ab'.repeat(33)

const wrongs: readonly Wrong[] = [
  { name: 'an ID too long', method: 'PUT', url: session(longId), status: 400, code: 'ERR_KEYSIZE' },
  {
    name: 'an ID far too long',
    method: 'PUT',
    url: session('ab'.repeat(4000)),
    status: 400,
    code: 'ERR_KEYSIZE',
  },
  {
    name: 'an ID too long to be there',
    method: 'GET',
    url: session(longId),
    status: 404,
    code: 'ERR_MISS',
  },
  {
    name: 'an ID that is no hex',
    method: 'GET',
    url: session('a1b2g0'),
    status: 400,
    code: 'ERR_HEX',
  },
  { name: 'an odd ID', method: 'PUT', url: session('a1b'), status: 400, code: 'ERR_HEX' },
  {
    name: 'an odd ID to remove',
    method: 'DELETE',
    url: session('a1b'),
    status: 400,
    code: 'ERR_HEX',
  },
  {
    name: 'a session of one byte too much',
    method: 'PUT',
    url: session('a1'),
    payload: Buffer.alloc(1025),
    status: 413,
    code: 'ERR_BLOCKSIZE',
  },
  {
    name: 'a body of a megabyte',
    method: 'PUT',
    url: session('a1'),
    payload: Buffer.alloc(1_000_000),
    status: 413,
    code: 'ERR_BLOCKSIZE',
  },
  {
    name: 'no body',
    method: 'PUT',
    url: session('a1'),
    payload: Buffer.alloc(0),
    status: 400,
    code: 'ERR_BODY',
  },
  {
    name: 'a put over a session of another context',
    method: 'PUT',
    url: session('a1b2', '?context=mail'),
    status: 403,
    code: 'ERR_CONTEXT',
  },
  {
    name: 'a context of 33 bytes',
    method: 'PUT',
    url: session('a1', `?context=${'x'.repeat(33)}`),
    status: 400,
    code: 'ERR_CONTEXT',
  },
  {
    name: 'a context that is no hex',
    method: 'GET',
    url: session('a1', '?context_hex=0'),
    status: 400,
    code: 'ERR_HEX',
  },
  {
    name: 'two contexts',
    method: 'GET',
    url: session('a1', '?context=a&context_hex=00'),
    status: 400,
    code: 'ERR_USAGE',
  },
  {
    name: 'a parameter twice',
    method: 'GET',
    url: session('a1', '?context=a&context=b'),
    status: 400,
    code: 'ERR_USAGE',
  },
  {
    name: 'an unknown parameter',
    method: 'GET',
    url: session('a1', '?contxt=a'),
    status: 400,
    code: 'ERR_USAGE',
  },
  {
    name: 'a lifetime on a get',
    method: 'GET',
    url: session('a1', '?ttl=1'),
    status: 400,
    code: 'ERR_USAGE',
  },
  {
    name: 'a lifetime of 0',
    method: 'PUT',
    url: session('a1', '?ttl=0'),
    status: 400,
    code: 'ERR_TTL',
  },
  {
    name: 'a lifetime below 0',
    method: 'PUT',
    url: session('a1', '?ttl=-1'),
    status: 400,
    code: 'ERR_TTL',
  },
  {
    name: 'a lifetime with a unit',
    method: 'PUT',
    url: session('a1', '?ttl=5m'),
    status: 400,
    code: 'ERR_TTL',
  },
  {
    name: 'an empty lifetime',
    method: 'PUT',
    url: session('a1', '?ttl='),
    status: 400,
    code: 'ERR_TTL',
  },
  {
    name: 'an unknown cache',
    method: 'GET',
    url: '/v1/caches/other/sessions/a1',
    status: 404,
    code: 'ERR_CACHE',
  },
  {
    name: 'a put into an unknown cache',
    method: 'PUT',
    url: '/v1/caches/other/sessions/a1',
    status: 404,
    code: 'ERR_CACHE',
  },
  {
    name: 'an unknown cache to describe',
    method: 'GET',
    url: '/v1/caches/other',
    status: 404,
    code: 'ERR_CACHE',
  },
  { name: 'an unknown path', method: 'GET', url: '/v2', status: 404, code: 'ERR_NOT_FOUND' },
  {
    name: 'a path with a broken escape',
    method: 'GET',
    url: session('%zz'),
    status: 400,
    code: 'ERR_USAGE',
  },
  {
    name: 'a method that is none here',
    method: 'POST',
    url: session('a1'),
    status: 405,
    code: 'ERR_USAGE',
  },
  {
    name: 'a method that is none for metrics',
    method: 'DELETE',
    url: '/metrics',
    status: 405,
    code: 'ERR_USAGE',
  },
  {
    name: 'an unknown parameter of a status',
    method: 'GET',
    url: '/healthz?verbose=1',
    status: 400,
    code: 'ERR_USAGE',
  },
]

describe('wrong input', () => {
  for (const { name, method, url, payload = SESSION, status, code } of wrongs) {
    test(`${name}: ${status} ${code}, and nothing is lost`, async () => {
      const { send, store } = setUp()
      await send('PUT', `${PATH}?context=shop`, SESSION)
      const answer = await send(method, url, method === 'PUT' ? payload : undefined)
      assert.deepEqual([answer.status, codeIn(answer.json)], [status, code])
      assert.equal(store?.stats.items, 1)
      assert.deepEqual((await send('GET', `${PATH}?context=shop`)).body, SESSION)
    })
  }

  test('a cache that is full and refuses says so, and keeps what it has', async () => {
    const { send, store } = setUp([{ ...LIMITS, items: 1, full: 'refuse' }])
    await send('PUT', PATH, SESSION)
    const answer = await send('PUT', session('ff'), SESSION)
    assert.deepEqual([answer.status, codeIn(answer.json)], [507, 'ERR_FULL'])
    assert.deepEqual((await send('GET', PATH)).body, SESSION)
    assert.equal(store?.stats.puts.full, 1)
  })

  test('a body above the limit is counted like a session that is too big', async () => {
    const { send, store } = setUp()
    await send('PUT', PATH, Buffer.alloc(1025))
    await send('PUT', PATH, Buffer.alloc(100_000))
    assert.equal(store?.stats.puts.blocksize, 2)
  })

  test('each cache has its own blocksize, below that of the largest', async () => {
    const { send } = setUp([LIMITS, { ...LIMITS, name: 'large', blocksize: 8192 }])
    const body = Buffer.alloc(2000, 1)
    assert.equal((await send('PUT', PATH, body)).status, 413)
    assert.equal((await send('PUT', '/v1/caches/large/sessions/a1', body)).status, 201)
  })

  test('a context that the cache does not list is refused', async () => {
    const { send } = setUp([{ ...LIMITS, contexts: [Buffer.from('shop')] }])
    assert.equal((await send('PUT', `${PATH}?context=shop`, SESSION)).status, 201)
    const answer = await send('PUT', session('ff', '?context=mail'), SESSION)
    assert.deepEqual([answer.status, codeIn(answer.json)], [403, 'ERR_CONTEXT'])
  })

  test('a bug is answered without its text', async () => {
    const { backend, send } = setUp()
    backend.metrics = () => {
      throw new Error('secret')
    }
    const answer = await send('GET', '/metrics')
    assert.deepEqual(answer.json, { code: 'ERR_INTERNAL', message: 'internal error' })
    assert.equal(answer.status, 500)
  })
})
