// A histogram of durations: plain counters in fixed buckets, exported elsewhere.

/** Upper bounds in seconds, from a lookup in memory to a stalled event loop. */
export const DURATION_BOUNDS_SEC: readonly number[] = [
  1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1,
  0.25, 0.5, 1, 2.5,
]

export class DurationHistogram {
  /** Observations per bucket, not cumulative; the last bucket has those above every bound. */
  readonly counts = new Float64Array(DURATION_BOUNDS_SEC.length + 1)
  sumSec = 0
  count = 0

  /** Records `times` equal durations at once. */
  observe(durationMs: number, times = 1): void {
    const durationSec = durationMs / 1000
    let bucket = 0
    while (
      bucket < DURATION_BOUNDS_SEC.length &&
      durationSec > (DURATION_BOUNDS_SEC[bucket] ?? 0)
    ) {
      bucket += 1
    }
    this.counts[bucket] = (this.counts[bucket] ?? 0) + times
    this.sumSec += durationSec * times
    this.count += times
  }
}
