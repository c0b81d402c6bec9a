// What joining costs as the cache grows: a new node, a process that has just begun, copies all that another
// one holds.

import { withCluster } from './cluster.ts'
import { GENERATOR_CPU, SERVER_CPU } from './pinned.ts'

export interface SnapshotSize {
  readonly entries: number
  /** From its start until the node holds everything and says so, one figure a round. */
  readonly tookSec: readonly number[]
}

export async function measureSnapshot(entries: number, isQuick: boolean): Promise<SnapshotSize> {
  const joiners = isQuick ? 1 : 5
  const tookSec: number[] = []
  const cpus = [SERVER_CPU, ...Array.from({ length: joiners }, () => GENERATOR_CPU)]
  await withCluster({ items: entries, cpus }, async ([source, ...others], start) => {
    await start(0)
    await source?.order({ kind: 'fill', count: entries })
    for (const [index, joiner] of others.entries()) {
      const { items, tookMs } = await start(index + 1)
      if (items !== entries) throw new Error(`${items} of ${entries} entries were copied`)
      tookSec.push(tookMs / 1000)
      // The next one finds the first again, and nobody else.
      await joiner.stop()
    }
  })
  return { entries, tookSec }
}
