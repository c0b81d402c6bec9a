// Finds the known word that an unknown one was most likely meant to be.

import { distance } from 'fastest-levenshtein'

/** Returns the most edits between a word and what it was meant to be; two swapped letters are two edits. */
function mostEdits(word: string): number {
  return word.length < 5 ? 1 : Math.max(2, Math.floor(word.length / 3))
}

/** Returns the candidate with the fewest edits, the first of equals; '' when none is near. */
export function nearest(word: string, candidates: readonly string[]): string {
  let best = ''
  let fewest = Number.POSITIVE_INFINITY
  for (const candidate of candidates) {
    const edits = distance(word.toLowerCase(), candidate.toLowerCase())
    if (edits >= fewest) continue
    best = candidate
    fewest = edits
  }
  return fewest <= mostEdits(word) ? best : ''
}
