// Frames of memcached's binary protocol: requests made and answers taken apart, by the protocol's text.

export interface BinaryRequestFields {
  readonly key?: string | Uint8Array
  readonly extras?: Uint8Array
  readonly value?: string | Uint8Array
  readonly opaque?: number
  readonly cas?: bigint
  /** What the header claims, when that is not the truth. */
  readonly keyBytes?: number
}

export function binaryRequest(opcode: number, fields: BinaryRequestFields = {}): Buffer {
  const key = Buffer.from(fields.key ?? '')
  const extras = fields.extras ?? Buffer.alloc(0)
  const value = Buffer.from(fields.value ?? '')
  const header = Buffer.alloc(24)
  header[0] = 0x80
  header[1] = opcode
  header.writeUInt16BE(fields.keyBytes ?? key.length, 2)
  header[4] = extras.length
  header.writeUInt32BE(extras.length + key.length + value.length, 8)
  header.writeUInt32BE(fields.opaque ?? 0, 12)
  header.writeBigUInt64BE(fields.cas ?? 0n, 16)
  return Buffer.concat([header, extras, key, value])
}

export interface BinaryAnswer {
  readonly opcode: number
  readonly status: number
  readonly opaque: number
  readonly cas: bigint
  readonly extras: Buffer
  readonly key: string
  readonly value: Buffer
}

/** Throws unless the bytes are whole answers, one after the other. */
export function binaryAnswers(bytes: Buffer): BinaryAnswer[] {
  const answers: BinaryAnswer[] = []
  for (let start = 0; start < bytes.length; ) {
    if (bytes[start] !== 0x81) throw new Error(`no answer begins at ${start}`)
    const keyBytes = bytes.readUInt16BE(start + 2)
    const extrasEnd = start + 24 + bytes.readUInt8(start + 4)
    const end = start + 24 + bytes.readUInt32BE(start + 8)
    if (end > bytes.length) throw new Error(`the answer at ${start} is cut off`)
    answers.push({
      opcode: bytes.readUInt8(start + 1),
      status: bytes.readUInt16BE(start + 6),
      opaque: bytes.readUInt32BE(start + 12),
      cas: bytes.readBigUInt64BE(start + 16),
      extras: bytes.subarray(start + 24, extrasEnd),
      key: bytes.toString('latin1', extrasEnd, extrasEnd + keyBytes),
      value: bytes.subarray(extrasEnd + keyBytes, end),
    })
    start = end
  }
  return answers
}
