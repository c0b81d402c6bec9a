// The layouts of every terminator: frozen bytes, and the order of their parts written down a second time.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { parse } from 'yaml'
import {
  joinedKeys,
  keyBytes,
  lighttpdStek,
  nghttpxValue,
  nginxKey,
} from '../../src/tickets/layouts/binary.ts'
import { caddyStek } from '../../src/tickets/layouts/caddy-stek.ts'
import {
  keysToPush,
  parseShownKeys,
  pushCommand,
} from '../../src/tickets/layouts/haproxy-socket.ts'
import {
  base64Lines,
  envoySecret,
  h2oFile,
  haproxyFile,
  haproxyKeys,
  jsonKeys,
  nghttpxKeys,
  nginxInclude,
  stunnelOptions,
} from '../../src/tickets/layouts/key-files.ts'
import { ciliumSecret, genericSecret } from '../../src/tickets/layouts/kubernetes.ts'
import { secretText } from '../../src/tickets/layouts/secret-text.ts'
import { type AgedKey, openedKeys, viewOf } from '../../src/tickets/rule.ts'
import { TicketKey } from '../../src/tickets/ticket-key.ts'
import { ringTimes } from '../../src/tickets/times.ts'

const HOUR_MS = 3_600_000
const times = ringTimes(
  { name: 'www', rotateMs: HOUR_MS, lifetimeMs: HOUR_MS, waitMs: HOUR_MS },
  [],
)

/** A key whose bytes count up from `first`: name, then AES key, then HMAC key. */
function countingKey(first: number): TicketKey {
  const bytes = Buffer.from(Array.from({ length: 112 }, (_, index) => (first + index) % 256))
  return TicketKey.from(bytes.subarray(0, 16), bytes.subarray(16), 'self')
}

const nowMs = 10 * HOUR_MS
const previous: AgedKey = { key: countingKey(0), bornMs: nowMs - 2.5 * HOUR_MS, knownMs: 0 }
const current: AgedKey = { key: countingKey(50), bornMs: nowMs - 1.5 * HOUR_MS, knownMs: 0 }
const next: AgedKey = { key: countingKey(100), bornMs: nowMs - 0.5 * HOUR_MS, knownMs: 0 }
const view = viewOf([next, previous, current], nowMs, times)
const opened = openedKeys(view).map(({ key }) => key)
const now = { monotonicMs: nowMs, wallMs: 1_800_000_000_000 }
const place = { namespace: 'edge', name: 'tickets' }
const rotations = { lastRotationMs: 1_800_000_000_000, nextRotationMs: 1_800_000_060_500 }

const frozen: Record<string, string> = JSON.parse(
  readFileSync(new URL('../vectors/ticket-layouts.json', import.meta.url), 'utf8'),
).layouts

const BUILT: Record<string, () => Buffer> = {
  'nginx key, 48 bytes': () => nginxKey(current.key, 48),
  'nginx key, 80 bytes': () => nginxKey(current.key, 80),
  'nginx include file': () => nginxInclude('/run/tickets/www', opened),
  'haproxy file, 48 bytes': () => haproxyFile(view, times, 48),
  'haproxy file, 80 bytes': () => haproxyFile(view, times, 80),
  'apache and Node.js': () => keyBytes(current.key, 'hmac_aes', 48),
  lighttpd: () => lighttpdStek(next.key, 1_800_001_800, 1_800_009_728),
  caddy: () => caddyStek(opened, rotations),
  'nghttpx memcached value, 80 bytes': () => nghttpxValue(opened, 80),
  'nghttpx memcached value, 48 bytes': () => nghttpxValue(opened, 48),
  'nghttpx file': () => keyBytes(current.key, 'aes_hmac', 80),
  h2o: () => h2oFile(view, times, now),
  stunnel: () => stunnelOptions(current.key),
  envoy: () => envoySecret('www', opened),
  raw: () => joinedKeys(opened, 'hmac_aes', 48),
  base64: () => base64Lines(opened, 'hmac_aes', 80),
  json: () => jsonKeys('www', view),
  'cilium secret': () => ciliumSecret(place, view),
  'generic secret': () => genericSecret(place, 'www', view),
}

for (const [name, build] of Object.entries(BUILT)) {
  test(`frozen: ${name}`, () => assert.equal(build().toString('hex'), frozen[name]))
}

const { key } = current
const AES16 = key.aes(16)
const HMAC16 = key.hmac(16)
const AES32 = key.aes(32)
const HMAC32 = key.hmac(32)

test('keys in binary have the order of TLS libraries', () => {
  assert.deepEqual(nginxKey(key, 48), Buffer.concat([key.name, AES16, HMAC16]))
  assert.deepEqual(nginxKey(key, 80), Buffer.concat([key.name, HMAC32, AES32]))
  assert.deepEqual(keyBytes(key, 'hmac_aes', 48), Buffer.concat([key.name, HMAC16, AES16]))
  assert.deepEqual(keyBytes(key, 'aes_hmac', 80), Buffer.concat([key.name, AES32, HMAC32]))
})

