// What HTTP and the metrics tell of ticket keys: names, ages and uses, and never a secret.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { parseHostAddress } from '../../src/base/address.ts'
import { type CacheNode, createNode } from '../../src/node/node.ts'
import { openedKeys } from '../../src/tickets/rule.ts'
import { ask } from '../support/http.ts'

let node: CacheNode
before(async () => {
  node = createNode({
    frontends: { http: '127.0.0.1:0' },
    tickets: {
      groups: [{ name: 'www' }, { name: 'api' }],
      // Nobody may write there: the target fails, and says why.
      targets: [{ kind: 'envoy', group: 'www', file: '/proc/tlscached/sds.yaml' }],
    },
  })
  await node.start()
  await node.ticketsGiven()
  node.rotateTickets('www', { isImmediate: false, isRevoking: false })
})
after(() => node.stop())

async function get(path: string): Promise<{ status: number; text: string }> {
  const http = node.listening().find(({ name }) => name === 'http')
  const { status, body } = await ask(parseHostAddress(http?.address ?? ''), { path })
  return { status, text: body.toString() }
}

test('a group has its keys by use, and its targets with what is wrong', async () => {
  const { status, text } = await get('/v1/tickets/www')
  assert.equal(status, 200)
  const group = JSON.parse(text)
  assert.deepEqual(
    group.keys.map(({ state, origin }: Record<string, unknown>) => [state, origin]),
    [
      ['next', 'self'],
      ['current', 'self'],
    ],
  )
  assert.ok(group.next_key_ms > 3_500_000 && group.next_current_ms > 3_500_000)
  const [target] = group.targets
  assert.deepEqual([target.name, target.kind, target.current], ['www-envoy', 'envoy', null])
  assert.equal(target.last_success_ms, null)
  assert.match(target.problem.message, /\/proc\/tlscached/)
  assert.equal((await get('/v1/tickets/nobody')).status, 404)
  const all = JSON.parse((await get('/v1/tickets')).text)
  assert.deepEqual(
    all.groups.map(({ name }: { name: string }) => name),
    ['www', 'api'],
  )
})

test('the metrics have ages, counts and failures by group and target', async () => {
  const { text } = await get('/metrics')
  for (const line of [
    'tlscached_ticket_keys{group="www"} 2',
    'tlscached_ticket_generation_total{group="www",origin="self"} 2',
    'tlscached_ticket_refused_total{group="api",reason="over_age"} 0',
    'tlscached_ticket_target_failures_total{target="www-envoy",reason="refused"} 0',
  ]) {
    assert.ok(text.includes(`${line}\n`), line)
  }
  assert.match(text, /^tlscached_ticket_key_age_seconds\{group="www",state="current"\} \d/m)
  assert.match(text, /^tlscached_ticket_next_rotation_seconds\{group="api"\} 3\d\d\d/m)
  const failures = [...text.matchAll(/ticket_target_failures_total\{.*\} (\d+)/g)].map(Number)
  assert.ok(failures.length > 0)
})

test('nothing of it holds a secret, raw, in hexadecimal digits or base64', async () => {
  const told = await Promise.all(
    ['/v1/tickets', '/v1/tickets/www', '/v1/caches', '/v1/peers', '/metrics'].map(get),
  )
  const all = told.map(({ text }) => text).join('\n')
  const keys = openedKeys(node.ticketKeys('www').view())
  assert.ok(keys.length === 2)
  for (const { key } of keys) {
    assert.ok(all.includes(key.hexName))
    for (const part of [key.secret, key.aes(16), key.hmac(16)]) {
      assert.ok(!all.includes(part.toString('hex')))
      assert.ok(!all.includes(part.toString('base64').replace(/=+$/, '').slice(0, -1)))
    }
  }
})
