// Reports everything that is wrong with a configuration at once, each problem with its place and its key.

import { distance } from 'fastest-levenshtein'
import { TlscachedError } from '../base/errors.ts'

/** One mistake in a configuration. */
export interface ConfigProblem {
  /**
   * Where the mistake is: `file:line:column`, the environment variable, the flag, or `config` for an object; empty when
   * the code that found it sees only the value.
   */
  readonly where: string
  /** The setting, dotted, as in `caches[0].items`; empty when the mistake is about the whole. */
  readonly key: string
  /** What is wrong, with the bounds or the nearest known key. */
  readonly message: string
}

/** A configuration that is not valid, code ERR_CONFIG: its message has one line for each of `problems`. */
export class ConfigError extends TlscachedError {
  /** Every mistake, in the order of their places. */
  readonly problems: readonly ConfigProblem[]

  constructor(problems: readonly ConfigProblem[]) {
    super('ERR_CONFIG', problems.map(formatProblem).join('\n'))
    this.problems = problems
  }
}

/** Returns the error for a single setting, found by code that does not know where the setting was written. */
export function settingError(key: string, message: string): ConfigError {
  return new ConfigError([{ where: '', key, message }])
}

export function formatProblem({ where, key, message }: ConfigProblem): string {
  return [where, key, message].filter((part) => part !== '').join(': ')
}

// Finds the known word that an unknown one was most likely meant to be.

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
