// The JSON Schema of the configuration file, for editors and other programs.

import { z } from 'zod'
import { writtenForms } from './config-forms.ts'
import { configSchema, notes } from './config-schema.ts'

type JsonSchema = z.core.JSONSchema.BaseSchema

/** The version of JSON Schema that the language servers of editors support best. */
const TARGET = 'draft-07'

/**
 * Returns the JSON Schema of a written configuration, made from the schema that reads it. It accepts everything that
 * the program accepts; rules between two settings, the bounds of sizes and durations given as text, and what YAML
 * itself forbids are not in it.
 */
export function configJsonSchema(): JsonSchema {
  const schema = z.toJSONSchema(configSchema, {
    io: 'input',
    target: TARGET,
    override: ({ zodSchema, jsonSchema }) => {
      describe(zodSchema, jsonSchema)
    },
  })
  for (const section of [schema, ...Object.values(schema.properties ?? {})]) allowEmpty(section)
  return { title: 'Configuration of tlscached', ...schema }
}

function describe(schema: z.core.$ZodType, json: JsonSchema): void {
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
