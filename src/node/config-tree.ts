// A configuration as it was written, before it is checked: plain values, and the position of each.

import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml'
import { hideKeys } from '../base/hidden-keys.ts'
import type { ConfigProblem } from './config-error.ts'
import { type ConfigPath, formatPath } from './config-settings.ts'

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
