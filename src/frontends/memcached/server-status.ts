// The answers to `stats`, under memcached's own names, so that its tools, exporters and dashboards work. Counters of
// commands are those of this frontend, counters of items those of the cache.

import type { Clock } from '../../base/world.ts'
import type { ContextlessHooks } from '../../hooks/contextless-hooks.ts'
import type { MemcachedStats } from './stats.ts'

/** The version by which clients know the commands, here those of memcached 1.6. Some accept only three numbers. */
export const SERVER_VERSION = '1.6.0'

const US_PER_SEC = 1_000_000

export type StatLine = readonly [name: string, value: string | number]

/** The process that answers, for `stats`. */
export interface ServerProcess {
  readonly pid: number
  /** Processor time so far, in microseconds. */
  cpuUsage(): { readonly user: number; readonly system: number }
}

export interface ServerStatusOptions {
  readonly clock: Clock
  readonly maxConnections: number
  readonly process: ServerProcess
}

export class ServerStatus {
  readonly #hooks: ContextlessHooks
  readonly #stats: MemcachedStats
  readonly #options: ServerStatusOptions
  readonly #startMs: number

  constructor(hooks: ContextlessHooks, stats: MemcachedStats, options: ServerStatusOptions) {
    this.#hooks = hooks
    this.#stats = stats
    this.#options = options
    this.#startMs = options.clock.monotonicMs()
  }

  /** Returns a group of statistics; undefined when unknown. `reset` resets nothing: others rely on the counters. */
  lines(group: string): readonly StatLine[] | undefined {
    switch (group) {
      case '':
        return this.#general()
      case 'settings':
        return this.#settings()
      case 'items':
        return this.#items()
      case 'slabs':
        return this.#slabs()
      case 'sizes':
        return [['sizes_status', 'disabled']]
      case 'conns':
      // This asks for the keys of one class of items, which are not listed: the key of a session reveals its ID.
      case 'cachedump':
      case 'reset':
        return []
      default:
        return undefined
    }
  }

  #general(): StatLine[] {
    const { clock, maxConnections, process } = this.#options
    const stats = this.#stats
    const store = this.#hooks.storeStats
    const { puts, gets } = store
    const { user, system } = process.cpuUsage()
    return [
      ['pid', process.pid],
      ['uptime', Math.floor((clock.monotonicMs() - this.#startMs) / 1000)],
      ['time', Math.floor(clock.wallMs() / 1000)],
      ['version', SERVER_VERSION],
      ['pointer_size', 64],
      ['rusage_user', (user / US_PER_SEC).toFixed(6)],
      ['rusage_system', (system / US_PER_SEC).toFixed(6)],
      ['max_connections', maxConnections],
      ['curr_connections', stats.connections],
      ['total_connections', stats.totalConnections],
      ['rejected_connections', stats.rejectedConnections],
      ['connection_structures', stats.connections],
      ['idle_kicks', stats.timedOutConnections],
      ['cmd_get', stats.gets],
      ['cmd_set', stats.puts],
      ['cmd_flush', stats.flushes],
      ['cmd_touch', stats.touches],
      ['get_hits', stats.getHits],
      ['get_misses', stats.gets - stats.getHits],
      ['get_expired', gets.expired],
      ['delete_hits', stats.removeHits],
      ['delete_misses', stats.removes - stats.removeHits],
      ['incr_hits', stats.incrementHits],
      ['incr_misses', stats.increments - stats.incrementHits],
      ['decr_hits', stats.decrementHits],
      ['decr_misses', stats.decrements - stats.decrementHits],
      ['cas_hits', stats.casHits],
      ['cas_misses', stats.casMisses],
      ['cas_badval', stats.casMismatches],
      ['touch_hits', stats.touchHits],
      ['touch_misses', stats.touches - stats.touchHits],
      ['store_too_large', puts.blocksize],
      ['store_no_memory', puts.full],
      ['bytes_read', stats.bytesRead],
      ['bytes_written', stats.bytesWritten],
      ['limit_maxbytes', this.#maxBytes()],
      ['accepting_conns', 1],
      ['threads', 1],
      ['bytes', store.storedBytes],
      ['curr_items', store.items],
      ['total_items', puts.stored + puts.replaced],
      ['expired_unfetched', 0],
      ['evicted_unfetched', 0],
      ['evictions', store.evicted],
      ['reclaimed', store.expired],
    ]
  }

  #settings(): StatLine[] {
    const { full, blocksize, items, keysize, name } = this.#hooks.limits
    return [
      ['maxbytes', this.#maxBytes()],
      ['maxconns', this.#options.maxConnections],
      ['evictions', full === 'evict' ? 'on' : 'off'],
      ['item_size_max', blocksize],
      ['num_threads', 1],
      ['cas_enabled', 'yes'],
      ['flush_enabled', 'yes'],
      ['binding_protocol', 'auto-negotiate'],
      ['cache', name],
      ['items', items],
      ['keysize', keysize],
    ]
  }

  /** Reports all items as one class: the sizes of blocks in the arena are internal. */
  #items(): StatLine[] {
    const { items, evicted, expired, puts } = this.#hooks.storeStats
    if (items === 0) return []
    return [
      ['items:1:number', items],
      ['items:1:evicted', evicted],
      ['items:1:reclaimed', expired],
      ['items:1:outofmemory', puts.full],
    ]
  }

  #slabs(): StatLine[] {
    const { items, arenaBytes, storedBytes } = this.#hooks.storeStats
    const { blocksize, items: most } = this.#hooks.limits
    const active: StatLine[] = [
      ['active_slabs', items === 0 ? 0 : 1],
      ['total_malloced', arenaBytes],
    ]
    if (items === 0) return active
    return [
      ['1:chunk_size', blocksize],
      ['1:total_chunks', most],
      ['1:used_chunks', items],
      ['1:free_chunks', most - items],
      ['1:mem_requested', storedBytes],
      ['1:get_hits', this.#stats.getHits],
      ['1:cmd_set', this.#stats.puts],
      ...active,
    ]
  }

  #maxBytes(): number {
    const { items, blocksize } = this.#hooks.limits
    return items * blocksize
  }
}
