// Every setting with its name in a file, in the environment and as a flag, collected in one walk of the schema.

import { z } from 'zod'
import { type JsonSchema, notes, type SettingNote, writtenForms } from './forms.ts'

export const ENVIRONMENT_PREFIX = 'TLSCACHED_'
/** What the variables of a command begin with that has settings of its own; those of a node begin without its name. */
export const COMMAND_PREFIXES = {
  repeat: `${ENVIRONMENT_PREFIX}REPEAT_`,
  terminate: `${ENVIRONMENT_PREFIX}TERMINATE_`,
} as const

/** Returns the name of the environment variable that has the path of the configuration file. */
export function configVariable(prefix = ENVIRONMENT_PREFIX): string {
  return `${prefix}CONFIG`
}

/** Path of a setting: keys and positions in lists, from the root of the configuration. */
export type ConfigPath = readonly PropertyKey[]

export interface Setting extends SettingNote {
  readonly path: readonly string[]
  /** Dotted key such as `replication.listen`, or `caches[].items` in a list of sections. */
  readonly key: string
  /** Variable such as `TLSCACHED_REPLICATION_LISTEN`; undefined for a setting inside a list. */
  readonly variable: string | undefined
  /** Flag such as `--replication-listen`; undefined for a setting inside a list. */
  readonly flag: string | undefined
  /** Default as a person would write it; undefined when there is none. */
  readonly defaultText: string | undefined
  /** Whether text from a variable or flag is the value itself; otherwise it is read as YAML. */
  readonly isText: boolean
  /** Whether the value is true or false. */
  readonly isBoolean: boolean
}

/** Returns every setting of a schema, in its order; their variables begin with `prefix`. */
export function settingsOf(schema: z.ZodType, prefix = ENVIRONMENT_PREFIX): readonly Setting[] {
  return collect(schema, [], '').map((setting) => {
    const { variable } = setting
    return variable === undefined ? setting : { ...setting, variable: `${prefix}${variable}` }
  })
}

/** A setting that the environment and flags can give. */
export interface StandaloneSetting extends Setting {
  readonly variable: string
  readonly flag: string
}

export function isStandalone(setting: Setting): setting is StandaloneSetting {
  return setting.variable !== undefined
}

