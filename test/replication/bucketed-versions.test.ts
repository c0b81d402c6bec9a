// What lies in which bucket of a store's digest, found out in one walk.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BucketedVersions } from '../../src/replication/sync/bucketed-versions.ts'
import { Pacer } from '../../src/replication/sync/stream.ts'
import { DIGEST_BUCKETS } from '../../src/store/digest.ts'
import { SyncNode, TurningClock } from '../support/sync-node.ts'

const ENTRIES = 3000
const ALL = Array.from({ length: DIGEST_BUCKETS }, (_, bucket) => bucket)

async function idsIn(versions: BucketedVersions, buckets: Iterable<number>): Promise<string[]> {
  const ids: string[] = []
  for await (const { id } of versions.in(buckets)) ids.push(id.toString())
  return ids
}

function fill(): { clock: TurningClock; node: SyncNode; ids: string[] } {
  const clock = new TurningClock()
  const node = new SyncNode(clock, 1)
  const ids = Array.from({ length: ENTRIES }, (_, number) => `id ${number}`)
  for (const [number, id] of ids.entries()) {
    if (number % 3 === 0) clock.advance(16)
    node.put(id)
  }
  return { clock, node, ids }
}

test('every entry is in one bucket, removals included, and in that of the digest', async () => {
  const { clock, node, ids } = fill()
  for (const id of ids.slice(0, 100)) node.remove(id)
  const versions = await BucketedVersions.of(node.store, new Pacer(clock))
  const found = await idsIn(versions, ALL)
  assert.deepEqual(found.sort(), ids.sort())
  const [one, other] = [new SyncNode(clock, 2), new SyncNode(clock, 3)]
  for (const id of ids.slice(0, 5)) one.put(id)
  const differing = one.store.entries.digest.differingBuckets(other.store.entries.digest.toBytes())
  const few = await BucketedVersions.of(one.store, new Pacer(clock))
  assert.equal(differing.length, 1)
  assert.equal((await idsIn(few, differing)).length, 5)
  const others = ALL.filter((bucket) => !differing.includes(bucket))
  assert.deepEqual(await idsIn(few, others), [])
})

test('what went since, or gave its place to another, is left out', async () => {
  const { clock, node, ids } = fill()
  const versions = await BucketedVersions.of(node.store, new Pacer(clock))
  clock.advance(node.store.limits.timeoutMs + 1000)
  while (node.store.sweepOne());
  for (let number = 0; number < ENTRIES; number += 1) node.put(`later ${number}`)
  const gone = new Set(ids)
  const found = await idsIn(versions, ALL)
  // All of one moment: only the slots of one bucket are in it again, by chance.
  assert.ok(found.length < ENTRIES / 100, `${found.length}`)
  assert.equal(
    found.some((id) => gone.has(id)),
    false,
  )
})

test('a walk ends in its next turn when nobody wants it any more', async () => {
  const { clock, node } = fill()
  let isWanted = true
  const pacer = new Pacer(clock, () => {
    if (!isWanted) throw new Error('not wanted')
  })
  const versions = await BucketedVersions.of(node.store, pacer)
  isWanted = false
  clock.advance(10)
  await assert.rejects(idsIn(versions, ALL), /not wanted/)
  await assert.rejects(BucketedVersions.of(node.store, pacer), /not wanted/)
})
