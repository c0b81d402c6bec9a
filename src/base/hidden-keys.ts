// Hides what looks like a replication key in text for people and logs: a key that was pasted into the wrong place must
// not come back in the error message about it.

/** Replaces a key in a text. */
export const HIDDEN_KEY = '<hidden: looks like a key>'

/** A run of base64 digits with its padding, if any. A key of 32 bytes has 43 digits; up to three may have been lost. */
const LONG_BASE64 = /(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{40,}(={0,2})/g
/** Digits of a key that lost its padding, and perhaps one digit. Other runs without padding are paths or words. */
const UNPADDED_LENGTHS = [42, 43]

/**
 * Returns the text with every run that looks like a key replaced by HIDDEN_KEY. A run without padding is replaced only
 * when it has both capital and small letters, which hexadecimal digits and most paths do not have.
 */
export function hideKeys(text: string): string {
  return text.replace(LONG_BASE64, (run: string, padding: string) =>
    padding !== '' || isUnpaddedKey(run) ? HIDDEN_KEY : run,
  )
}

function isUnpaddedKey(run: string): boolean {
  return UNPADDED_LENGTHS.includes(run.length) && /[A-Z]/.test(run) && /[a-z]/.test(run)
}
