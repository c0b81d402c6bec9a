// Whatever version a node that has the key left under a session ID: a change that was made here and answered wins
// over it on every node, and all nodes come to hold the same.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MAX_VERSION_CLOCK } from '../../src/store/versions.ts'
import { MAX_ORIGIN } from '../../src/wire/identity.ts'
import { Dice } from '../support/dice.ts'
import { SyncNode, TurningClock } from '../support/sync-node.ts'

const CONTEXT = Buffer.from('shop.example')
const IDS = ['a', 'b', 'c', 'd']
/** What a put may have at most. */
const MAX_PUT_CLOCK = MAX_VERSION_CLOCK - 1
/** Around the readings up to which clocks follow, and at the end. */
const HOSTILE_CLOCKS = [
  MAX_PUT_CLOCK,
  MAX_PUT_CLOCK - 1,
  MAX_PUT_CLOCK - 2,
  MAX_VERSION_CLOCK - 2 ** 47,
  MAX_VERSION_CLOCK - 2 ** 47 - 1,
  2 ** 51,
  1,
]

function leave(nodes: readonly SyncNode[], id: string, dice: Dice): void {
  const isRemoval = dice.below(3) === 0
  const clock = isRemoval && dice.below(2) === 0 ? MAX_VERSION_CLOCK : dice.pick(HOSTILE_CLOCKS)
  const version = { clock, origin: dice.pick([MAX_ORIGIN, 0, 2]) }
  const shared = { cache: 'ssl', id: Buffer.from(id), ttlMs: 300_000, version }
  const session = Buffer.from(`left ${dice.below(1000)}`)
  for (const { store } of nodes) {
    if (dice.below(4) === 0) continue
    if (isRemoval) store.apply({ kind: 'remove', ...shared })
    else store.apply({ kind: 'put', ...shared, context: CONTEXT, serverName: '', session })
  }
}

/** A change made on one node: what every node must hold afterwards, undefined for nothing. */
function change(node: SyncNode, id: string, dice: Dice): string | undefined {
  if (dice.below(3) === 0) {
    node.remove(id)
    assert.equal(node.sessionOf(id), undefined)
    return undefined
  }
  const text = `put ${dice.below(1_000_000)}`
  const entry = { id: Buffer.from(id), context: CONTEXT, serverName: '', ttlMs: 300_000 }
  const result = node.store.put({ ...entry, session: Buffer.from(text) })
  const isStored = result === 'stored' || result === 'replaced'
  const expected = isStored ? text : undefined
  assert.equal(node.sessionOf(id), expected, `put answered ${result}`)
  return expected
}

async function equalize(nodes: readonly SyncNode[]): Promise<void> {
  for (let round = 0; round < 2; round += 1) {
    for (const node of nodes) {
      for (const other of nodes) {
        if (other !== node) await node.call(other, (caller) => caller.compare())
      }
    }
  }
}

test('a change that was answered wins on every node over whatever a hostile node left', async () => {
  const dice = new Dice(2026)
  let wins = 0
  for (let run = 0; run < 60; run += 1) {
    const clock = new TurningClock()
    const nodes = [1, 2, 3].map((origin) => new SyncNode(clock, origin))
    for (let step = 0; step < 12; step += 1) {
      const id = dice.pick(IDS)
      const node = dice.pick(nodes)
      if (dice.below(2) === 0) leave(nodes, id, dice)
      else change(node, id, dice)
      if (dice.below(3) === 0)
        await node.call(dice.pick(nodes.filter((one) => one !== node)), (caller) =>
          caller.compare(),
        )
      clock.advance(dice.below(20))
    }
    await equalize(nodes)
    const expected = IDS.map((id) => [id, change(dice.pick(nodes), id, dice)] as const)
    await equalize(nodes)
    for (const node of nodes) {
      assert.deepEqual(node.contents, nodes[0]?.contents)
      for (const [id, text] of expected) assert.equal(node.sessionOf(id), text, `run ${run}, ${id}`)
    }
    wins += expected.length
  }
  assert.equal(wins, 240)
})

test('counting on from any version never passes the largest one', () => {
  const clock = new TurningClock()
  const node = new SyncNode(clock, 1)
  const dice = new Dice(7)
  for (let step = 0; step < 2000; step += 1) {
    const id = `id-${dice.below(1000)}`
    leave([node], id, dice)
    change(node, id, dice)
  }
  assert.ok(node.changes.length > 500)
  for (const { kind, version } of node.changes) {
    assert.ok(version.clock <= (kind === 'put' ? MAX_PUT_CLOCK : MAX_VERSION_CLOCK))
  }
})

test('a put that no version is above is refused, and what was left is gone everywhere', async () => {
  const clock = new TurningClock()
  const [first, second] = [new SyncNode(clock, 1), new SyncNode(clock, 2)]
  for (const { store } of [first, second]) {
    store.apply({
      kind: 'put',
      cache: 'ssl',
      id: Buffer.from('a'),
      context: CONTEXT,
      serverName: '',
      session: Buffer.from('left'),
      ttlMs: 300_000,
      version: { clock: MAX_PUT_CLOCK, origin: MAX_ORIGIN },
    })
  }
  const entry = { id: Buffer.from('a'), context: CONTEXT, serverName: '', ttlMs: 300_000 }
  assert.equal(first.store.put({ ...entry, session: Buffer.from('mine') }), 'version')
  await second.call(first, (caller) => caller.compare())
  assert.equal(second.sessionOf('a'), undefined)
  assert.deepEqual(second.contents, first.contents)
  // Every other session ID goes on as before.
  assert.equal(
    first.store.put({ ...entry, id: Buffer.from('b'), session: Buffer.from('x') }),
    'stored',
  )
})
