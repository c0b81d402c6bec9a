// Reports everything that is wrong with a configuration at once, each problem with its place and its key.

import { TlscachedError } from '../base/errors.ts'

/** One mistake in a configuration. */
export interface ConfigProblem {
  /** Where the mistake is: `file:line:column`, the environment variable, the flag, or `config` for an object. */
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

export function formatProblem({ where, key, message }: ConfigProblem): string {
  return [where, key, message].filter((part) => part !== '').join(': ')
}
