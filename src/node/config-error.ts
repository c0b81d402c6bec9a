// What is wrong with a configuration: every problem at once, each with its place and its key.

import { TlscachedError } from '../base/errors.ts'

export interface ConfigProblem {
  /** `file:line:column`, the environment variable, the flag, or `config` for an object. */
  readonly where: string
  /** Dotted, as in `caches[0].items`; empty when the problem is with the whole. */
  readonly key: string
  readonly message: string
}

export class ConfigError extends TlscachedError {
  readonly problems: readonly ConfigProblem[]

  constructor(problems: readonly ConfigProblem[]) {
    super('ERR_CONFIG', problems.map(formatProblem).join('\n'))
    this.problems = problems
  }
}

export function formatProblem({ where, key, message }: ConfigProblem): string {
  return [where, key, message].filter((part) => part !== '').join(': ')
}
