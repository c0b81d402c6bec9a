// Checks whether the caches fit into this process: into V8's heap, which holds the index, and into what the system
// lets the process have. A process that passes either limit dies in the middle of its work, with all its sessions.

import { INDEX_BYTES, INDEX_HEAP_BYTES } from '../store/limits.ts'
import { maxRecordBytes } from '../store/record.ts'
import type { CacheConfig } from './config.ts'

/** Share of V8's heap that the index may take; the program itself and new garbage need the rest. */
const HEAP_SHARE = 0.75
/** Memory of a node without a session: program, libraries, sockets and their buffers. */
const PROCESS_BYTES = 150 * 1024 ** 2
const MIB = 1024 ** 2

export interface MemoryLimits {
  /** Largest size of V8's heap: its `heap_size_limit`. */
  readonly heapBytes: number
  /** Memory limit of the cgroup or the machine; 0 when there is none. */
  readonly systemBytes: number
}

export interface MemoryPlan {
  /** The caches, with no more items than there is room for. */
  readonly caches: readonly CacheConfig[]
  /** Most bytes that the whole process takes. */
  readonly maxBytes: number
  /** Sentences for the log. */
  readonly warnings: readonly string[]
}

export function planMemory(caches: readonly CacheConfig[], limits: MemoryLimits): MemoryPlan {
  const warnings: string[] = []
  const fitted = fitIntoHeap(caches, limits.heapBytes, warnings)
  const maxBytes = PROCESS_BYTES + sum(fitted.map(maxCacheBytes))
  const { systemBytes } = limits
  if (systemBytes > 0 && maxBytes > systemBytes) {
    const message = `the caches may make this process take ${mib(maxBytes)} MiB, the system allows it ${mib(systemBytes)} MiB (memory limit of the cgroup or machine) and would kill it: set caches[].memory`
    warnings.push(message)
  }
  return { caches: fitted, maxBytes, warnings }
}

/**
 * Lowers the items of the caches when their index does not fit into V8's heap. Otherwise V8 would end the process
 * before all of them are held, however much memory the machine has.
 */
function fitIntoHeap(
  caches: readonly CacheConfig[],
  heapBytes: number,
  warnings: string[],
): readonly CacheConfig[] {
  const neededBytes = sum(caches.map(({ limits }) => limits.items)) * INDEX_HEAP_BYTES
  const share = (heapBytes * HEAP_SHARE) / neededBytes
  if (share >= 1) return caches
  const askedMib = mib(neededBytes / HEAP_SHARE)
  return caches.map((cache) => {
    const { name, items: asked } = cache.limits
    const items = Math.max(1, Math.floor(asked * share))
    warnings.push(
      `caches[].items: cache "${name}" holds ${items} instead of ${asked}, as V8's heap of ${mib(heapBytes)} MiB has no room for a larger index: start with NODE_OPTIONS=--max-old-space-size=${askedMib}`,
    )
    return { ...cache, limits: { ...cache.limits, items } }
  })
}

function maxCacheBytes({ limits }: CacheConfig): number {
  return limits.memoryBytes ?? limits.items * INDEX_BYTES + maxRecordBytes(limits)
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0)
}

function mib(bytes: number): number {
  return Math.ceil(bytes / MIB)
}
