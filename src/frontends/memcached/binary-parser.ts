// Parses the bytes of memcached's binary protocol into frames.
//
//   offset  size  field                     offset  size  field
//        0     1  magic: 80 request              8     4  length of the body: extras, key, value
//        1     1  opcode                        12     4  opaque, repeated in the answer
//        2     2  length of the key             16     8  token of the entry (cas), 0 for any
//        4     1  length of the extras          24     .  extras, key, value
//        5     1  data type: 0
//        6     2  vbucket: not used

import type { InputBuffer } from '../input-buffer.ts'
import { MAX_KEY_BYTES } from './keys.ts'

export const REQUEST_MAGIC = 0x80
export const HEADER_BYTES = 24

const MAX_EXTRAS_BYTES = 20

/** `ok`, or why the body of a frame was not read. After `broken` the rest of the input cannot be parsed. */
export type FrameState = 'ok' | 'too_large' | 'invalid' | 'broken'

export interface Frame {
  readonly state: FrameState
  readonly opcode: number
  readonly opaque: number
  /** Token that the stored entry must have; 0 accepts any. */
  readonly cas: bigint
  /** Length of the value, even when it was not read. */
  readonly valueBytes: number
  /** Extras, key and value are views of the input; they are empty unless the state is `ok`. */
  readonly extras: Buffer
  readonly key: Buffer
  readonly value: Buffer
}

const NOTHING = Buffer.alloc(0)

export class BinaryParser {
  readonly #input: InputBuffer
  readonly #maxValueBytes: number
  /** Bytes of the body of a refused frame that are still to be discarded. */
  #skipBytes = 0
  #isBroken = false

  constructor(input: InputBuffer, maxValueBytes: number) {
    this.#input = input
    this.#maxValueBytes = maxValueBytes
  }

  get isMidway(): boolean {
    return this.#input.length > 0 || this.#skipBytes > 0
  }

  /** Returns the next frame; undefined when more bytes must come first. */
  next(): Frame | undefined {
    if (this.#isBroken) this.#input.clear()
    if (!this.#skip() || this.#input.length < HEADER_BYTES) return undefined
    const header = this.#input.peek(HEADER_BYTES)
    const keyBytes = header.readUInt16BE(2)
    const extrasBytes = header.readUInt8(4)
    const bodyBytes = header.readUInt32BE(8)
    const state = this.#stateOf(header, keyBytes, extrasBytes, bodyBytes)
    const head = {
      state,
      opcode: header.readUInt8(1),
      opaque: header.readUInt32BE(12),
      cas: header.readBigUInt64BE(16),
      valueBytes: Math.max(0, bodyBytes - keyBytes - extrasBytes),
    }
    if (state === 'ok') {
      if (this.#input.length < HEADER_BYTES + bodyBytes) return undefined
      const body = this.#input.take(HEADER_BYTES + bodyBytes).subarray(HEADER_BYTES)
      return {
        ...head,
        extras: body.subarray(0, extrasBytes),
        key: body.subarray(extrasBytes, extrasBytes + keyBytes),
        value: body.subarray(extrasBytes + keyBytes),
      }
    }
    this.#isBroken = state === 'broken'
    this.#input.skip(HEADER_BYTES)
    this.#skipBytes = bodyBytes
    return { ...head, extras: NOTHING, key: NOTHING, value: NOTHING }
  }

  #stateOf(header: Buffer, keyBytes: number, extrasBytes: number, bodyBytes: number): FrameState {
    if (header[0] !== REQUEST_MAGIC) return 'broken'
    const isKeyLong = keyBytes > MAX_KEY_BYTES || extrasBytes > MAX_EXTRAS_BYTES
    if (isKeyLong || keyBytes + extrasBytes > bodyBytes) return 'invalid'
    return bodyBytes - keyBytes - extrasBytes > this.#maxValueBytes ? 'too_large' : 'ok'
  }

  #skip(): boolean {
    const skipped = Math.min(this.#skipBytes, this.#input.length)
    this.#input.skip(skipped)
    this.#skipBytes -= skipped
    return this.#skipBytes === 0
  }
}
