// Rings in the deterministic simulation of a cluster. `npm test` runs a part of it; `npm run test:tickets:simulation`
// makes more than 10^7 checks. Five faults are put into the rule, one at a time: the simulation has to find each.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { RingCluster } from './ring-cluster.ts'
import {
  type Fault,
  type Findings,
  noFindings,
  PAUSES,
  SCENARIOS,
  type Scenario,
} from './ring-scenarios.ts'

const WANTED_CHECKS = Number(process.env['TICKET_SIMULATION_CHECKS'] ?? 60_000)
const ROTATIONS = 10

/** Runs seed after seed until there were enough checks. */
function simulate(
  scenario: Scenario,
  wantedChecks: number,
  fault?: Fault,
  rotations = ROTATIONS,
): Findings {
  const sum = noFindings()
  for (let seed = 1; sum.checks < wantedChecks; seed += 1) {
    const found = new RingCluster(scenario, seed, fault).run(rotations)
    for (const name of Object.keys(sum) as (keyof Findings)[]) sum[name] += found[name]
  }
  return sum
}

describe('nothing is lost', () => {
  for (const scenario of SCENARIOS) {
    test(scenario.name, (context) => {
      const found = simulate(scenario, WANTED_CHECKS / SCENARIOS.length)
      context.diagnostic(JSON.stringify(found))
      const { notOpened, overAge, withoutKey } = found
      assert.deepEqual(
        { notOpened, overAge, withoutKey },
        { notOpened: 0, overAge: 0, withoutKey: 0 },
      )
    })
  }

  test('paused machines: at most 2 in 10^5 tickets, and no key over age', (context) => {
    // A ticket that is lost is lost on every node: fewer checks than these say nothing of so small a share.
    const found = simulate(PAUSES, Math.max(1_000_000, WANTED_CHECKS / SCENARIOS.length))
    context.diagnostic(JSON.stringify(found))
    assert.ok(found.notOpened <= found.checks * 2e-5, `${found.notOpened} of ${found.checks}`)
    assert.deepEqual([found.overAge, found.withoutKey], [0, 0])
  })

  test('the same seed finds the same', () => {
    const run = () => new RingCluster(PAUSES, 7).run(3)
    assert.deepEqual(run(), run())
  })
})

describe('finds', () => {
  const [, eight, , , , fast] = SCENARIOS as readonly [
    Scenario,
    Scenario,
    Scenario,
    Scenario,
    Scenario,
    Scenario,
  ]

  test('times of the day instead of ages', (context) => {
    const { notOpened, checks } = simulate(fast, 1, 'absolute times')
    context.diagnostic(JSON.stringify({ notOpened, checks }))
    assert.ok(notOpened > checks / 1000)
  })

  test('the newest key minted at once', (context) => {
    const { notOpened, checks } = simulate(eight, 1, 'newest at once')
    context.diagnostic(JSON.stringify({ notOpened, checks }))
    assert.ok(notOpened > 0)
  })

  test('no memory of the names of retired keys', () => {
    const { overAge } = simulate(PAUSES, 1, 'no memory')
    assert.ok(overAge > 10, String(overAge))
  })

  test('no doubt of ages after a suspension', (context) => {
    // In this cluster a machine sleeps, and wakes up alone in a partition.
    const seed = 11
    const { notOpened, checks } = new RingCluster(PAUSES, seed, 'no doubt').run(ROTATIONS)
    context.diagnostic(JSON.stringify({ notOpened, checks }))
    assert.ok(notOpened > 1000)
    assert.ok(new RingCluster(PAUSES, seed).run(ROTATIONS).notOpened <= 5)
  })

  test('no hash in the greeting', (context) => {
    const { notOpened, checks } = simulate(fast, 1, 'no hash')
    context.diagnostic(JSON.stringify({ notOpened, checks }))
    assert.ok(notOpened > 0)
  })
})