test('nginx mints with the first line, and a path may have any character', () => {
  const [first = '', second = '', third = ''] = nginxInclude('/a "b\\', opened)
    .toString()
    .split('\n')
  assert.equal(first, `ssl_session_ticket_key "/a \\"b\\\\/${key.hexName}.key";`)
  assert.ok(second.includes(next.key.hexName) && third.includes(previous.key.hexName))
})

test('HAProxy mints with the last but one of three keys of one size', () => {
  const expected = [previous, current, next].map((one) =>
    Buffer.concat([one.key.name, one.key.aes(32), one.key.hmac(32)]).toString('base64'),
  )
  assert.equal(haproxyFile(view, times, 80).toString(), `${expected.join('\n')}\n`)
  const alone = viewOf([current], nowMs, times)
  assert.deepEqual(haproxyKeys(alone, times), [key, key, key])
  assert.deepEqual(haproxyKeys(viewOf([], nowMs, times), times), [])
})

test('HAProxy gets no past key that was made at once with another one and lost its turn to it', () => {
  // The youngest past key was never minted: the current one has the lower name.
  const lost: AgedKey = { key: countingKey(150), bornMs: current.bornMs + 1000, knownMs: 0 }
  const doubled = { ...view, previous: [lost, previous] }
  assert.deepEqual(haproxyKeys(doubled, times), haproxyKeys(view, times))
  assert.deepEqual(haproxyKeys({ ...view, previous: [lost] }, times)[0], lost.key)
})

test('HAProxy gets no key in its last slot that was made at once with another one and lost its turn to it', () => {
  // The current key has the lower name, and the other one has not waited yet.
  const lost: AgedKey = { key: countingKey(150), bornMs: current.bornMs + 1000, knownMs: 0 }
  const doubled = { ...view, next: [lost] }
  assert.deepEqual(haproxyKeys(doubled, times), [previous.key, current.key, current.key])
  // At the beginning of a ring the other one may have tickets.
  const first = { ...doubled, previous: [] }
  assert.deepEqual(haproxyKeys(first, times), [lost.key, current.key, current.key])
})

test('nghttpx mints with the first of four files, and opens the key before the previous one', () => {
  const older: AgedKey = { key: countingKey(150), bornMs: nowMs - 3.2 * HOUR_MS, knownMs: 0 }
  const keys = [current, next, previous, older].map((one) => one.key)
  assert.deepEqual(nghttpxKeys({ ...view, previous: [previous, older] }, times), keys)
  assert.deepEqual(nghttpxKeys(view, times), [...keys.slice(0, 3), previous.key])
  assert.deepEqual(nghttpxKeys(viewOf([current], nowMs, times), times), [key, key, key, key])
  assert.deepEqual(nghttpxKeys(viewOf([], nowMs, times), times), [])
})

test('lighttpd reads version, activation and expiry in host order, then name, HMAC and AES', () => {
  const stek = lighttpdStek(key, 0xf000_0001, 0xf000_0002)
  assert.equal(stek.length, 92)
  const header = new Uint32Array(Uint8Array.from(stek.subarray(0, 12)).buffer)
  assert.deepEqual([...header], [0, 0xf000_0001, 0xf000_0002])
  assert.deepEqual(stek.subarray(12), Buffer.concat([key.name, HMAC32, AES32]))
})

test('h2o never mints with a key that was made at once with another one and lost its turn to it', () => {
  const lost: AgedKey = { key: countingKey(150), bornMs: next.bornMs - 1000, knownMs: 0 }
  const keys = parse(h2oFile({ ...view, next: [next, lost] }, times, now).toString())
  const [, , third] = keys as { name: string; not_before: number; not_after: number }[]
  assert.equal(third?.name, lost.key.hexName)
  assert.equal(third?.not_before, third.not_after - 1)
})

test('h2o mints with the current key now, and with the next one when it has waited', () => {
  const keys = parse(h2oFile(view, times, now).toString(), { intAsBigInt: false }) as Record<
    string,
    unknown
  >[]
  const [first, second, third] = keys
  assert.equal(first?.['name'], key.hexName)
  assert.equal(first?.['key'], Buffer.concat([AES32, key.hmac(64)]).toString('hex'))
  assert.equal(first?.['not_before'], 1)
  assert.equal(second?.['not_before'], 1_800_000_000 + 1800)
  assert.equal(third?.['not_before'], 0)
  assert.equal(
    third?.['not_after'],
    1_800_000_000 + Math.ceil((times.openMs - 2.5 * HOUR_MS) / 1000),
  )
})

test('stunnel has 64 digits in both options: fewer would silently be AES-128', () => {
  const expected = `ticketKeySecret = ${AES32.toString('hex')}\nticketMacSecret = ${HMAC32.toString('hex')}\n`
  assert.equal(stunnelOptions(key).toString(), expected)
})

