// Text that people and logs read, without what looks like a replication key: one that was pasted into the wrong place
// must not come back in the error about it.

/** Stands where a key stood. */
export const HIDDEN_KEY = '<hidden: looks like a key>'

/** A run of base64 digits that is at least as long as a key of 32 bytes with its padding and one or two digits lost. */
const LONG_BASE64 = /(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{40,}(={0,2})/g
/** A key that lost its padding, or one digit more. Longer or shorter runs without padding are paths or words. */
const UNPADDED_LENGTHS = [42, 43]

/**
 * The text with every base64 run of a key's length replaced. A run without padding is hidden only when it has capital and
 * small letters, as hexadecimal digits and most paths do not.
 */
export function hideKeys(text: string): string {
  return text.replace(LONG_BASE64, (run: string, padding: string) =>
    padding !== '' || isUnpaddedKey(run) ? HIDDEN_KEY : run,
  )
}

function isUnpaddedKey(run: string): boolean {
  return UNPADDED_LENGTHS.includes(run.length) && /[A-Z]/.test(run) && /[a-z]/.test(run)
}
