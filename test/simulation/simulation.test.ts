// The simulation itself: it repeats to the last event, and a cluster without faults passes all of its checks.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { Coverage } from './coverage.ts'
import { DEFECTS, withDefect } from './defects.ts'
import { drawPlan, type Plan, TOPOLOGIES } from './plan.ts'
import { REACHABLE, UNREACHABLE } from './reasons.ts'
import { run } from './run.ts'
import { inMacrotask } from './timeline.ts'

const MAX_RUN_MS = 20_000

/** A plan that is short enough for every run of the tests. */
function shortPlan(seed: number, faults?: []): Plan {
  const plan = drawPlan(seed, { nodes: 3, ...(faults === undefined ? {} : { faults }) })
  const actions = plan.actions.filter(({ atMs }) => atMs < MAX_RUN_MS)
  return { ...plan, durationMs: MAX_RUN_MS, digestIntervalSec: 10, actions }
}

test('two runs of a seed are equal to the last event', async () => {
  for (const seed of [5, 17]) {
    const plan = shortPlan(seed)
    const first = await inMacrotask(() => run(plan))
    const second = await inMacrotask(() => run(plan, true))
    assert.deepEqual(
      [second.hash, second.events, second.datagrams],
      [first.hash, first.events, first.datagrams],
    )
    assert.ok(first.datagrams > 100, `${first.datagrams} datagrams`)
  }
})

test('another seed makes another run', async () => {
  const hashes = new Set<string>()
  for (const seed of [1, 2, 3]) hashes.add((await inMacrotask(() => run(shortPlan(seed, [])))).hash)
  assert.equal(hashes.size, 3)
})

test('a cluster without faults passes, however its nodes find each other', async () => {
  for (const [index, topology] of TOPOLOGIES.entries()) {
    const plan = { ...shortPlan(100 + index, []), topology }
    const { violation, visibleMs } = await inMacrotask(() => run(plan))
    assert.equal(violation, undefined)
    assert.ok(visibleMs.length > 0)
  }
})

test('each seeded defect can still be put into the code', () => {
  assert.equal(DEFECTS.length, 12)
  for (const defect of DEFECTS) {
    const text = readFileSync(new URL(`../../src/${defect.file}`, import.meta.url), 'utf8')
    assert.notEqual(withDefect(text, defect), text)
  }
})

test('the table of reasons names every result and reason of the metrics', () => {
  const coverage = new Coverage()
  for (const name of ['metrics-node.txt', 'metrics-repeater.txt']) {
    coverage.read(readFileSync(new URL(`../golden/${name}`, import.meta.url), 'utf8'))
  }
  assert.deepEqual([...REACHABLE, ...UNREACHABLE].sort(), [...coverage.counts.keys()].sort())
})
