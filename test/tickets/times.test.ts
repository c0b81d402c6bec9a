// The times of a ring: defaults work with every kind of terminator, impossible settings are refused with their limit.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ticketsSchema } from '../../src/tickets/settings.ts'
import {
  findTimeProblem,
  ringTimes,
  type TerminatorLimits,
  type TicketGroupSettings,
} from '../../src/tickets/times.ts'

const HOUR_MS = 3_600_000
const hourly: TicketGroupSettings = {
  name: 'www',
  rotateMs: HOUR_MS,
  lifetimeMs: HOUR_MS,
  waitMs: HOUR_MS,
}
const lighttpd: TerminatorLimits = { kind: 'lighttpd', pollMs: 64_000, keysHeld: 3 }
const haproxy: TerminatorLimits = { kind: 'haproxy', pollMs: 0, keysHeld: 3 }
const nginx: TerminatorLimits = { kind: 'nginx', pollMs: 0, keysHeld: 16 }
const apache: TerminatorLimits = { kind: 'apache', pollMs: 0, keysHeld: 1 }

test('keys that rotate every hour suit terminators of every kind', () => {
  assert.equal(findTimeProblem(hourly, [lighttpd, haproxy, nginx, apache]), undefined)
})

test('a key opens for as long as the last ticket that a late terminator makes with it', () => {
  const times = ringTimes(hourly, [lighttpd])
  const lastMintedMs = times.rotateMs + 0.8 * times.jitterMs + times.waitMs + lighttpd.pollMs
  assert.ok(times.openMs > lastMintedMs + times.lifetimeMs)
  assert.equal(times.rememberMs, 3 * times.openMs)
})

const IMPOSSIBLE: readonly {
  readonly name: string
  readonly settings: Partial<TicketGroupSettings>
  readonly terminators: readonly TerminatorLimits[]
  readonly expected: RegExp
}[] = [
  {
    name: 'a wait shorter than twice the poll of the slowest terminator',
    settings: { waitMs: 127_999 },
    terminators: [nginx, lighttpd],
    expected: /^wait: must be at least 128s, since lighttpd reads .* 64s, not 127999ms$/,
  },
  {
    name: 'a wait in which a key does not reach all nodes',
    settings: { waitMs: 7999 },
    terminators: [nginx],
    expected: /^wait: must be at least 8s, since a key reaches all nodes within 4s, not 7999ms$/,
  },
  {
    name: 'a wait that is longer than the rotation',
    settings: { waitMs: HOUR_MS + 1 },
    terminators: [],
    expected: /^wait: must not be longer than rotate \(1h\), not 3600001ms$/,
  },
  {
    name: 'a lifetime that is longer than three keys live',
    settings: { lifetimeMs: HOUR_MS + 1 },
    terminators: [nginx, haproxy],
    expected: /^lifetime: must not be longer than 1h, not 3600001ms: haproxy holds 3 keys/,
  },
  {
    name: 'a lifetime that is longer than a ring keeps keys',
    settings: { lifetimeMs: 6 * HOUR_MS + 1 },
    terminators: [nginx, apache],
    expected: /^lifetime: must not be longer than 6h, not 21600001ms: a ring holds 8 keys/,
  },
]

for (const { name, settings, terminators, expected } of IMPOSSIBLE) {
  test(`refuses ${name}`, () => {
    const problem = findTimeProblem({ ...hourly, ...settings }, terminators)
    assert.match(`${problem?.setting}: ${problem?.message}`, expected)
  })
}

test('with a shorter wait tickets of terminators with three keys may live longer', () => {
  const quick = { ...hourly, waitMs: HOUR_MS / 2, lifetimeMs: 1.5 * HOUR_MS }
  assert.equal(findTimeProblem(quick, [haproxy]), undefined)
  const longer = { ...quick, lifetimeMs: quick.lifetimeMs + 1 }
  assert.equal(findTimeProblem(longer, [haproxy])?.setting, 'lifetime')
})

for (const times of [
  { rotate: '9999ms' },
  { rotate: '169h' },
  { lifetime: '999ms' },
  { lifetime: '169h' },
  { wait: '999ms' },
]) {
  test(`the configuration refuses ${JSON.stringify(times)}, which is out of bounds by itself`, () => {
    const read = (group: object) => ticketsSchema.safeParse({ groups: [{ name: 'www', ...group }] })
    assert.deepEqual(read(times).error?.issues[0]?.path, ['groups', 0, ...Object.keys(times)])
    assert.equal(read({}).success, true)
  })
}
