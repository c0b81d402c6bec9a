// Whether the caches fit into V8's heap and into what the system allows: what is said when they do not, and what is held.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkConfig } from '../../src/node/config.ts'
import type { ConfigInput } from '../../src/node/config-schema.ts'
import { planMemory } from '../../src/node/memory-plan.ts'

const GIB = 1024 ** 3
const MIB = 1024 ** 2
const AMPLE = { heapBytes: 4 * GIB, systemBytes: 0 }

function planOf(caches: ConfigInput['caches'], limits: Partial<typeof AMPLE> = {}) {
  return planMemory(checkConfig({ caches }, 'host').caches, { ...AMPLE, ...limits })
}

test('without a limit of the system nothing is said, nor with an ample one', () => {
  assert.deepEqual(planOf([{ name: 'a' }]).warnings, [])
  assert.deepEqual(planOf([{ name: 'a' }], { systemBytes: 2 * GIB }).warnings, [])
  // What Node reports where there is no limit.
  assert.deepEqual(planOf([{ name: 'a' }], { systemBytes: 2 ** 64 }).warnings, [])
})

test('a bound above what the system allows is said, with both figures; memory keeps it below', () => {
  const caches = [{ name: 'a' }, { name: 'b' }]
  const { warnings, maxBytes } = planOf(caches, { systemBytes: 512 * MIB })
  const figures = `${Math.ceil(maxBytes / MIB)} MiB, the system allows it 512 MiB`
  assert.equal(warnings.length, 1)
  assert.ok(warnings[0]?.includes(figures), warnings[0])
  const small = caches.map((cache) => ({ ...cache, memory: '100MiB' }))
  const bounded = planOf(small, { systemBytes: 512 * MIB })
  assert.deepEqual(bounded.warnings, [])
  assert.equal(bounded.maxBytes, 350 * MIB)
})

test('an index that V8 has no heap for is made smaller, and the log says how to start it instead', () => {
  const caches = [{ name: 'a', items: 16_777_216 }]
  const { warnings, caches: fitted } = planOf(caches, { heapBytes: 2 * GIB })
  const items = fitted[0]?.limits.items ?? 0
  assert.ok(items < 16_777_216 && items > 9_000_000, `${items}`)
  assert.match(
    warnings.join(),
    /^caches\[\]\.items: cache "a" holds \d+ instead of 16777216, .+--max-old-space-size=3414$/,
  )
  assert.deepEqual(planOf(caches, { heapBytes: 3414 * MIB }).warnings, [])
})

test('items are no more than the memory is worth an index for', () => {
  const [cache] = planOf([{ name: 'a', items: 1_000_000, memory: '64MiB' }]).caches
  assert.equal(cache?.limits.memoryBytes, 64 * MIB)
  assert.equal(cache?.limits.items, Math.floor((64 * MIB) / 440))
  const [few] = planOf([{ name: 'a', items: 10, memory: '64MiB' }]).caches
  assert.equal(few?.limits.items, 10)
})