test('Envoy and Cilium get 80 bytes: name, HMAC, AES; the current key first', () => {
  const envoy = parse(envoySecret('www', opened).toString())
  const [resource] = envoy.resources
  assert.equal(resource.name, 'www')
  const inline = resource.session_ticket_keys.keys.map(
    (one: { inline_bytes: string }) => one.inline_bytes,
  )
  const expected = opened.map((one) =>
    Buffer.concat([one.name, one.hmac(32), one.aes(32)]).toString('base64'),
  )
  assert.deepEqual(inline, expected)
  const cilium = JSON.parse(ciliumSecret(place, view).toString())
  assert.deepEqual(cilium.data, {
    'tls.sessionticket.key': expected[0],
    'tls.sessionticket.key.1': expected[1],
    'tls.sessionticket.key.2': expected[2],
  })
  assert.deepEqual(cilium.metadata, place)
})

test('Cilium gets no more keys than it reads', () => {
  const many = Array.from({ length: 12 }, (_, index) => ({
    key: countingKey(index),
    bornMs: nowMs - index,
    knownMs: 0,
  }))
  const cilium = JSON.parse(ciliumSecret(place, viewOf(many, nowMs, times)).toString())
  assert.equal(Object.keys(cilium.data).length, 10)
})

test('JSON names the use of each key, alone and in a Secret', () => {
  const { keys } = JSON.parse(jsonKeys('www', view).toString())
  assert.deepEqual(
    keys.map((one: { use: string }) => one.use),
    ['current', 'next', 'previous'],
  )
  assert.equal(keys[0].hmac, key.hmac(64).toString('hex'))
  const { data } = JSON.parse(genericSecret(place, 'www', view).toString())
  assert.equal(
    Buffer.from(data['ticket-keys.json'], 'base64').toString(),
    jsonKeys('www', view).toString(),
  )
})

test('text with secrets spells them like Node.js does', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      const text = secretText(['a', { hex: bytes }, 'ß', { base64: bytes }])
      const buffer = Buffer.from(bytes)
      assert.equal(text.toString(), `a${buffer.toString('hex')}ß${buffer.toString('base64')}`)
      assert.equal(text.byteOffset, 0)
    }),
  )
})

describe('pushing to HAProxy', () => {
  const keys = ['k0', 'k1', 'k2', 'k3', 'k4', 'k5', 'k6'].map((name) => Buffer.from(name))
  const named = (text: string) => [...text].map((digit) => Buffer.from(`k${digit}`))
  const cases = [
    { held: '012', wanted: '012', pushed: '' },
    { held: '012', wanted: '123', pushed: '3' },
    { held: '012', wanted: '234', pushed: '34' },
    { held: '012', wanted: '345', pushed: '345' },
    { held: '000', wanted: '000', pushed: '' },
    { held: '000', wanted: '001', pushed: '1' },
    { held: '001', wanted: '012', pushed: '2' },
    { held: '112', wanted: '012', pushed: '012' },
    { held: '', wanted: '012', pushed: '012' },
    { held: '11', wanted: '112', pushed: '2' },
  ]
  for (const { held, wanted, pushed } of cases) {
    test(`with ${held || 'nothing'} there and ${wanted} wanted it pushes ${pushed || 'nothing'}`, () => {
      const rest = keysToPush(named(held), named(wanted))
      assert.deepEqual(rest, named(pushed))
      // Each push drops the first slot; a second look finds nothing to do.
      const after = [...named(held), ...rest].slice(-3)
      assert.deepEqual(keysToPush(after, named(wanted)), [])
    })
  }

  const answer =
    '# id secret\n# 0 (/run/www.keys)\n0.0 k0\n0.1 k1\n0.2 k2\n# 1 (/run/other (1).keys)\n1.0 k4\n1.1 k5\n1.2 k6\n\n'

  test('reads the keys of one file out of the answer', () => {
    assert.deepEqual(parseShownKeys(Buffer.from(answer), '/run/www.keys'), keys.slice(0, 3))
    assert.deepEqual(parseShownKeys(Buffer.from(answer), '/run/other (1).keys'), keys.slice(4))
    assert.equal(parseShownKeys(Buffer.from(answer), '/run/none.keys'), undefined)
    assert.equal(parseShownKeys(Buffer.from('Unknown command.\n'), '/run/www.keys'), undefined)
    assert.deepEqual(parseShownKeys(Buffer.from('# 0 (/run/www.keys)\n'), '/run/www.keys'), [])
  })

  test('keys that were read share the memory of the answer, so that erasing it erases them', () => {
    const bytes = Buffer.from(answer)
    const read = parseShownKeys(bytes, '/run/www.keys') ?? []
    bytes.fill(0)
    assert.ok(read.every((one) => one.every((byte) => byte === 0)))
  })

  test('spells the commands, all in one line', () => {
    const [first, second] = ['AAAA', 'BBBB'].map((digits) => Buffer.from(digits)) as [
      Buffer,
      Buffer,
    ]
    const one = 'set ssl tls-key /run/www.keys AAAA'
    assert.equal(pushCommand('/run/www.keys', [first]).toString(), `${one}\n`)
    const both = `${one};set ssl tls-key /run/www.keys BBBB\n`
    assert.equal(pushCommand('/run/www.keys', [first, second]).toString(), both)
  })
})
