// With which peers a node compares itself, and when: in turn, at once on request, and again where a comparison failed.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  INTERVAL_MS,
  peerOf,
  refuses,
  settle,
  setUpSynchronizer,
} from '../support/synchronizer-fixture.ts'

test('peers are compared with in turn, and at once on request, but not again within a second', async () => {
  const { synchronizer, state, nodes, own, clock, called } = setUpSynchronizer([1, 2])
  const [a, b] = nodes
  assert.ok(a !== undefined && b !== undefined)
  const [peerA, peerB] = [peerOf('a', a), peerOf('b', b)]
  state.peers.push(peerA, peerB)
  synchronizer.start()
  await settle(clock)
  for (let round = 0; round < 3; round += 1) {
    clock.advance(INTERVAL_MS)
    await settle(clock)
  }
  assert.deepEqual(called, ['a', 'a', 'b', 'a'])
  b.put('dropped on its way here')
  synchronizer.requestSync(peerB)
  await settle(clock)
  assert.equal(own.sessionOf('dropped on its way here'), 'session of dropped on its way here')
  b.remove('dropped on its way here')
  for (let times = 0; times < 10; times += 1) synchronizer.requestSync(peerB)
  await settle(clock)
  assert.equal(called.length, 5)
  clock.advance(1000)
  await settle(clock)
  assert.equal(called.length, 6)
  assert.equal(own.sessionOf('dropped on its way here'), undefined)
  await synchronizer.stop()
  assert.equal(clock.pendingCount, 0)
})

test('nobody is compared with while changes come faster than they are taken, but not for ever', async () => {
  const { synchronizer, state, nodes, clock, called } = setUpSynchronizer([1, 2])
  const [a, b] = nodes
  assert.ok(a !== undefined && b !== undefined)
  let isPressing = false
  const peerA = peerOf('a', a)
  const peerB = { ...peerOf('b', b), isPressing: () => isPressing }
  state.peers.push(peerA, peerB)
  synchronizer.start()
  await settle(clock)
  assert.deepEqual(called, ['a'])
  isPressing = true
  synchronizer.requestSync(peerA)
  for (let looks = 0; looks < 50; looks += 1) clock.advance(100)
  await settle(clock)
  assert.deepEqual(called, ['a'])
  isPressing = false
  clock.advance(100)
  await settle(clock)
  assert.deepEqual(called, ['a', 'a'])
  isPressing = true
  synchronizer.requestSync(peerB)
  for (let looks = 0; looks < 101; looks += 1) clock.advance(100)
  await settle(clock)
  assert.deepEqual(called, ['a', 'a', 'b'])
  await synchronizer.stop()
  assert.equal(clock.pendingCount, 0)
})

test('a peer whose changes get lost all the time leaves the turn of the others as it is', async () => {
  const { synchronizer, state, nodes, clock, called } = setUpSynchronizer([1, 2, 3])
  state.peers = nodes.map((node, index) => peerOf('abc'.charAt(index), node))
  const [peerA] = state.peers
  assert.ok(peerA !== undefined)
  synchronizer.start()
  await settle(clock)
  called.length = 0
  for (let round = 0; round < 3; round += 1) {
    clock.advance(INTERVAL_MS)
    await settle(clock)
    synchronizer.requestSync(peerA)
    clock.advance(1000)
    await settle(clock)
  }
  assert.deepEqual(called, ['a', 'a', 'b', 'a', 'c', 'a'])
  await synchronizer.stop()
})

test('peers that a comparison failed with are tried again one after the other, beside those in turn', async () => {
  const { synchronizer, state, nodes, clock, called } = setUpSynchronizer([1, 2, 3, 4])
  const names = ['a', 'b', 'c', 'd']
  const isFailing = ['b', 'c']
  state.peers = nodes.map((node, index) => {
    const name = names[index] ?? ''
    return peerOf(name, node, (far) => {
      if (isFailing.includes(name)) refuses(far)
      else void node.serve(far).catch(() => {})
    })
  })
  synchronizer.start()
  await settle(clock)
  called.length = 0
  const rounds: string[] = []
  const round = async () => {
    clock.advance(INTERVAL_MS)
    await settle(clock)
    rounds.push(called.splice(0).join(''))
  }
  for (let count = 0; count < 6; count += 1) await round()
  assert.deepEqual(rounds, ['a', 'b', 'cb', 'dc', 'ab', 'bc'])
  isFailing.length = 0
  for (let count = 0; count < 3; count += 1) await round()
  assert.deepEqual(rounds.slice(6), ['cb', 'd', 'a'])
  await synchronizer.stop()
})
