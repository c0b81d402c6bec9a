// The three sources of a configuration: a YAML file, the environment and flags; each overrides those before it.

import { messageOf } from '../base/errors.ts'
import { readRegularFile } from '../base/regular-file.ts'
import type { ConfigProblem } from './config-error.ts'
import {
  CONFIG_VARIABLE,
  type ConfigPath,
  ENVIRONMENT_PREFIX,
  type StandaloneSetting,
  standaloneSettings,
} from './config-settings.ts'
import { type ConfigTree, isSection, readYaml } from './config-tree.ts'
import { nearest } from './nearest.ts'

/** Largest file that is read; the configuration of a whole cluster has a few kilobytes. */
const MAX_FILE_BYTES = 1024 * 1024

/**
 * Names of the variables that Kubernetes sets in every container of a namespace with a Service called tlscached: the
 * address of that Service. The older form has variables for each port.
 */
const KUBERNETES_SERVICE = new RegExp(
  `^${ENVIRONMENT_PREFIX}(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|` +
    'PORT(?:_\\d+_(?:TCP|UDP|SCTP)(?:_PROTO|_PORT|_ADDR)?)?)$',
)

/** A configuration that was made from another program's file. */
export interface ConvertedConfig {
  /** The configuration with the keys of our own file. */
  readonly root: Readonly<Record<string, unknown>>
  /** Positions in the other program's file that the settings come from. */
  readonly places: readonly { readonly path: ConfigPath; readonly where: string }[]
  readonly problems: readonly ConfigProblem[]
}

export function addConverted(tree: ConfigTree, { root, places, problems }: ConvertedConfig): void {
  addObject(tree, root)
  for (const { path, where } of places) tree.mark(path, where)
  for (const { key, message, where } of problems) tree.report([key], message, where)
}

export function addFile(tree: ConfigTree, path: string): void {
  let text: string
  try {
    text = readRegularFile(path, MAX_FILE_BYTES).text
  } catch (error) {
    tree.report([], `cannot be read: ${messageOf(error)}`, path)
    return
  }
  tree.mark([], path)
  const value = readYaml(text, tree, path, [], true)
  // An empty file, or one of comments only, is allowed.
  if (value === null || value === undefined) return
  if (isSection(value)) addObject(tree, value)
  else tree.report([], 'must be a mapping of sections, as in "log: { level: info }"', `${path}:1:1`)
}

/** Adds the sections of an object; a section that is null or undefined counts as missing. */
export function addObject(tree: ConfigTree, value: Readonly<Record<string, unknown>>): void {
  for (const [name, section] of Object.entries(value)) {
    if (section !== null && section !== undefined) tree.root[name] = withoutUndefined(section)
  }
}

/**
 * Adds the variables that start with TLSCACHED_. One that names no setting is a problem, unless Kubernetes set it,
 * which the operator cannot prevent.
 */
export function addEnvironment(
  tree: ConfigTree,
  environment: Readonly<Record<string, string | undefined>>,
): void {
  const byVariable = new Map(standaloneSettings.map((setting) => [setting.variable, setting]))
  for (const [name, value] of Object.entries(environment)) {
    if (!name.startsWith(ENVIRONMENT_PREFIX) || value === undefined) continue
    if (name === CONFIG_VARIABLE) continue
    const setting = byVariable.get(name)
    if (setting !== undefined) addText(tree, setting, value, name)
    else if (!KUBERNETES_SERVICE.test(name)) {
      const known = nearest(name, [...byVariable.keys(), CONFIG_VARIABLE])
      tree.report([], `unknown variable${known && `; the nearest known one is ${known}`}`, name)
    }
  }
}

/** Adds flags, given as text by the key of their setting (`replication.listen`). */
export function addFlags(tree: ConfigTree, flags: ReadonlyMap<string, string>): void {
  for (const setting of standaloneSettings) {
    const value = flags.get(setting.key)
    if (value !== undefined) addText(tree, setting, value, setting.flag)
  }
}

function addText(tree: ConfigTree, setting: StandaloneSetting, text: string, where: string): void {
  tree.set(setting.path, text, where)
  if (setting.isText) return
  tree.set(setting.path, readYaml(text, tree, where, setting.path, false), where)
}

function withoutUndefined(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutUndefined)
  if (!isSection(value)) return value
  const defined = Object.entries(value).filter(([, inner]) => inner !== undefined)
  return Object.fromEntries(defined.map(([name, inner]) => [name, withoutUndefined(inner)]))
}
