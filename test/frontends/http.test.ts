// The HTTP frontend: every route and result as an operator and a script meet them.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { clock, codeIn, LIMITS, PATH, SESSION, setUp } from '../support/http-app.ts'

describe('sessions', () => {
  test('put, get and remove: octets in and out, and the lifetime that is left', async () => {
    const { send } = setUp()
    assert.deepEqual((await send('PUT', `${PATH}?context=shop&ttl=60`, SESSION)).status, 201)
    clock.advance(500)
    const found = await send('GET', `${PATH}?context=shop`)
    assert.equal(found.status, 200)
    assert.deepEqual(found.body, SESSION)
    assert.equal(found.headers['x-session-ttl'], '60')
    assert.equal(found.headers['content-type'], 'application/octet-stream')
    assert.equal(found.headers['cache-control'], 'no-store')
    assert.equal((await send('DELETE', `${PATH}?context=shop`)).status, 204)
    const gone = await send('DELETE', `${PATH}?context=shop`)
    assert.deepEqual([gone.status, codeIn(gone.json)], [404, 'ERR_MISS'])
  })

  test('a second put under the same ID replaces the first', async () => {
    const { send } = setUp()
    await send('PUT', PATH, SESSION)
    const { status, json } = await send('PUT', PATH, Buffer.from('new'))
    assert.deepEqual([status, json], [201, { result: 'replaced' }])
    assert.equal((await send('GET', PATH)).body.toString(), 'new')
  })

  test('the context as text and in hex is the same, and another one is a miss that is counted', async () => {
    const { send, store } = setUp()
    await send('PUT', `${PATH}?context=shop`, SESSION)
    const hex = Buffer.from('shop').toString('hex')
    assert.equal((await send('GET', `${PATH}?context_hex=${hex}`)).status, 200)
    for (const other of ['', '?context=mail', '?context_hex=00']) {
      const { status, json } = await send('GET', `${PATH}${other}`)
      assert.deepEqual([status, codeIn(json)], [404, 'ERR_MISS'])
    }
    assert.equal(store?.stats.gets.context_mismatch, 3)
  })

  test('a session is only found under the server name it was made under', async () => {
    const { send } = setUp()
    await send('PUT', `${PATH}?server_name=a.example`, SESSION)
    assert.equal((await send('GET', `${PATH}?server_name=a.example`)).status, 200)
    assert.equal((await send('GET', `${PATH}?server_name=b.example`)).status, 404)
    assert.equal((await send('GET', PATH)).status, 200)
  })

  test('the lifetime asked for ends, whatever the limit of the cache', async () => {
    const { send } = setUp()
    await send('PUT', `${PATH}?ttl=0.5`, SESSION)
    clock.advance(499)
    assert.equal((await send('GET', PATH)).headers['x-session-ttl'], '1')
    clock.advance(1)
    assert.equal((await send('GET', PATH)).status, 404)
  })
})

describe('beyond loopback', () => {
  test('sessions are refused, everything else is answered', async () => {
    const { send, store } = setUp([LIMITS], '0.0.0.0')
    for (const method of ['GET', 'PUT', 'DELETE'] as const) {
      const answer = await send(method, PATH, method === 'PUT' ? SESSION : undefined)
      assert.deepEqual([answer.status, codeIn(answer.json)], [403, 'ERR_INSECURE'])
    }
    assert.equal(store?.stats.items, 0)
    for (const url of ['/healthz', '/readyz', '/metrics', '/v1/caches', '/v1/peers']) {
      assert.equal((await send('GET', url)).status, 200)
    }
  })

  test('sessions pass when the operator wants that', async () => {
    const { send } = setUp([LIMITS], '0.0.0.0', true)
    assert.equal((await send('PUT', PATH, SESSION)).status, 201)
  })
})

