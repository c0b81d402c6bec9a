// Converts memcached's expiration times to lifetimes.

/** 30 days. A larger number is an absolute time in seconds since 1970 (protocol.txt, "Expiration times"). */
const MAX_RELATIVE_SEC = 2_592_000

/**
 * Returns the lifetime in milliseconds: undefined for 0, which asks for the longest, and 0 or less for a time in the
 * past.
 */
export function toTtlMs(expirySec: number, wallMs: number): number | undefined {
  if (expirySec === 0) return undefined
  return expirySec > MAX_RELATIVE_SEC ? expirySec * 1000 - wallMs : expirySec * 1000
}
