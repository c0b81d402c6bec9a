// Loads message types that encode and decode from the .proto files, and has the checks of decoded fields that all kinds
// of messages share. The files are in proto/, two levels above both src/wire and dist/wire.

import { fileURLToPath } from 'node:url'
import protobuf from 'protobufjs'
import { asBuffer } from '../base/bytes.ts'
import { TlscachedError } from '../base/errors.ts'
import { CACHE_NAME_PATTERN } from '../store/limits.ts'

/** The wire type of values of four bytes. */
const FIXED32 = 5
/** The types of fields that have the wire type FIXED32. */
const FIXED32_TYPES: readonly string[] = ['fixed32', 'sfixed32', 'float']

/** A decoded message whose fields are not checked yet. */
export type Fields = Readonly<Record<string, unknown>>

/** A message type of a .proto file. */
export class MessageType {
  readonly #type: protobuf.Type

  constructor(type: protobuf.Type) {
    this.#type = type
  }

  /** Encodes a message. Names of fields are in camelCase; fields that are undefined are left out. */
  encode(fields: Fields): Buffer {
    return asBuffer(this.#type.encode(fields, protobuf.Writer.create()).finish())
  }

  /**
   * Encodes a message that holds secrets and has `maxBytes` at most. The returned bytes are the only copy, which the caller
   * erases: an encoder that has to grow would leave one at each step. Throws ERR_INTERNAL for a longer message.
   */
  encodeSecret(fields: Fields, maxBytes: number): Buffer {
    const writer = protobuf.Writer.create()
    const own = Buffer.alloc(maxBytes)
    writer.buf = own
    this.#type.encode(fields, writer)
    const bytes = asBuffer(writer.finish(true))
    if (writer.buf === own) return bytes
    for (const copy of [own, bytes]) copy.fill(0)
    throw new TlscachedError('ERR_INTERNAL', `a message of ${bytes.length} bytes, not ${maxBytes}`)
  }

  /**
   * The fields of a message, or undefined when the bytes are no message of this type. Absent fields read as the
   * defaults of protobuf, `bytes` alias the input, and 64-bit numbers need `safeIntegerOf`.
   */
  decode(bytes: Buffer): Fields | undefined {
    const reader = protobuf.Reader.create(bytes)
    // Unknown fields are kept, for hasMistypedField to look at.
    reader.discardUnknown = false
    try {
      return this.#type.decode(reader) as unknown as Fields
    } catch {
      return undefined
    }
  }
}

/**
 * A message type of a file in proto/, by file and full name. Throws ERR_INTERNAL when the installed protobufjs cannot
 * tell fields of a wrong wire type from absent ones.
 */
export function loadMessageType(file: string, name: string): MessageType {
  const path = fileURLToPath(new URL(`../../proto/${file}`, import.meta.url))
  const type = protobuf.loadSync(path, new protobuf.Root()).lookupType(name)
  checkMistypedFields(type)
  return new MessageType(type)
}

/**
 * Tries the decoder on a message with a field of a wrong wire type: `hasMistypedField` reads undocumented properties of
 * decoded messages, and without those such a message would pass with the default in that field.
 */
function checkMistypedFields(type: protobuf.Type): void {
  const field = type.fieldsArray.find((one) => !FIXED32_TYPES.includes(one.type))
  if (field === undefined) return
  const tag = (field.id << 3) | FIXED32
  const bytes = protobuf.Writer.create().uint32(tag).fixed32(0).finish()
  const decoded = new MessageType(type).decode(asBuffer(bytes))
  if (decoded === undefined || hasMistypedField(decoded)) return
  throw new TlscachedError(
    'ERR_INTERNAL',
    'the installed protobufjs does not keep fields of a wrong wire type: install the version of package-lock.json',
  )
}

/**
 * Whether this level of a decoded message had a field whose wire type is not that of its number. The decoder treats
 * such a field as unknown and uses the default in its place. Fields with unknown numbers are allowed.
 */
export function hasMistypedField(decoded: Fields): boolean {
  const { $unknowns: unknowns, $type: type } = decoded as unknown as protobuf.ReflectedMessage
  if (unknowns === undefined) return false
  return unknowns.some((raw) => {
    const fieldNumber = protobuf.Reader.create(raw).tag() >>> 3
    return type?.fieldsById[fieldNumber] !== undefined
  })
}

/** The value of a decoded 64-bit field; undefined when the field is absent or its value is no safe integer. */
export function safeIntegerOf(value: unknown): number | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { high, low } = value as { high?: unknown; low?: unknown }
  if (typeof high !== 'number' || typeof low !== 'number') return undefined
  const integer = (high >>> 0) * 2 ** 32 + (low >>> 0)
  return Number.isSafeInteger(integer) ? integer : undefined
}

export const MAX_UINT32 = 2 ** 32 - 1
const NO_BYTES = Buffer.alloc(0)

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null
}

export function isInteger(value: unknown, min: number, max: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max
}

export function isCacheName(value: unknown): value is string {
  return typeof value === 'string' && CACHE_NAME_PATTERN.test(value)
}

/** Bytes whose length is within these bounds, else undefined. Absent bytes, for which there is no Buffer, are empty. */
export function bytesOf(value: unknown, minBytes: number, maxBytes: number): Buffer | undefined {
  const bytes = Buffer.isBuffer(value) ? value : NO_BYTES
  return bytes.length >= minBytes && bytes.length <= maxBytes ? bytes : undefined
}

/** Checks each member of a repeated field; undefined when one is malformed. */
export function checkList<Item>(
  list: unknown,
  check: (fields: Fields) => Item | undefined,
): Item[] | undefined {
  if (!Array.isArray(list)) return undefined
  const items: Item[] = []
  for (const fields of list as Fields[]) {
    const item = hasMistypedField(fields) ? undefined : check(fields)
    if (item === undefined) return undefined
    items.push(item)
  }
  return items
}
