// Converts the caches of a uWSGI file: the one that the older option `cache` creates, and those of `cache2`.

import { MAX_BLOCKSIZE, MAX_KEYSIZE } from '../store/limits.ts'
import {
  type CacheSpec,
  DEFAULT_BLOCKSIZE,
  DEFAULT_KEYSIZE,
  LEGACY_CACHE,
  parseCacheSpec,
  readFlag,
} from './ini.ts'
import type { ConversionDraft } from './options.ts'

/** Length of a session ID of OpenSSL. */
const SESSION_ID_BYTES = 32
/** Size of the smallest encoded session, one of TLS 1.2 without a client certificate. */
const SMALLEST_SESSION_BYTES = 121
const DEFAULT_TIMEOUT_SEC = 300
/** Longest lifetime in a cache that holds no TLS sessions: the longest that any cache may have. */
const LONGEST = '7d'

export interface ConvertedCache {
  readonly spec: CacheSpec
  readonly timeout: string
  readonly full: 'evict' | 'refuse'
  /** True when this cache sends changes to nodes or receives them, and also when no cache of the file does. */
  readonly isReplicated: boolean
}

export interface ConvertedCaches {
  /** The caches sorted by name, with the one of the older options first. */
  readonly list: readonly ConvertedCache[]
  /** Name of the cache that holds TLS sessions, or undefined when none does. */
  readonly sslCache: string | undefined
  readonly sslTimeoutSec: number
}

export function convertCaches(
  draft: ConversionDraft,
  nearest: (word: string, known: readonly string[]) => string,
): ConvertedCaches {
  const specs = [...legacyCache(draft)]
  for (const option of draft.all('cache2')) {
    const { spec, notes, problems } = parseCacheSpec(option, nearest)
    for (const { where, message } of problems) draft.report({ ...option, where }, message)
    for (const { option: name, where, why } of notes) draft.note(name, where, why)
    if (problems.length > 0) continue
    const isDouble = specs.some(({ name }) => name === spec.name)
    if (isDouble) draft.report(option, `there are two caches with the name "${spec.name}"`)
    else specs.push(spec)
  }
  specs.sort(byName)
  const sslCache = sslCacheOf(draft, specs)
  const sslTimeoutSec = draft.number('ssl-sessions-timeout', DEFAULT_TIMEOUT_SEC)
  const isAnyReplicated = specs.some(isJoined)
  const list = specs.map((spec, index) => {
    for (const key of ['name', 'items', 'keysize', 'blocksize']) {
      draft.place(['caches', index, key], spec.where)
    }
    const isSsl = spec.name === sslCache
    const timeoutOption = draft.one('ssl-sessions-timeout')
    if (isSsl) draft.place(['caches', index, 'timeout'], timeoutOption?.where ?? spec.where)
    return {
      spec: withinLimits(draft, spec),
      timeout: isSsl ? `${sslTimeoutSec}s` : LONGEST,
      full: spec.purgeLru ? ('evict' as const) : ('refuse' as const),
      isReplicated: isJoined(spec) || !isAnyReplicated,
    }
  })
  return { list, sslCache, sslTimeoutSec }
}

function legacyCache(draft: ConversionDraft): readonly CacheSpec[] {
  const cache = draft.one('cache')
  if (cache !== undefined) {
    return [
      {
        name: LEGACY_CACHE,
        items: draft.number('cache', 0),
        keysize: DEFAULT_KEYSIZE,
        blocksize: draft.number('cache-blocksize', DEFAULT_BLOCKSIZE),
        nodes: draft.all('cache-udp-node').map(({ value }) => value),
        udp: draft.all('cache-udp-server').map(({ value }) => value),
        purgeLru: false,
        where: cache.where,
      },
    ]
  }
  for (const name of ['cache-blocksize', 'cache-udp-server', 'cache-udp-node'] as const) {
    const option = draft.one(name)
    if (option !== undefined)
      draft.report(option, 'is for the cache of the option `cache`, which is missing')
  }
  return []
}

function sslCacheOf(draft: ConversionDraft, specs: readonly CacheSpec[]): string | undefined {
  const option = draft.one('ssl-sessions-use-cache')
  if (option === undefined) {
    for (const name of ['ssl-sessions-timeout', 'https-session-context'] as const) {
      const idle = draft.one(name)
      if (idle === undefined) continue
      draft.note(name, idle.where, 'without ssl-sessions-use-cache no cache holds TLS sessions')
    }
    return undefined
  }
  const isOn = readFlag(option.value)
  if (isOn === false) return undefined
  const name = isOn === true ? LEGACY_CACHE : option.value
  const spec = specs.find((one) => one.name === name)
  if (spec === undefined) {
    const missing = isOn === true ? 'no cache of the option `cache`' : `no cache "${name}"`
    draft.report(option, `there is ${missing}`)
    return undefined
  }
  if (spec.keysize < SESSION_ID_BYTES) {
    draft.report(
      spec,
      `keysize ${spec.keysize} of cache "${name}" is too small: session IDs have ${SESSION_ID_BYTES} bytes`,
    )
  }
  if (spec.blocksize < SMALLEST_SESSION_BYTES) {
    draft.report(
      spec,
      `blocksize ${spec.blocksize} of cache "${name}" is too small for any session: the smallest has ${SMALLEST_SESSION_BYTES} bytes`,
    )
  }
  return name
}

/** Lowers keysize and blocksize to our limits, which are smaller than uWSGI's and far above what sessions need. */
function withinLimits(draft: ConversionDraft, spec: CacheSpec): CacheSpec {
  const { name, where } = spec
  const limit = (key: 'keysize' | 'blocksize', max: number, fallback: number) => {
    if (spec[key] <= max || spec[key] === fallback) return Math.min(spec[key], max)
    draft.note(`${key} of cache "${name}"`, where, `the largest here is ${max}: it is taken`)
    return max
  }
  return {
    ...spec,
    keysize: limit('keysize', MAX_KEYSIZE, DEFAULT_KEYSIZE),
    blocksize: limit('blocksize', MAX_BLOCKSIZE, DEFAULT_BLOCKSIZE),
  }
}

function isJoined({ nodes, udp }: CacheSpec): boolean {
  return nodes.length > 0 || udp.length > 0
}

function byName(a: CacheSpec, b: CacheSpec): number {
  if (a.name === LEGACY_CACHE || b.name === LEGACY_CACHE) return a.name === LEGACY_CACHE ? -1 : 1
  return a.name < b.name ? -1 : 1
}
