// Datagrams of uWSGI's cache-udp put together byte by byte, right and wrong ones, for tests.

export interface CraftedFields {
  readonly modifier1?: number
  readonly modifier2?: number
  readonly key?: Uint8Array | string
  readonly value?: Uint8Array | string
  /** Left out altogether when undefined. */
  readonly expiry?: string
  readonly trailing?: string
  /** Added to the lengths that the datagram tells, and not to the bytes. */
  readonly sizeError?: number
  readonly keyError?: number
  readonly valueError?: number
  readonly expiryError?: number
}

const SET = 10
const DELETE = 11

export function craftSet(fields: CraftedFields): Buffer {
  const { key = 'k', value = 'v', expiry, trailing = '' } = fields
  const body = [
    lengthOf(key, fields.keyError),
    Buffer.from(key),
    lengthOf(value, fields.valueError),
    Buffer.from(value),
  ]
  if (expiry !== undefined) body.push(lengthOf(expiry, fields.expiryError), Buffer.from(expiry))
  return withHeader(Buffer.concat([...body, Buffer.from(trailing)]), { modifier2: SET, ...fields })
}

export function craftDelete(fields: CraftedFields): Buffer {
  const { key = 'k', trailing = '' } = fields
  const body = Buffer.concat([lengthOf(key), Buffer.from(key), Buffer.from(trailing)])
  return withHeader(body, { modifier2: DELETE, ...fields })
}

function withHeader(body: Buffer, fields: CraftedFields): Buffer {
  const header = Buffer.from([fields.modifier1 ?? 111, 0, 0, fields.modifier2 ?? 0])
  header.writeUInt16LE(body.length + (fields.sizeError ?? 0), 1)
  return Buffer.concat([header, body])
}

function lengthOf(bytes: Uint8Array | string, error = 0): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16LE(Buffer.from(bytes).length + error)
  return length
}
