// The probe of a target: it knows whose key made a ticket by the signature, whatever the terminator calls the key, gives
// a terminator the time that it needs, and says what is wrong after that.

import assert from 'node:assert/strict'
import { createCipheriv, createHash, createHmac } from 'node:crypto'
import { beforeEach, describe, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { originOf } from '../../src/tickets/layouts/opened-ticket.ts'
import type { AgedKey, RingView } from '../../src/tickets/rule.ts'
import { TargetProbe } from '../../src/tickets/targets/probe.ts'
import type { TargetFailure } from '../../src/tickets/targets/target.ts'
import { TicketKey } from '../../src/tickets/ticket-key.ts'
import { type Handshake, HandshakeError } from '../../src/tls-client/handshake.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { seededBytes } from '../support/seeded-random.ts'

const random = seededBytes('probe')
const [k0, k1, k2, k3] = [0, 1, 2, 3].map(
  (): AgedKey => ({ key: TicketKey.generate(random), bornMs: 0, knownMs: 0 }),
) as [AgedKey, AgedKey, AgedKey, AgedKey]
const view: RingView = { current: k1, next: [k2], previous: [k0] }

/** A ticket as OpenSSL makes it, signed with another key where one is given. */
function ticketOf({ key }: AgedKey, bytes: 16 | 32 | 64, name = key.name, hmac = key.hmac(bytes)) {
  const iv = Buffer.alloc(16, 9)
  const aes = createCipheriv('aes-256-cbc', key.aes(32), iv)
  const body = Buffer.concat([name, iv, aes.update(Buffer.alloc(100, 1)), aes.final()])
  return Buffer.concat([body, createHmac('sha256', hmac).update(body).digest()])
}

test('a ticket is known by its signature, with keys of every size', () => {
  for (const bytes of [16, 32, 64] as const) {
    const ofKeys = [k1, k2, k0, k3].map((one) => originOf(ticketOf(one, bytes), view))
    assert.deepEqual(ofKeys, ['current', 'next', 'previous', 'unknown'])
  }
  // stunnel draws a name of its own; Go derives name and keys.
  assert.equal(originOf(ticketOf(k1, 32, Buffer.alloc(16, 5)), view), 'current')
  const derived = createHash('sha512').update(k1.key.aes(32)).digest()
  const go = ticketOf(k1, 16, derived.subarray(0, 16), derived.subarray(32, 48))
  assert.equal(originOf(go, view), 'current')
})

test('a ticket with the name of a key and another signature is a fault of the terminator', () => {
  const zero = Buffer.alloc(16)
  assert.equal(originOf(ticketOf(k1, 16, k1.key.name, zero), view), 'zero_mac')
  // It says that the current key is not in use yet, as with terminators that sign.
  assert.equal(originOf(ticketOf(k0, 16, k0.key.name, zero), view), 'previous')
  assert.equal(originOf(ticketOf(k3, 32, k1.key.name), view), 'wrong_mac')
  assert.equal(originOf(ticketOf(k3, 32, k3.key.name, zero), view), 'unknown')
  assert.equal(originOf(Buffer.alloc(0), view), 'unknown')
  assert.equal(originOf(Buffer.alloc(48), view), 'unknown')
})

describe('a probe', () => {
  let clock: FakeClock
  let shown: RingView
  let listeners: Set<() => void>
  let failures: TargetFailure[]
  let versions: string[]
  /** What the terminator answers, by TLS version; an absent version is not spoken. */
  let answers: Record<string, Buffer | 'no ticket' | 'refused'>

  beforeEach(() => {
    clock = new FakeClock()
    shown = view
    listeners = new Set()
    failures = []
    versions = []
    answers = { '1.2': ticketOf(k1, 32), '1.3': ticketOf(k1, 32) }
  })

  function createProbe(trustsName = false): TargetProbe {
    const source = {
      view: () => shown,
      onChange(listener: () => void) {
        listeners.add(listener)
        return () => listeners.delete(listener)
      },
    }
    return new TargetProbe({
      address: { host: '127.0.0.1', port: 443 },
      source,
      graceMs: 10_000,
      trustsName,
      clock,
      onFailure: (failure) => failures.push(failure),
      async shakeHands(_, { version }): Promise<Handshake> {
        versions.push(version)
        const answer = answers[version]
        if (answer === undefined) throw new HandshakeError('version', 'no such version')
        if (answer === 'refused') throw new HandshakeError('unreachable', 'ECONNREFUSED')
        const ticket = answer === 'no ticket' ? Buffer.alloc(0) : answer
        const session = {
          ...{ bytes: ticket, ticket, mechanism: 'ticket' as const, keyName: undefined },
          ...{ hasZeroMac: false, lifetimeSec: 300, takesEarlyData: false },
        }
        return { isResumed: false, durationMs: 1, session, certificate: '', distrust: undefined }
      },
    })
  }

  async function pass(seconds: number): Promise<void> {
    for (let second = 0; second < seconds; second += 1) {
      clock.advance(1000)
      await nextTurn()
    }
  }

  test('looks at both versions, and again every minute', async () => {
    const probe = createProbe()
    probe.start()
    assert.equal(probe.isCurrent, undefined)
    await pass(1)
    assert.equal(probe.isCurrent, true)
    await pass(121)
    assert.deepEqual(versions, ['1.2', '1.3', '1.2', '1.3', '1.2', '1.3'])
    await probe.stop()
    assert.deepEqual([clock.pendingCount, listeners.size], [0, 0])
  })

  test('gives a new key time to come into use, and counts what is late', async () => {
    const probe = createProbe()
    probe.start()
    await pass(1)
    shown = { current: k2, next: [], previous: [k1, k0] }
    for (const listener of listeners) listener()
    await pass(9)
    assert.deepEqual([probe.isCurrent, failures.length], [true, 0])
    await pass(20)
    assert.equal(probe.isCurrent, false)
    assert.ok(failures.length > 0)
    assert.equal(probe.problem?.reason, 'probe')
    assert.match(
      probe.problem?.message ?? '',
      /^127\.0\.0\.1:443 still makes tickets with a past key/,
    )
    answers = { '1.3': ticketOf(k2, 32) }
    await pass(60)
    assert.deepEqual([probe.isCurrent, probe.problem], [true, undefined])
  })

  const faults: readonly [typeof answers, RegExp][] = [
    [{ '1.2': ticketOf(k1, 16, k1.key.name, Buffer.alloc(16)) }, /signs its tickets with a key of/],
    [{ '1.2': ticketOf(k3, 32) }, /a key that is not of this group/],
    [
      { '1.2': ticketOf(k1, 32), '1.3': ticketOf(k2, 32) },
      /whose turn has not come \(TLS 1\.3\); its keys came into use more than 10s ago$/,
    ],
    [{ '1.2': 'no ticket' }, /gives no tickets \(TLS 1\.2\)/],
    [{ '1.2': 'refused' }, /ECONNREFUSED/],
    [{}, /speaks neither TLS 1\.2 nor 1\.3/],
  ]
  for (const [answer, pattern] of faults) {
    test(`says ${pattern.source}`, async () => {
      answers = answer
      const probe = createProbe()
      probe.start()
      await pass(30)
      assert.equal(probe.isCurrent, false)
      assert.match(failures[0]?.message ?? '', pattern)
      await probe.stop()
    })
  }

  test('knows that Apache signs with zeros, or whatever lies in its memory', async () => {
    answers = { '1.2': ticketOf(k1, 16, k1.key.name, Buffer.alloc(16)) }
    const probe = createProbe(true)
    probe.start()
    await pass(30)
    assert.equal(probe.isCurrent, true)
    answers = { '1.2': ticketOf(k1, 16, k1.key.name, Buffer.alloc(16, 3)) }
    await pass(90)
    assert.equal(probe.isCurrent, true)
    answers = { '1.2': ticketOf(k0, 16, k0.key.name, Buffer.alloc(16)) }
    await pass(90)
    assert.equal(probe.isCurrent, false)
  })
})
