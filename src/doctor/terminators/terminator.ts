// What doctor reads of a TLS terminator, in one form for all kinds of them.

import type { Machine, Process } from '../machine.ts'

export const KINDS = ['Apache', 'nginx', 'HAProxy', 'stunnel', 'h2o'] as const
export type Kind = (typeof KINDS)[number]

/** One TLS server of a terminator: a virtual host, a service, a bind line. */
export interface TlsServer {
  readonly name: string
  /** Where the keys of tickets come from: a file, memcached, keys of its own, or no tickets at all. */
  readonly tickets: 'off' | 'own' | 'memcached' | { readonly file: string }
  /** Files of keys that only open tickets, where the configuration names them. */
  readonly openers?: readonly string[]
  /** Session ID context in bytes, where the configuration tells it. */
  readonly context?: Buffer
  /** Whether the context would be that of the machine's name, and so another one on each machine. */
  readonly isNameless?: boolean
}

/** Where a terminator keeps sessions: nowhere, in itself, or in a program that it asks at these addresses. */
export type SessionCache =
  | { readonly kind: 'none' | 'own'; readonly text: string }
  | {
      readonly kind: 'asked'
      readonly frontend: 'memcached' | 'sessiond'
      readonly at: readonly string[]
    }

export interface Terminator {
  readonly kind: Kind
  /** Its configuration. */
  readonly file: string
  readonly servers: readonly TlsServer[]
  readonly cache: SessionCache
  /** User IDs of the processes that shake hands. */
  readonly uids: readonly number[]
  /** Sockets over which HAProxy shows its ticket keys. */
  readonly keySockets?: readonly string[]
}

/** A terminator that runs, and how to read its files. */
export interface Running {
  readonly kind: Kind
  readonly main: Process
  readonly workers: readonly Process[]
  readonly machine: Machine
}

/** Returns the user IDs of the processes that shake hands: the workers, or the main process where it has none. */
export function uidsOf({ main, workers }: Running): readonly number[] {
  return [...new Set((workers.length === 0 ? [main] : workers).map(({ uid }) => uid))]
}

/**
 * Expands a pattern of file names (`*`, `?`, `[...]`) as in an include; a pattern without a file gives nothing, a
 * path without a pattern itself.
 */
export function expand(machine: Machine, pattern: string): readonly string[] {
  const [root = '', ...parts] = pattern.split('/')
  return parts.reduce<readonly string[]>(
    (folders, part) => {
      if (!/[*?[]/.test(part)) return folders.map((folder) => `${folder}/${part}`)
      const name = matcherOf(part)
      return folders.flatMap((folder) =>
        machine
          .list(folder === '' ? '/' : folder)
          // Only a pattern that begins with a dot finds hidden files, which is what a shell does.
          .filter((one) => name.test(one) && (part.startsWith('.') || !one.startsWith('.')))
          .map((one) => `${folder}/${one}`),
      )
    },
    [root],
  )
}

function matcherOf(pattern: string): RegExp {
  const text = pattern.replace(/\*|\?|\[[^\]]*\]|[^*?[]/g, (part) => {
    if (part === '*') return '.*'
    if (part === '?') return '.'
    return part.startsWith('[') ? part.replace(/^\[!/, '[^') : part.replace(/\W/, '\\$&')
  })
  return new RegExp(`^${text}$`)
}

/** Splits a line into words as shells and most configurations do: blanks separate, quotes and backslashes protect. */
export function wordsOf(line: string): readonly string[] {
  const words = line.match(/"(?:[^"\\]|\\.)*"|'[^']*'|(?:\\.|[^\s"'\\])+/g) ?? []
  return words.map((word) => word.replace(/^(["'])(.*)\1$/s, '$2').replace(/\\(.)/g, '$1'))
}

/** Returns the value that follows one of these flags among the arguments, as in `-f FILE` and `-fFILE`. */
export function argumentOf(
  args: readonly string[],
  ...flags: readonly string[]
): string | undefined {
  for (const [index, arg] of args.entries()) {
    for (const flag of flags) {
      if (arg === flag) return args[index + 1]
      if (arg.startsWith(`${flag}=`)) return arg.slice(flag.length + 1)
      const isShort = flag.length === 2 && arg.startsWith(flag)
      if (isShort && arg.length > 2) return arg.slice(2)
    }
  }
  return undefined
}
