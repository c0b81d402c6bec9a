// Evaluates what uWSGI evaluates while it reads a file: variables and placeholders, conditions and loops. The result
// has the remaining options, with their placeholders filled in.
//
//   base = /srv  ..  %(base)/x      a variable, or another option above it; set-ph = base=/srv does the same
//   $(NAME)                         a variable of the environment
//   %d %p %s %n %e %c %h            folder, path, name, stem, extension, last folder of this file; host name
//   if-env = NAME or NAME=value     until endif; %(_) is the value found. if-opt, if-exists, if-file, if-dir,
//                                   if-hostname, if-hostname-match, if-reload, if-plugin; each also as if-not-
//   for = a b c, for-times = 3      until endfor, with %(_)

import { basename, dirname, extname, resolve } from 'node:path'
import type { IniFile, IniOption, IniProblem } from './ini.ts'

/** The facts about the machine that conditions and placeholders depend on. */
export interface Machine {
  readonly hostName: string
  environment(name: string): string | undefined
  /** Kind of the file at this path, or undefined when there is none. */
  kindOf(path: string): 'file' | 'folder' | undefined
}

const SET = new Set(['set', 'set-ph', 'set-placeholder'])
const END_IF = new Set(['endif', 'end-if'])
const END_FOR = new Set(['endfor', 'end-for'])
const LOOPS = new Set(['for', 'for-times'])
const UNSUPPORTED_LOOPS = new Set(['for-glob', 'for-readline'])
const OTHER_FILES = new Set(['ini', 'include', 'inherit', 'yaml', 'yml', 'xml', 'json'])
const MAX_LOOP_VALUES = 1000
/** Longest value with its placeholders filled in; without a bound, each line could double the value above it. */
const MAX_VALUE_BYTES = 64 * 1024
/** Most bytes of all names and values together, after loops were carried out. */
const MAX_TOTAL_BYTES = 4 * 1024 * 1024
const REFERENCE = /%\(([^)\s+*/-][^)\s]*)\)/g

/** Returns the first placeholder in the value that was not filled in, or undefined when there is none. */
export function openPlaceholder(value: string): string | undefined {
  return /[%$]\([^)]*\)/.exec(value)?.[0]
}

/**
 * Evaluates a file. `isOption` returns whether uWSGI has an option of this name; any other name that a placeholder
 * or condition refers to is a variable, which the result leaves out.
 */
export function applyLogic(
  file: IniFile,
  machine: Machine,
  isOption: (name: string) => boolean,
): IniFile {
  const problems: IniProblem[] = [...file.problems]
  const options: IniOption[] = []
  const values = new Map<string, string>()
  const referred = new Set(file.options.flatMap(({ name, value }) => referencesOf(name, value)))
  const report = ({ where, name }: IniOption, message: string) => {
    problems.push({ where, key: name, message })
  }
  const placeholders = placeholdersOf(values, file.name, machine)
  let totalBytes = 0
  const isFull = () => totalBytes > MAX_TOTAL_BYTES
  /** Returns the value filled in, or undefined, with a problem reported, when it or all values together are too long. */
  const fill = (option: IniOption, context?: string): string | undefined => {
    const raw =
      context === undefined ? option.value : replaceWithin(option.value, /%\(_\)/g, () => context)
    const value = raw === undefined ? undefined : replaceWithin(raw, PLACEHOLDER, placeholders)
    if (value === undefined) {
      report(option, `has more than ${MAX_VALUE_BYTES} bytes with its placeholders filled in`)
      return undefined
    }
    totalBytes += Buffer.byteLength(option.name) + Buffer.byteLength(value) + 1
    if (!isFull()) return value
    report(option, `here all values together have more than ${MAX_TOTAL_BYTES} bytes`)
    return undefined
  }
  const add = (option: IniOption, context: string | undefined) => {
    const value = fill(option, context)
    if (value === undefined) return
    if (SET.has(option.name)) {
      const equals = value.indexOf('=')
      if (equals < 1) report(option, 'must be name=value')
      else setFirst(values, value.slice(0, equals), value.slice(equals + 1))
      return
    }
    setFirst(values, option.name, value)
    const isVariable = !isOption(option.name) && referred.has(option.name)
    if (!isVariable) options.push({ ...option, value })
  }
  for (let at = 0; at < file.options.length && !isFull(); at += 1) {
    const option = file.options[at]
    if (option === undefined) break
    const { name } = option
    const isIf = name.startsWith('if-') && isOption(name)
    const isFor = LOOPS.has(name)
    if (UNSUPPORTED_LOOPS.has(name)) report(option, 'is not supported: write the values out')
    else if (OTHER_FILES.has(name)) {
      report(option, 'names another file, which is not read: put its options into this one')
    } else if (END_IF.has(name) || END_FOR.has(name)) report(option, 'ends nothing')
    else if (!isIf && !isFor) add(option, undefined)
    if (!isIf && !isFor) continue
    const ends = isIf ? END_IF : END_FOR
    const end = file.options.findIndex((other, index) => index > at && ends.has(other.name))
    if (end === -1) {
      report(option, `has no ${isIf ? 'endif' : 'endfor'}`)
      break
    }
    const body = file.options.slice(at + 1, end)
    const asked = fill(option)
    at = end
    if (asked === undefined) continue
    const contexts = isIf ? conditionOf(name, asked, values, machine) : loopValues(name, asked)
    if (contexts.length > MAX_LOOP_VALUES) report(option, `has more than ${MAX_LOOP_VALUES} values`)
    for (const context of contexts.slice(0, MAX_LOOP_VALUES)) {
      for (const inner of body) if (!isFull()) add(inner, context)
    }
  }
  return { ...file, options, problems }
}

