// One cache with its hooks, on a clock that stands still or on the real one.

import { silentLogger, systemClock } from '../../src/base/world.ts'
import { ContextlessHooks } from '../../src/hooks/contextless-hooks.ts'
import type { CacheLimits } from '../../src/store/limits.ts'
import { SessionStore } from '../../src/store/session-store.ts'
import { VersionClock } from '../../src/store/versions.ts'
import { FakeClock } from './fake-clock.ts'
import { RecordingLogger } from './recording-logger.ts'

export interface CacheFixture {
  readonly clock: FakeClock
  readonly logger: RecordingLogger
  readonly store: SessionStore
  readonly hooks: ContextlessHooks
}

export function createCacheFixture(
  limits: Partial<CacheLimits> = {},
  singleUse = false,
  clock = new FakeClock(),
  origin = 1,
): CacheFixture {
  const logger = new RecordingLogger()
  const store = new SessionStore(
    {
      name: 'ssl',
      items: 100,
      keysize: 250,
      blocksize: 4096,
      timeoutMs: 3_600_000,
      full: 'evict',
      ...limits,
    },
    { clock, versions: new VersionClock(clock), origin, seed: Buffer.from('seed'), logger },
  )
  return { clock, logger, store, hooks: new ContextlessHooks(store, { clock, logger, singleUse }) }
}

/** One cache on the real clock, for real TLS connections: OpenSSL reads that clock, too. */
export function createLiveCache(singleUse = false): {
  store: SessionStore
  hooks: ContextlessHooks
} {
  const clock = systemClock
  const store = new SessionStore(
    { name: 'ssl', items: 100, keysize: 32, blocksize: 4096, timeoutMs: 300_000, full: 'evict' },
    { clock, versions: new VersionClock(clock), origin: 1, seed: Buffer.from('seed') },
  )
  return { store, hooks: new ContextlessHooks(store, { clock, logger: silentLogger, singleUse }) }
}
