// What lies in which bucket of a store's digest, found out in one walk.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BucketedVersions } from '../../src/replication/bucketed-versions.ts'
import { DIGEST_BUCKETS } from '../../src/store/digest.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { SyncNode } from '../support/sync-node.ts'

const ENTRIES = 3000
const ALL = Array.from({ length: DIGEST_BUCKETS }, (_, bucket) => bucket)

async function idsIn(versions: BucketedVersions, buckets: Iterable<number>): Promise<string[]> {
  const ids: string[] = []
  for await (const { id } of versions.in(buckets)) ids.push(id.toString())
  return ids
}

function fill(): { clock: FakeClock; node: SyncNode; ids: string[] } {
  const clock = new FakeClock()
  const node = new SyncNode(clock, 1)
  const ids = Array.from({ length: ENTRIES }, (_, number) => `id ${number}`)
  for (const id of ids) node.put(id)
  return { clock, node, ids }
}

test('every entry is in one bucket, removals included, and in that of the digest', async () => {
  const { clock, node, ids } = fill()
  for (const id of ids.slice(0, 100)) node.remove(id)
  const versions = await BucketedVersions.of(node.store, clock)
  const found = await idsIn(versions, ALL)
  assert.deepEqual(found.sort(), ids.sort())
  const [one, other] = [new SyncNode(clock, 2), new SyncNode(clock, 3)]
  for (const id of ids.slice(0, 5)) one.put(id)
  const differing = one.store.entries.digest.differingBuckets(other.store.entries.digest.toBytes())
  const few = await BucketedVersions.of(one.store, clock)
  assert.equal((await idsIn(few, differing)).length, 5)
  assert.deepEqual(
    await idsIn(
      few,
      ALL.filter((bucket) => !differing.includes(bucket)),
    ),
    [],
  )
})

test('what went since, or gave its place to another, is left out', async () => {
  const { clock, node, ids } = fill()
  const versions = await BucketedVersions.of(node.store, clock)
  clock.advance(node.store.limits.timeoutMs + 1000)
  while (node.store.sweepOne());
  for (let number = 0; number < ENTRIES; number += 1) node.put(`later ${number}`)
  const found = await idsIn(versions, ALL)
  assert.ok(found.length < ENTRIES / 2, `${found.length} by chance in the same bucket`)
  const gone = new Set(ids)
  assert.deepEqual(
    found.filter((id) => gone.has(id)),
    [],
  )
})
