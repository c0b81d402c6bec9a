// The .proto files as types that encode and decode. They lie in proto/, two levels above both src/wire
// and dist/wire.

import { fileURLToPath } from 'node:url'
import protobuf from 'protobufjs'
import { asBuffer } from '../base/bytes.ts'
import { TlscachedError } from '../base/errors.ts'

/** The wire type of four bytes, and the types of fields that have it. */
const FIXED32 = 5
const FIXED32_TYPES: readonly string[] = ['fixed32', 'sfixed32', 'float']

/** What a decoded message looks like before anybody checked its fields. */
export type Fields = Readonly<Record<string, unknown>>

/** A message type of a .proto file. */
export class MessageType {
  readonly #type: protobuf.Type

  constructor(type: protobuf.Type) {
    this.#type = type
  }

  /** Field names in camelCase; fields that are undefined are left out. */
  encode(fields: Fields): Buffer {
    return asBuffer(this.#type.encode(fields, protobuf.Writer.create()).finish())
  }

  /**
   * The fields that were there, or undefined when the bytes are no such message. Absent fields read as
   * the defaults of protobuf, `bytes` alias the input, 64-bit numbers need `safeIntegerOf`.
   */
  decode(bytes: Buffer): Fields | undefined {
    const reader = protobuf.Reader.create(bytes)
    // Kept aside instead, where hasMistypedField looks at them.
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
 * Decodes a message with a field in a wire type that it cannot have: `hasMistypedField` reads undocumented
 * properties of what protobufjs decodes, and without them such a message would pass with the default in that field.
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
 * Whether a field came with another wire type than its number has, at this level of a decoded message:
 * the decoder takes it for unknown and would go on with the default. Unknown numbers are no fault.
 */
export function hasMistypedField(decoded: Fields): boolean {
  const { $unknowns: unknowns, $type: type } = decoded as unknown as protobuf.ReflectedMessage
  if (unknowns === undefined) return false
  return unknowns.some((raw) => {
    const fieldNumber = protobuf.Reader.create(raw).tag() >>> 3
    return type?.fieldsById[fieldNumber] !== undefined
  })
}

/** A decoded 64-bit number, or undefined when it is absent or no safe integer. */
export function safeIntegerOf(value: unknown): number | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { high, low } = value as { high?: unknown; low?: unknown }
  if (typeof high !== 'number' || typeof low !== 'number') return undefined
  const integer = (high >>> 0) * 2 ** 32 + (low >>> 0)
  return Number.isSafeInteger(integer) ? integer : undefined
}
