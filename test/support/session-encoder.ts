// Makes encoded sessions (SSL_SESSION in DER) for tests, with fields as wanted and a worthless master key.

export interface SessionFields {
  readonly protocolVersion?: number
  readonly id?: Uint8Array
  readonly context?: Uint8Array
  readonly timeSec?: number
  readonly timeoutSec?: number
  readonly serverName?: string
  readonly maxEarlyData?: number
}

export const INTEGER = 0x02
export const OCTETS = 0x04
export const SEQUENCE = 0x30
/** Identifier of the explicit tag [n]. */
export const explicit = (number: number): number => 0xa0 + number

export function element(identifier: number, ...contents: Uint8Array[]): Buffer {
  const content = Buffer.concat(contents)
  const { length } = content
  const lengthBytes = length < 128 ? [length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([identifier, ...lengthBytes]), content])
}

export function integer(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(BigInt(value))
  let start = 0
  // The shortest form keeps one byte that tells the sign.
  while (start < 7 && bytes[start] === 0 && (bytes[start + 1] ?? 0) < 128) start += 1
  return element(INTEGER, bytes.subarray(start))
}

export function octets(content: Uint8Array | string): Buffer {
  return element(OCTETS, Buffer.from(content))
}

/** The five fields that every session begins with. */
export function mandatoryFields(fields: SessionFields): Buffer[] {
  return [
    integer(1),
    integer(fields.protocolVersion ?? 0x0303),
    octets(Buffer.from('c030', 'hex')),
    octets(fields.id ?? Buffer.alloc(32, 7)),
    octets(Buffer.alloc(48, 0xee)),
  ]
}

export function encodeSession(fields: SessionFields): Buffer {
  const optional = (tag: number, content: Buffer | undefined) =>
    content === undefined ? [] : [element(explicit(tag), content)]
  const number = (value: number | undefined) => (value === undefined ? undefined : integer(value))
  return element(
    SEQUENCE,
    ...mandatoryFields(fields),
    ...optional(1, number(fields.timeSec)),
    ...optional(2, number(fields.timeoutSec)),
    ...optional(4, octets(fields.context ?? '')),
    ...optional(6, fields.serverName === undefined ? undefined : octets(fields.serverName)),
    ...optional(15, number(fields.maxEarlyData)),
  )
}
