// A terminator that needs reloads, after a partition: it is given what the other side minted as soon as its node hears of it,
// and not with the next rotation, since clients have such tickets already.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { silentLogger } from '../../src/base/world.ts'
import { TicketAuthority } from '../../src/tickets/authority.ts'
import { createTarget, terminatorLimits } from '../../src/tickets/targets/kinds.ts'
import { TargetRunner } from '../../src/tickets/targets/runner.ts'
import { targetSchema } from '../../src/tickets/targets/target-schema.ts'
import { ringTimes } from '../../src/tickets/times.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { MemoryFiles } from '../support/memory-files.ts'
import { seededBytes } from '../support/seeded-random.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000

test('nginx is given the keys that the other side of a partition minted at once', async () => {
  const clock = new FakeClock()
  const written = { kind: 'nginx', group: 'www', dir: '/run/www', reload: ['reload-it'] }
  const settings = targetSchema.parse(written)
  const hourly = { name: 'www', rotateMs: HOUR_MS, lifetimeMs: HOUR_MS, waitMs: HOUR_MS }
  const times = ringTimes(hourly, [terminatorLimits(settings, HOUR_MS)])
  let reloads = 0
  const sides = ['one side', 'other side'].map((name) => {
    const groups = [{ name: 'www', times }]
    const nodeId = Buffer.from(name)
    const authority = new TicketAuthority({ groups, nodeId, clock, random: seededBytes(name) })
    const source = authority.source('www')
    assert.ok(source !== undefined)
    const files = new MemoryFiles(() => clock.wallMs())
    const runner = new TargetRunner({
      ...{ source, times, files, target: createTarget(settings, { times, clock }) },
      world: { clock, logger: silentLogger },
      run: async () => {
        reloads += 1
        return undefined
      },
    })
    const include = () => files.entries.get('/run/www/tickets.conf')?.bytes.toString() ?? ''
    const names = () => authority.rings[0]?.keys.map(({ key }) => key.hexName) ?? []
    return { authority, runner, include, names }
  })
  const [one, other] = sides
  assert.ok(one !== undefined && other !== undefined)
  const pass = async (durationMs: number) => {
    for (let left = durationMs; left > 0; left -= MINUTE_MS) {
      clock.advance(MINUTE_MS)
      await nextTurn()
    }
  }
  one.authority.mayMake()
  other.authority.merge(one.authority.offers())
  other.authority.mayMake()
  for (const { runner } of sides) await runner.start()
  // Each side makes and mints keys of its own; then the rotation of both is over for a while.
  await pass(2.6 * HOUR_MS)
  const apart = sides.map(({ names }) => names())
  const [ofOne = [], ofOther = []] = apart
  assert.ok(ofOne.filter((name) => !ofOther.includes(name)).length >= 2)
  const offers = sides.map(({ authority }) => authority.offers())
  reloads = 0
  for (const [index, { authority }] of sides.entries()) authority.merge(offers[1 - index] ?? [])
  await pass(MINUTE_MS)
  assert.equal(reloads, 2)
  for (const name of [...ofOne, ...ofOther])
    for (const { include } of sides) assert.ok(include().includes(name), `${name} has to wait`)
  for (const { runner, authority } of sides) {
    await runner.stop()
    authority.stop()
  }
})
