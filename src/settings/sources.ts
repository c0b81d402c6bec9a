// The three sources of a configuration: a YAML file, the environment and flags; each overrides those before it.

import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml'
import { messageOf } from '../base/errors.ts'
import { hideKeys } from '../base/hidden-keys.ts'
import { readRegularFile } from '../base/regular-file.ts'
import { type ConfigProblem, nearest } from './errors.ts'
import {
  COMMAND_PREFIXES,
  type ConfigPath,
  configVariable,
  ENVIRONMENT_PREFIX,
  formatPath,
  type StandaloneSetting,
} from './schema.ts'

/** Largest file that is read; the configuration of a whole cluster has a few kilobytes. */
const MAX_FILE_BYTES = 1024 * 1024

/**
 * Returns what the variables are called that Kubernetes sets in every container of a namespace with a Service called
 * tlscached, or tlscached-repeat: the address of that Service. The older form has variables for each port.
 */
function serviceVariables(prefix: string): RegExp {
  return new RegExp(
    `^${prefix}(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|` +
      'PORT(?:_\\d+_(?:TCP|UDP|SCTP)(?:_PROTO|_PORT|_ADDR)?)?)$',
  )
}

/** What flags gave, by the key of their setting: text, or the texts of a flag that may be repeated. */
export type Flags = ReadonlyMap<string, string | readonly string[]>

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
 * Adds the variables that start with `prefix`. One that names no setting is a problem, unless Kubernetes set it, which
 * the operator cannot prevent, or it is that of a command with a longer prefix.
 */
export function addEnvironment(
  tree: ConfigTree,
  settings: readonly StandaloneSetting[],
  environment: Readonly<Record<string, string | undefined>>,
  prefix = ENVIRONMENT_PREFIX,
): void {
  const byVariable = new Map(settings.map((setting) => [setting.variable, setting]))
  const ofService = serviceVariables(prefix)
  const others = Object.values(COMMAND_PREFIXES).filter((other) => other.length > prefix.length)
  for (const [name, value] of Object.entries(environment)) {
    if (!name.startsWith(prefix) || value === undefined) continue
    if (name === configVariable(prefix) || others.some((other) => name.startsWith(other))) continue
    const setting = byVariable.get(name)
    if (setting !== undefined) addText(tree, setting, value, name)
    else if (!ofService.test(name)) {
      const known = nearest(name, [...byVariable.keys(), configVariable(prefix)])
      tree.report([], `unknown variable${known && `; the nearest known one is ${known}`}`, name)
    }
  }
}

/** Adds flags, given by the key of their setting (`replication.listen`); a flag that was repeated is a list. */
export function addFlags(
  tree: ConfigTree,
  settings: readonly StandaloneSetting[],
  flags: Flags,
): void {
  for (const setting of settings) {
    const value = flags.get(setting.key)
    if (value !== undefined) addText(tree, setting, value, setting.flag)
  }
}

function addText(
  tree: ConfigTree,
  { path, isText, listFlag }: StandaloneSetting,
  given: string | readonly string[],
  where: string,
): void {
  const isList = listFlag !== undefined && typeof given === 'string'
  const value = isList ? given.split(',').map((element) => element.trim()) : given
  tree.set(path, value, where)
  if (isText || typeof value !== 'string') return
  tree.set(path, readYaml(value, tree, where, path, false), where)
}

function withoutUndefined(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutUndefined)
  if (!isSection(value)) return value
  const defined = Object.entries(value).filter(([, inner]) => inner !== undefined)
  return Object.fromEntries(defined.map(([name, inner]) => [name, withoutUndefined(inner)]))
}

// A configuration as it was written, before it is checked: plain values, and the position of each.

/** Deepest nesting that is read, more than any setting has; it also ends an alias that contains itself. */
const MAX_DEPTH = 16

