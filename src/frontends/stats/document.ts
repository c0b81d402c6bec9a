// The document of the stats frontend. Whatever reads uWSGI's finds its fields with their meaning, and
// those of this program behind them.

import {
  type CacheStatus,
  describeCache,
  describePeer,
  describeReadiness,
  describeReplication,
  describeSync,
} from '../node-status.ts'
import type { StatsBackend } from './backend.ts'

/** Of the index, which grows with what is held: it has no number of buckets of its own. */
const HASH = 'fibonacci'

export interface ProcessFacts {
  readonly version: string
  readonly pid: number
}

/** One JSON document with a newline at its end. */
export function formatStats(backend: StatsBackend, { version, pid }: ProcessFacts): string {
  const document = {
    version: `tlscached-${version}`,
    pid,
    caches: [...backend.caches.values()].map(describe),
    node: backend.nodeName,
    ...describeReadiness(backend.readiness()),
    replication: describeReplication(backend.replicationStats()),
    sync: describeSync(backend.syncStatus()),
    peers: backend.peers().map(describePeer),
  }
  return `${JSON.stringify(document, null, 1)}\n`
}

function describe(cache: CacheStatus) {
  const { limits, stats } = cache
  const { hit, ...misses } = stats.gets
  const { name, items, keysize, blocksize } = limits
  return {
    name,
    hash: HASH,
    hashsize: items,
    keysize,
    max_items: items,
    blocks: items,
    blocksize,
    items: stats.items,
    hits: hit,
    // A session that is over, or another context's, was given to nobody.
    miss: Object.values(misses).reduce((sum, count) => sum + count, 0),
    // As there: puts that found no room, whether refused or made room for.
    full: stats.puts.full + stats.evicted,
    last_modified_at: Math.floor(stats.changedWallMs / 1000),
    // Behind them, without those that are there already.
    ...ownFieldsOf(cache),
  }
}

function ownFieldsOf(cache: CacheStatus) {
  const {
    name: _name,
    items: _items,
    keysize: _keysize,
    blocksize: _blocksize,
    full,
    ...own
  } = describeCache(cache)
  return { ...own, when_full: full }
}
