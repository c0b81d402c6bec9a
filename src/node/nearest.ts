// The known word that an unknown one was most likely meant to be.

import { distance } from 'fastest-levenshtein'

/** The candidate with the fewest edits between, the first of equals; empty when there is none. */
export function nearest(word: string, candidates: readonly string[]): string {
  let best = ''
  let fewest = Number.POSITIVE_INFINITY
  for (const candidate of candidates) {
    const edits = distance(word.toLowerCase(), candidate.toLowerCase())
    if (edits >= fewest) continue
    best = candidate
    fewest = edits
  }
  return best
}