export class ConfigTree {
  readonly root: Record<string, unknown> = {}
  readonly problems: ConfigProblem[] = []
  readonly #places = new Map<string, string>()

  /** Sets the value at `path` in place of one from a weaker source. */
  set(path: readonly string[], value: unknown, where: string): void {
    let section = this.root
    for (const name of path.slice(0, -1)) {
      const inner = section[name]
      if (isSection(inner)) section = inner
      else section = addSection(section, name)
    }
    const last = path.at(-1)
    if (last !== undefined) section[last] = value
    // Values of a weaker source below this path are replaced, so their positions are removed.
    const replaced = formatPath(path)
    for (const key of this.#places.keys()) {
      const isBelow = key.startsWith(`${replaced}[`) || key.startsWith(`${replaced}.`)
      if (isBelow) this.#places.delete(key)
    }
    this.#places.set(replaced, where)
  }

  mark(path: ConfigPath, where: string): void {
    this.#places.set(formatPath(path), where)
  }

  /**
   * Returns where the setting at `path` was written, or else the closest section around it; `config` when neither was.
   */
  placeOf(path: ConfigPath): string {
    for (let length = path.length; length >= 0; length -= 1) {
      const place = this.#places.get(formatPath(path.slice(0, length)))
      if (place !== undefined) return place
    }
    return 'config'
  }

  report(path: ConfigPath, message: string, where = this.placeOf(path)): void {
    // A secret key may have been written by mistake in place of a name, a path or a whole line.
    this.problems.push({
      where: hideKeys(where),
      key: hideKeys(formatPath(path)),
      message: hideKeys(message),
    })
  }
}

/**
 * Reads YAML text to a plain value; reports what is not valid and then returns undefined. `where` names the source;
 * with `hasLines` positions are added to it.
 */
export function readYaml(
  text: string,
  tree: ConfigTree,
  where: string,
  basePath: readonly string[],
  hasLines: boolean,
): unknown {
  const lineCounter = new LineCounter()
  const document = parseDocument(text, { lineCounter, prettyErrors: false, uniqueKeys: false })
  const placeAt = (offset: number | undefined) => {
    if (!hasLines || offset === undefined) return where
    const { line, col } = lineCounter.linePos(offset)
    return `${where}:${line}:${col}`
  }
  const faults = [...document.errors, ...document.warnings]
  for (const fault of faults) tree.report(basePath, fault.message, placeAt(fault.pos[0]))
  if (faults.length > 0) return undefined

  const read = (node: unknown, path: ConfigPath, depth: number): unknown => {
    if (depth > MAX_DEPTH) {
      tree.report(path, 'is nested too deep')
      return undefined
    }
    if (isAlias(node)) return read(node.resolve(document), path, depth + 1)
    if (isScalar(node)) return node.value
    if (isSeq<Node>(node)) {
      return node.items.map((item, index) => {
        tree.mark([...path, index], placeAt(item.range?.[0]))
        return read(item, [...path, index], depth + 1)
      })
    }
    if (!isMap<Node, Node | null>(node)) return null
    const section: Record<string, unknown> = {}
    for (const { key, value } of node.items) {
      const name = isScalar(key) ? String(key.value) : String(key)
      const place = placeAt(key.range?.[0])
      if (Object.hasOwn(section, name)) tree.report([...path, name], 'is there twice', place)
      tree.mark([...path, name], place)
      define(section, name, read(value, [...path, name], depth + 1))
    }
    return section
  }
  return read(document.contents, basePath, 0)
}

export function isSection(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function addSection(section: Record<string, unknown>, name: string): Record<string, unknown> {
  const inner: Record<string, unknown> = {}
  section[name] = inner
  return inner
}

/** Sets a property of any name, also `__proto__`, which an assignment would not store. */
function define(section: Record<string, unknown>, name: string, value: unknown): void {
  Object.defineProperty(section, name, {
    value,
    enumerable: true,
    writable: true,
    configurable: true,
  })
}
