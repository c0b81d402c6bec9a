// memcached's expiration times as lifetimes.

/** Above 30 days it is an absolute time in seconds since 1970: protocol.txt, "Expiration times". */
const MAX_RELATIVE_SEC = 2_592_000

/**
 * Lifetime in milliseconds; undefined for 0, which asks for the longest there is. Not positive for a time
 * that is past already.
 */
export function toTtlMs(expirySec: number, wallMs: number): number | undefined {
  if (expirySec === 0) return undefined
  return expirySec > MAX_RELATIVE_SEC ? expirySec * 1000 - wallMs : expirySec * 1000
}
