// The document of the stats frontend. Programs that read uWSGI's document find its fields here with the same meaning;
// the fields of this program follow them.

import {
  type CacheStatus,
  describeCache,
  describePeer,
  describeReadiness,
  describeReplication,
  describeSync,
} from '../node-status.ts'
import type { StatsBackend } from './backend.ts'

/** Value of the field `hash`. `hashsize` is the limit of items, as the index has no fixed number of buckets. */
const HASH = 'fibonacci'

export interface ProcessFacts {
  readonly version: string
  readonly pid: number
}

/** Returns one JSON document with a newline at its end. */
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
    // An expired session and one of another context count as misses, since they were not returned.
    miss: Object.values(misses).reduce((sum, count) => sum + count, 0),
    // As in uWSGI: puts that found no room, whether they were refused or evicted another session.
    full: stats.puts.full + stats.evicted,
    last_modified_at: Math.floor(stats.changedWallMs / 1000),
    // The fields of this program follow, without those that are above already.
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
