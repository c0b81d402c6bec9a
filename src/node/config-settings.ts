// Every setting with its name in a file, in the environment and as a flag, collected in one walk of the schema.

import { z } from 'zod'
import { configSchema, notes, type SettingNote } from './config-schema.ts'

export const ENVIRONMENT_PREFIX = 'TLSCACHED_'
/** Name of the environment variable that has the path of the configuration file. */
export const CONFIG_VARIABLE = `${ENVIRONMENT_PREFIX}CONFIG`

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
}

export const settings: readonly Setting[] = collect(configSchema, [], '')

/** A setting that the environment and flags can give. */
export interface StandaloneSetting extends Setting {
  readonly variable: string
  readonly flag: string
}

export const standaloneSettings: readonly StandaloneSetting[] = settings.filter(
  (setting): setting is StandaloneSetting => setting.variable !== undefined,
)

/** Returns a path as text: `['caches', 0, 'items']` is `caches[0].items`. */
export function formatPath(path: ConfigPath): string {
  let text = ''
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`
    else text += text === '' ? String(part) : `.${String(part)}`
  }
  return text
}

/** Returns the keys that the section at this path may have. */
export function knownKeys(path: ConfigPath): readonly string[] {
  let schema: z.core.$ZodType = unwrap(configSchema)
  for (const part of path) {
    if (schema instanceof z.ZodArray) schema = unwrap(schema.element)
    else if (schema instanceof z.ZodObject) schema = unwrap(schema.shape[String(part)])
  }
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : []
}

function collect(section: z.core.$ZodType, path: readonly string[], prefix: string): Setting[] {
  const object = unwrap(section)
  if (!(object instanceof z.ZodObject)) return []
  return Object.entries(object.shape).flatMap(([name, schema]) => {
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
    variable: isInList ? undefined : `${ENVIRONMENT_PREFIX}${words.join('_').toUpperCase()}`,
    flag: isInList ? undefined : `--${words.join('-').replaceAll('_', '-')}`,
    defaultText: note.fallback ?? defaultOf(schema),
    isText:
      inner instanceof z.ZodString || inner instanceof z.ZodEnum || inner instanceof z.ZodUnion,
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
