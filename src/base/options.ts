// Checks what callers of the library give it. Programs in JavaScript have no compiler that sees a misspelled option, and
// one that is passed over in silence shows only as sessions that do not resume.

import { TlscachedError } from './errors.ts'

/** The longest deadline that a caller may set, in milliseconds. */
export const MAX_DEADLINE_MS = 60_000

/** The error ERR_USAGE, which names the function that was called. */
export function usageError(caller: string, message: string): TlscachedError {
  return new TlscachedError('ERR_USAGE', `${caller}: ${message}`)
}

/** Throws ERR_USAGE when `options` is no object, or has an option that is not in `names`. */
export function checkOptions(caller: string, options: unknown, names: ReadonlySet<string>): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw usageError(caller, 'the options must be an object')
  }
  const unknown = Object.keys(options).find((name) => !names.has(name))
  if (unknown === undefined) return
  const known = [...names].join(', ')
  throw usageError(caller, `unknown option "${unknown}"; there are ${known}`)
}

/** Throws ERR_USAGE unless `deadlineMs` is a number above 0, and at most MAX_DEADLINE_MS. */
export function checkDeadline(caller: string, deadlineMs: unknown): void {
  if (typeof deadlineMs === 'number' && deadlineMs > 0 && deadlineMs <= MAX_DEADLINE_MS) return
  throw usageError(
    caller,
    `deadlineMs must be a number of milliseconds, above 0 and at most ${MAX_DEADLINE_MS}`,
  )
}

/** Throws ERR_USAGE unless the value has all of these methods; `what` says what it should be, and where it comes from. */
export function checkMethods(
  caller: string,
  value: unknown,
  methods: readonly string[],
  what: string,
): void {
  const isObject = typeof value === 'object' && value !== null
  const hasAll = isObject && methods.every((name) => typeof Reflect.get(value, name) === 'function')
  if (!hasAll) throw usageError(caller, what)
}