/** Returns a path as text: `['caches', 0, 'items']` is `caches[0].items`. */
export function formatPath(path: ConfigPath): string {
  let text = ''
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`
    else text += text === '' ? String(part) : `.${String(part)}`
  }
  return text
}

/** Returns the keys that the section at this path of a schema may have. */
export function knownKeys(root: z.ZodType, path: ConfigPath): readonly string[] {
  let schema: z.core.$ZodType = unwrap(root)
  for (const part of path) {
    if (schema instanceof z.ZodArray) schema = unwrap(schema.element)
    else {
      const [, inner] = fieldsOf(schema).find(([name]) => name === part) ?? []
      schema = unwrap(inner ?? schema)
    }
  }
  return fieldsOf(schema).map(([name]) => name)
}

/** The fields of a section; those of a section that comes in several kinds are the fields of all, each once. */
function fieldsOf(schema: z.core.$ZodType): [string, z.core.$ZodType][] {
  if (schema instanceof z.ZodObject) return Object.entries(schema.shape)
  if (!(schema instanceof z.ZodDiscriminatedUnion)) return []
  const fields = schema.options.flatMap((option) => fieldsOf(unwrap(option)))
  const isFirst = ([name, field]: [string, z.core.$ZodType], index: number) =>
    index === fields.findIndex((other) => other[0] === name && isSameNote(other[1], field))
  return fields.filter(isFirst)
}

/** Whether two fields mean the same, so that the reference has one row for both. */
function isSameNote(a: z.core.$ZodType, b: z.core.$ZodType): boolean {
  return a === b || notes.get(a)?.description === notes.get(b)?.description
}

function collect(section: z.core.$ZodType, path: readonly string[], prefix: string): Setting[] {
  return fieldsOf(unwrap(section)).flatMap(([name, schema]) => {
    const inner = unwrap(schema)
    const note = notes.get(schema)
    const key = `${prefix}${name}`
    if (note === undefined) return collect(inner, [...path, name], `${key}.`)
    const setting = describe(schema, note, [...path, name], key)
    const elements = inner instanceof z.ZodArray ? collect(inner.element, path, `${key}[].`) : []
    return [setting, ...elements]
  })
}

function describe(
  schema: z.core.$ZodType,
  note: SettingNote,
  path: readonly string[],
  key: string,
): Setting {
  const isInList = key.includes('[]')
  const words = path.map((part) => part.toLowerCase())
  const inner = unwrap(schema)
  return {
    ...note,
    path,
    key,
    variable: isInList ? undefined : words.join('_').toUpperCase(),
    flag: isInList ? undefined : `--${words.join('-').replaceAll('_', '-')}`,
    defaultText: note.fallback ?? defaultOf(schema),
    isText:
      inner instanceof z.ZodString || inner instanceof z.ZodEnum || inner instanceof z.ZodUnion,
    isBoolean: inner instanceof z.ZodBoolean,
  }
}

function defaultOf(schema: unknown): string | undefined {
  if (!(schema instanceof z.ZodPrefault)) return undefined
  const value: unknown = schema.def.defaultValue
  if (typeof value === 'string') return value
  return JSON.stringify(value).replaceAll('"', '').replaceAll(':', ': ')
}

/** Returns the schema of the written value, without its default and its transformation. */
function unwrap(schema: unknown): z.core.$ZodType {
  if (schema instanceof z.ZodPrefault || schema instanceof z.ZodOptional) {
    return unwrap(schema.unwrap())
  }
  if (schema instanceof z.ZodPipe) return unwrap(schema.in)
  if (schema instanceof z.ZodType) return schema
  throw new Error('the configuration schema uses something that its walk does not know')
}

// The reference of all settings as a Markdown table, for deploy/CONFIGURATION.md and `tlscached check --reference`.

/**
 * Returns a Markdown table with one row for each setting. The names of the variable and the flag follow from the key,
 * so they have no column.
 */
export function formatReference(settings: readonly Setting[]): string {
  return formatTable(['Key', 'Default', 'Form', 'Meaning'], settings.map(toRow))
}

/** Returns a Markdown table whose cells are padded to the width of their column. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  )
  const lines = [head, widths.map((width) => '-'.repeat(width)), ...rows]
  const padded = lines.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)))
  return padded.map((row) => `| ${row.join(' | ')} |`).join('\n')
}

function toRow({ key, defaultText = 'required', form, description }: Setting): string[] {
  return [`\`${key}\``, defaultText, form, description]
}

// The JSON Schema of the configuration file, for editors and other programs.

/** The version of JSON Schema that the language servers of editors support best. */
const TARGET = 'draft-07'

/**
 * Returns the JSON Schema of a written configuration, made from the schema that reads it. It accepts everything that
 * the program accepts; rules between two settings, the bounds of sizes and durations given as text, and what YAML
 * itself forbids are not in it.
 */
export function jsonSchemaOf(written: z.ZodType, title: string): JsonSchema {
  const schema = z.toJSONSchema(written, {
    io: 'input',
    target: TARGET,
    override: ({ zodSchema, jsonSchema }) => {
      describeField(zodSchema, jsonSchema)
    },
  })
  for (const section of [schema, ...Object.values(schema.properties ?? {})]) allowEmpty(section)
  return { title, ...schema }
}

function describeField(schema: z.core.$ZodType, json: JsonSchema): void {
  const form = writtenForms.get(schema)
  if (form === undefined && schema instanceof z.ZodPipe) {
    throw new Error('a form of the configuration schema says nothing of what is written')
  }
  // The alternatives have different types, so a common one would be wrong.
  if (form?.anyOf?.some((one) => typeof one === 'object' && 'type' in one)) delete json.type
  Object.assign(json, form)
  const note = notes.get(schema)
  if (note === undefined) return
  const { description, form: spelling, fallback } = note
  const otherwise = fallback === undefined ? '' : `; default: ${fallback}`
  json.description = `${description} (${spelling}${otherwise})`
}

/** Allows null, which is what YAML has for an empty file and for an empty section. */
function allowEmpty(section: unknown): void {
  if (!isJsonSchema(section)) return
  if (section.type !== undefined) section.type = [section.type, 'null'].flat()
}

function isJsonSchema(value: unknown): value is { type?: string | string[] } {
  return typeof value === 'object' && value !== null
}