describe('what an operator asks', () => {
  test('health and readiness, with the reason', async () => {
    const { backend, send } = setUp()
    assert.deepEqual((await send('GET', '/healthz')).json, { status: 'ok', node: 'a' })
    assert.deepEqual((await send('GET', '/readyz')).json, { ready: true, reason: 'replicating' })
    backend.ready = { isReady: false, isStrictlyReady: false, reason: 'looking for peers' }
    const { status, json } = await send('GET', '/readyz')
    assert.deepEqual([status, json], [503, { ready: false, reason: 'looking for peers' }])
  })

  test('a node that serves alone is ready, but not strictly', async () => {
    const { backend, send } = setUp()
    const reason = 'serves alone: b has been silent for 453 s'
    backend.ready = { isReady: true, isStrictlyReady: false, reason }
    const plain = await send('GET', '/readyz')
    assert.deepEqual([plain.status, plain.json], [200, { ready: true, reason }])
    for (const path of ['/readyz?strict', '/readyz?strict=']) {
      const { status, json } = await send('GET', path)
      assert.deepEqual([status, json], [503, { ready: false, reason }])
    }
    for (const path of ['/readyz?strict=no', '/readyz?strict&strict', '/healthz?strict']) {
      assert.equal((await send('GET', path)).status, 400, path)
    }
  })

  test('caches, one by one and all together', async () => {
    const { send } = setUp([{ ...LIMITS, contexts: [Buffer.from([255])] }])
    await send('PUT', `${PATH}?context_hex=ff`, SESSION)
    const one = (await send('GET', '/v1/caches/ssl')).json
    assert.deepEqual((await send('GET', '/v1/caches')).json, {
      node: 'a',
      ready: true,
      reason: 'replicating',
      caches: [one],
    })
    const { name, items, items_limit, contexts_hex, stored_bytes, puts } = one as Record<
      string,
      unknown
    >
    assert.deepEqual(
      { name, items, items_limit, contexts_hex, stored_bytes },
      { name: 'ssl', items: 1, items_limit: 3, contexts_hex: ['ff'], stored_bytes: 4 },
    )
    assert.equal((puts as Record<string, number>)['stored'], 1)
  })

  test('peers, and what replication counted', async () => {
    const { backend, send } = setUp()
    const { json } = await send('GET', '/v1/peers')
    const { peers, replication, sync } = json as Record<string, unknown>
    assert.deepEqual(peers, [
      {
        role: 'node',
        name: 'b',
        address: '127.0.0.1:7171',
        boot: '00',
        up: true,
        verified: true,
        last_seen_ms: 12,
        lag_ms: null,
        clock_difference_ms: 2,
        lost: 0,
        repaired: 0,
        entries_sent: 1,
        entries_received: 2,
        sync: { state: 'synced', last_synced_ms: 1500 },
      },
    ])
    assert.equal((replication as Record<string, unknown>)['datagrams_sent'], 0)
    assert.deepEqual(sync, { state: 'synced', peer: 'b', last_synced_ms: 12 })
    backend.stats = undefined
    assert.equal(
      ((await send('GET', '/v1/peers')).json as Record<string, unknown>)['replication'],
      null,
    )
  })

  test('metrics as Prometheus expects them', async () => {
    const { headers, body } = await setUp().send('GET', '/metrics')
    assert.equal(headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8')
    assert.equal(body.toString(), 'x 1\n')
  })
})

test('a trace is for loopback alone, and its mistakes are named', async () => {
  const { send } = setUp()
  const found = await send('GET', '/v1/trace/a1b2c3d4?follow=60')
  assert.equal(found.status, 200)
  const mistakes: Record<string, readonly [number, string]> = {
    '/v1/trace/a1b2c3d4?follow=61': [400, 'ERR_USAGE'],
    '/v1/trace/a1b2c3d4?follow=1.5': [400, 'ERR_USAGE'],
    '/v1/trace/a1b2c3d4?for=1': [400, 'ERR_USAGE'],
    '/v1/trace/a1b': [400, 'ERR_HEX'],
    [`/v1/trace/${'ab'.repeat(256)}`]: [400, 'ERR_KEYSIZE'],
  }
  for (const [path, expected] of Object.entries(mistakes)) {
    const { status, json } = await send('GET', path)
    assert.deepEqual([status, codeIn(json)], expected, path)
  }
  assert.equal((await send('DELETE', '/v1/trace/a1b2c3d4')).status, 405)
  const exposed = setUp([LIMITS], '0.0.0.0')
  const { status, json } = await exposed.send('GET', '/v1/trace/a1b2c3d4')
  assert.deepEqual([status, codeIn(json)], [403, 'ERR_INSECURE'])
})
