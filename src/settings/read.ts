// Reads settings from their sources in the order of their strength, and checks them by a schema.

import type { z } from 'zod'
import { ConfigError, nearest } from './errors.ts'
import { type ConfigPath, formatPath, isStandalone, knownKeys, type Setting } from './schema.ts'
import {
  addConverted,
  addEnvironment,
  addFile,
  addFlags,
  ConfigTree,
  type ConvertedConfig,
  type Flags,
} from './sources.ts'

export interface SettingSources {
  /** Path of a YAML file. */
  readonly file?: string | undefined
  /** A converted file of another program, in place of `file`. */
  readonly converted?: ConvertedConfig | undefined
  readonly environment?: Readonly<Record<string, string | undefined>>
  readonly flags?: Flags
}

/**
 * Returns what was written: the file, or the converted one, under the environment under the flags. Variables begin with
 * `prefix`, by default with that of a node.
 */
export function readSources(
  sources: SettingSources,
  settings: readonly Setting[],
  prefix?: string,
): ConfigTree {
  const { file, converted, environment, flags } = sources
  const tree = new ConfigTree()
  const standalone = settings.filter(isStandalone)
  if (file !== undefined) addFile(tree, file)
  if (converted !== undefined) addConverted(tree, converted)
  if (environment !== undefined) addEnvironment(tree, standalone, environment, prefix)
  if (flags !== undefined) addFlags(tree, standalone, flags)
  return tree
}

/**
 * Checks what was written. Throws a ConfigError with every mistake, those that were reported to the tree before
 * included, in the order of their places.
 */
export function parseTree<Schema extends z.ZodType>(
  tree: ConfigTree,
  schema: Schema,
  settings: readonly Setting[],
): z.output<Schema> {
  const parsed = schema.safeParse(tree.root)
  for (const issue of parsed.error?.issues ?? []) {
    if (issue.code === 'unrecognized_keys') {
      for (const name of issue.keys) reportUnknown(tree, schema, settings, [...issue.path, name])
    } else if (issue.code !== 'custom' && isMissing(tree, issue.path)) {
      tree.report(issue.path, 'is required')
    } else tree.report(issue.path, issue.message)
  }
  if (parsed.data === undefined || tree.problems.length > 0) {
    throw new ConfigError(tree.problems.toSorted(byPlace))
  }
  return parsed.data
}

/** Runs `check`. When it throws a ConfigError, adds the places where its settings were written. */
export function withPlaces<Value>(tree: ConfigTree, check: () => Value): Value {
  try {
    return check()
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    throw new ConfigError(
      error.problems.map(({ where, key, message }) => ({
        where: where === '' ? tree.placeOf([key]) : where,
        key,
        message,
      })),
    )
  }
}

function reportUnknown(
  tree: ConfigTree,
  schema: z.ZodType,
  settings: readonly Setting[],
  path: ConfigPath,
): void {
  const section = path.slice(0, -1)
  const name = String(path.at(-1))
  // For example, `http: ...` at the top was meant to be `frontends.http`.
  const elsewhere = settings.find((setting) => setting.key.endsWith(`.${name}`))
  const near = nearest(name, knownKeys(schema, section))
  const known = elsewhere?.key ?? (near && formatPath([...section, near]))
  tree.report(path, `unknown key${known && `; the nearest known one is ${known}`}`)
}

function isMissing(tree: ConfigTree, path: ConfigPath): boolean {
  let value: unknown = tree.root
  for (const part of path) {
    if (typeof value !== 'object' || value === null) return false
    value = Reflect.get(value, part)
  }
  return value === undefined || value === null
}

/** Sorts problems in the order in which an editor would visit them. */
function byPlace(a: { where: string }, b: { where: string }): number {
  return a.where.localeCompare(b.where, 'en', { numeric: true })
}

/** Freezes plain objects and lists, at every depth. Bytes cannot be frozen, and a keyring has nothing to change. */
export function deepFreeze<Value>(value: Value): Value {
  const isPlain =
    Array.isArray(value) ||
    (typeof value === 'object' &&
      value !== null &&
      Object.getPrototypeOf(value) === Object.prototype)
  if (!isPlain) return value
  for (const inner of Object.values(value)) deepFreeze(inner)
  return Object.freeze(value)
}