/** Defines a name unless it is defined already: uWSGI uses the first definition. */
function setFirst(values: Map<string, string>, name: string, value: string): void {
  if (!values.has(name)) values.set(name, value)
}

function referencesOf(name: string, value: string): string[] {
  const references = [...value.matchAll(REFERENCE)].map(([, reference = '']) => reference)
  const isAsked = name === 'if-opt' || name === 'if-not-opt'
  return isAsked ? [...references, value.replace(/=.*/, '')] : references
}

const PLACEHOLDER = /%\(([^)]*)\)|\$\(([^)]*)\)|%([dpsnech])/g

/** Returns the function that finds the value of a match of PLACEHOLDER, which stays as it is when it has none. */
function placeholdersOf(
  values: ReadonlyMap<string, string>,
  file: string,
  machine: Machine,
): (match: RegExpMatchArray) => string {
  const path = resolve(file)
  const extension = extname(path)
  const magic: Readonly<Record<string, string>> = {
    d: `${dirname(path).replace(/\/$/, '')}/`,
    p: path,
    s: basename(path),
    n: basename(path, extension),
    e: extension.slice(1),
    c: basename(dirname(path)),
    h: machine.hostName,
  }
  return ([whole, name, variable, letter = '']) => {
    if (name !== undefined) return values.get(name) ?? whole
    if (variable !== undefined) return machine.environment(variable) ?? whole
    return magic[letter] ?? whole
  }
}

/** Returns the text with all matches replaced, or undefined as soon as it has more than MAX_VALUE_BYTES. */
function replaceWithin(
  text: string,
  pattern: RegExp,
  replacement: (match: RegExpMatchArray) => string,
): string | undefined {
  const pieces: string[] = []
  let bytes = 0
  let end = 0
  for (const match of text.matchAll(pattern)) {
    const before = text.slice(end, match.index)
    const value = replacement(match)
    bytes += Buffer.byteLength(before) + Buffer.byteLength(value)
    if (bytes > MAX_VALUE_BYTES) return undefined
    pieces.push(before, value)
    end = match.index + match[0].length
  }
  const rest = text.slice(end)
  pieces.push(rest)
  return bytes + Buffer.byteLength(rest) > MAX_VALUE_BYTES ? undefined : pieces.join('')
}

function loopValues(name: string, value: string): string[] {
  if (name === 'for') return value.split(/\s+/).filter((one) => one !== '')
  const times = /^\d{1,6}$/.test(value) ? Number(value) : 0
  return Array.from({ length: times }, (_, index) => String(index + 1))
}

/**
 * Returns the value of %(_) for the body as the only element when the condition holds, and no element otherwise.
 */
function conditionOf(
  name: string,
  value: string,
  values: ReadonlyMap<string, string>,
  machine: Machine,
): string[] {
  const isNegated = name.startsWith('if-not-')
  const subject = name.replace(/^if-(not-)?/, '')
  const found = lookUp(subject, value, values, machine)
  if (isNegated) return found === undefined ? [''] : []
  return found === undefined ? [] : [found]
}

function lookUp(
  subject: string,
  value: string,
  values: ReadonlyMap<string, string>,
  machine: Machine,
): string | undefined {
  const [name = '', ...rest] = value.split('=')
  const matches = (is: string | undefined) =>
    rest.length === 0 || is === rest.join('=') ? is : undefined
  const when = (isTrue: boolean) => (isTrue ? value : undefined)
  switch (subject) {
    case 'env':
      return matches(machine.environment(name))
    case 'opt':
      return matches(values.get(name))
    case 'exists':
      return when(machine.kindOf(value) !== undefined)
    case 'file':
      return when(machine.kindOf(value) === 'file')
    case 'dir':
    case 'directory':
      return when(machine.kindOf(value) === 'folder')
    case 'hostname':
      return when(machine.hostName === value)
    case 'hostname-match':
      return when(isMatch(value, machine.hostName))
    case 'plugin':
      // Every plugin counts as loaded, so that the options inside `if-plugin` are read.
      return value
    default:
      // Only `reload` is left: nothing was reloaded, so `if-reload` never holds.
      return undefined
  }
}

function isMatch(pattern: string, text: string): boolean {
  try {
    return new RegExp(pattern).test(text)
  } catch {
    return false
  }
}
