// Frames over a byte stream: a length of four bytes, big endian, and that many bytes. It reads no more than the caller
// asks for, so that TCP slows the other side down; a stream on which nothing moves is given up. Pieces are taken as they
// come, because what `read` of a stream joins leaves copies of ticket keys behind.

import type { Duplex } from 'node:stream'
import type { Clock } from '../../base/world.ts'
import { Admission } from '../../store/room.ts'
import type { SessionStore } from '../../store/session-store.ts'
import { MIN_TOLD_TTL_MS } from '../../store/stored-entries.ts'
import type { Change } from '../../store/versions.ts'
import { ChangeBatch, type ChangesMessage } from '../../wire/changes.ts'
import { toFrame } from '../../wire/framing.ts'
import { MAX_LONE_CHANGE_BYTES } from '../../wire/message.ts'
import {
  decodeSyncFrame,
  MAX_FRAME_BYTES,
  NO_ORIGIN,
  type SyncFrame,
  type ToldLimits,
} from '../../wire/sync-message.ts'
import { SyncError, type SyncStats } from './stats.ts'

const LENGTH_BYTES = 4
/** A frame must arrive, or be taken by the other side, within this time. */
export const STALL_TIMEOUT_MS = 10_000

export class FrameStream {
  readonly #stream: Duplex
  readonly #clock: Clock
  /**
   * First error of the stream. TLS reports a forged record by the error event only, and then the stream ends like any
   * other.
   */
  #error: Error | undefined
  /** What arrived and was not read yet; the stream is paused while that is enough. */
  #pieces: Buffer[] = []
  #arrivedBytes = 0
  /** Bytes that the call waits for. */
  #wantedBytes = 0
  /** Wakes the call that waits for the stream, if there is one. */
  #wake: () => void = () => {}

  /** Takes over the stream; `end` and `close` close it. */
  constructor(stream: Duplex, clock: Clock) {
    this.#stream = stream
    this.#clock = clock
    stream.pause()
    stream.on('data', (piece: Buffer) => {
      this.#pieces.push(piece)
      this.#arrivedBytes += piece.length
      if (this.#arrivedBytes < this.#wantedBytes) return
      stream.pause()
      this.#wake()
    })
    for (const event of ['drain', 'end', 'close']) stream.on(event, () => this.#wake())
    stream.on('error', (error) => {
      this.#error ??= error
      this.#wake()
    })
  }

  /**
   * Resolves with the next frame, or with undefined when the other side ended after a whole frame. Rejects with a
   * SyncError.
   */
  async receive(): Promise<SyncFrame | undefined> {
    const deadlineMs = this.#clock.monotonicMs() + STALL_TIMEOUT_MS
    try {
      const head = await this.#read(LENGTH_BYTES, deadlineMs)
      if (head === undefined) return undefined
      const length = head.bytes.readUInt32BE()
      if (length === 0 || length > MAX_FRAME_BYTES) {
        throw new SyncError('malformed', `a frame of ${length} bytes`)
      }
      const body = await this.#read(length, deadlineMs)
      if (body === undefined) throw new SyncError('broken', 'ended within a frame')
      const frame = decodeFrame(body)
      if (frame.kind === 'rings') this.#clock.soon(overwriteStack)
      return frame
    } catch (error) {
      this.#erase()
      throw error
    }
  }

  /** Writes a copy of the frame and resolves when there is room for another one. Rejects with a SyncError. */
  send(frame: Buffer): Promise<void> {
    return this.#write(toFrame(frame), () => {})
  }

  /**
   * Writes a frame that holds secrets, fills its bytes and those of the copy with zeros, and resolves when they were sent.
   * It is written by itself: Node.js joins writes that wait for each other in memory that nobody erases.
   */
  async sendSecret(frame: Buffer): Promise<void> {
    const bytes = toFrame(frame)
    frame.fill(0)
    try {
      await this.#untilSent()
      await this.#write(bytes, () => bytes.fill(0))
      await this.#untilSent()
    } catch (error) {
      bytes.fill(0)
      throw error
    }
  }

  /** Resolves when nothing that was written waits any more. */
  async #untilSent(): Promise<void> {
    const deadlineMs = this.#clock.monotonicMs() + STALL_TIMEOUT_MS
    while (this.#stream.writableLength > 0) {
      this.assertOpen()
      await this.#wait(deadlineMs)
    }
  }

  /** Calls `taken` when the stream no longer needs the bytes, also when it failed. */
  async #write(bytes: Buffer, taken: () => void): Promise<void> {
    this.assertOpen()
    const hasRoom = this.#stream.write(bytes, () => {
      taken()
      this.#wake()
    })
    if (hasRoom) return
    const deadlineMs = this.#clock.monotonicMs() + STALL_TIMEOUT_MS
    while (this.#stream.writableNeedDrain) {
      await this.#wait(deadlineMs)
      this.assertOpen()
    }
  }

  /** Ends the stream and closes it after the written bytes were sent, so that the other side sees an orderly end. */
  end(): void {
    if (!this.#stream.destroyed) this.#stream.end(() => this.#stream.destroy())
  }

  close(): void {
    this.#stream.destroy()
    this.#erase()
  }

  /** Resolves with exactly `length` bytes, or with undefined at the end of the stream. */
  async #read(length: number, deadlineMs: number): Promise<ReadBytes | undefined> {
    this.#wantedBytes = length
    while (this.#arrivedBytes < length) {
      if (this.#error !== undefined) throw new SyncError('broken', this.#error.message)
      if (this.#stream.readableEnded) {
        if (this.#arrivedBytes === 0) return undefined
        throw new SyncError('broken', 'ended within a frame')
      }
      if (this.#stream.destroyed) throw new SyncError('broken', 'closed')
      this.#stream.resume()
      await this.#wait(deadlineMs)
    }
    return this.#take(length)
  }

  /** Takes bytes that have arrived: a view of their piece, or a copy of what lies in several. */
  #take(length: number): ReadBytes {
    this.#arrivedBytes -= length
    const [first] = this.#pieces
    if (first !== undefined && first.length > length) {
      this.#pieces[0] = first.subarray(length)
      return { bytes: first.subarray(0, length), copied: [] }
    }
    const parts: Buffer[] = []
    for (let left = length; left > 0; ) {
      const piece = this.#pieces.shift()
      if (piece === undefined) break
      parts.push(piece.subarray(0, left))
      if (piece.length > left) this.#pieces.unshift(piece.subarray(left))
      left -= Math.min(left, piece.length)
    }
    const [only] = parts
    if (parts.length === 1 && only !== undefined) return { bytes: only, copied: [] }
    const bytes = Buffer.allocUnsafeSlow(length)
    let at = 0
    for (const part of parts) at += part.copy(bytes, at)
    return { bytes, copied: parts }
  }

  /** Fills what arrived and will not be read with zeros: there may be ticket keys in it. */
  #erase(): void {
    for (const piece of this.#pieces.splice(0)) piece.fill(0)
    this.#arrivedBytes = 0
  }

  /** Resolves at the next event of the stream; rejects with a SyncError at the deadline. */
  #wait(deadlineMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(deadlineMs - this.#clock.monotonicMs(), () => {
        reject(new SyncError('stalled', 'nothing happened for too long'))
      })
      this.#wake = () => {
        timer.cancel()
        resolve()
      }
    })
  }

  /** Throws a SyncError when the stream can no longer be written to. */
  assertOpen(): void {
    const isOpen = !this.#stream.destroyed && this.#stream.writable
    if (isOpen && this.#error === undefined) return
    throw new SyncError('broken', this.#error?.message ?? 'closed')
  }
}

/** Bytes out of the stream, and the pieces from which they were copied, if they were. */
interface ReadBytes {
  readonly bytes: Buffer
  readonly copied: readonly Buffer[]
}

/** Decodes a frame. Only what was decoded out of a frame with ticket keys is left of its bytes. */
function decodeFrame({ bytes, copied }: ReadBytes): SyncFrame {
  const frame = decodeSyncFrame(bytes)
  if (frame === undefined || frame.kind === 'rings') for (const part of copied) part.fill(0)
  if (frame !== undefined) return frame
  // It may be a frame of ticket keys in which one byte is wrong.
  bytes.fill(0)
  throw new SyncError('malformed', 'malformed frame')
}

/** Arguments that fill 64 KiB of the stack. */
const STACK_FILLING: readonly number[] = Array(8192).fill(0)

/**
 * Fills the unused part of the stack of this thread. Node.js decrypts what TLS brings into an array of 16 KiB on the stack
 * and leaves it there; a call from a later turn puts its arguments over it.
 */
function overwriteStack(): void {
  Reflect.apply(nothing, undefined, STACK_FILLING)
}

function nothing(): void {}

// Entries over a connection: gathered into frames of changes and sent in short turns of the event loop.

/** Changes per frame: to encode or apply them takes a millisecond or two. */
const CHANGES_PER_FRAME = 128

/** Decides whether a peer takes a change, by the limits that it sent; without limits it takes everything. */
export class PeerAdmission {
  readonly #limits: ToldLimits | undefined
  readonly #admission: Admission | undefined

  constructor(limits: ToldLimits | undefined) {
    this.#limits = limits
    this.#admission = limits && new Admission(limits)
  }

  takes(change: Change): boolean {
    if (this.#limits === undefined || this.#admission === undefined) return true
    if (change.kind === 'remove') return change.id.length <= this.#limits.keysize
    const leftMs = this.#limits.timeoutMs - (change.ageMs ?? 0)
    return leftMs >= MIN_TOLD_TTL_MS && this.#admission.refusalOf(change) === undefined
  }
}

export class ChangeSender {
  readonly #stream: FrameStream
  readonly #clock: Clock
  readonly #stats: SyncStats
  readonly #pacer: Pacer
  readonly #batch = new ChangeBatch(2 * MAX_LONE_CHANGE_BYTES, NO_ORIGIN)

  constructor(stream: FrameStream, clock: Clock, stats: SyncStats) {
    this.#stream = stream
    this.#clock = clock
    this.#stats = stats
    this.#pacer = new Pacer(clock)
  }

  /** True when the frame is full, so that the next `add` sends it first. */
  get isFull(): boolean {
    return this.#batch.count >= CHANGES_PER_FRAME
  }

  async add(change: Change): Promise<void> {
    if (this.isFull || !this.#batch.add(change)) {
      await this.flush()
      this.#batch.add(change)
    }
  }

  async flush(): Promise<void> {
    const { count } = this.#batch
    if (count === 0) return
    this.#stats.entriesSent += count
    await this.#stream.send(this.#batch.take(this.#clock.wallMs()))
    await this.#pacer.pause()
  }
}

/**
 * Applies entries of a peer to the stores they belong to. Nothing is evicted for them; those of unknown caches are
 * ignored.
 */
export function applyEntries(
  message: ChangesMessage,
  stores: ReadonlyMap<string, SessionStore>,
  stats: SyncStats,
): void {
  stats.entriesReceived += message.changes.length
  for (const change of message.changes) stores.get(change.cache)?.apply(change, false)
}

// Divides long work into short turns, so that copying a whole store does not keep the sockets waiting.

/** Length of a turn: how long the work may hold the event loop at once. */
const TURN_MS = 2

export class Pacer {
  readonly #clock: Clock
  readonly #assertWanted: () => void
  #turnEndMs: number

  /** `assertWanted` throws when the result of the work is no longer needed. */
  constructor(clock: Clock, assertWanted = () => {}) {
    this.#clock = clock
    this.#assertWanted = assertWanted
    this.#turnEndMs = clock.monotonicMs() + TURN_MS
  }

  /** True when the turn is over and `pause` is due. */
  get isOver(): boolean {
    return this.#clock.monotonicMs() >= this.#turnEndMs
  }

  /**
   * Resolves after the I/O that is already waiting was handled, and begins a new turn. Rejects with what `assertWanted`
   * throws.
   */
  async pause(): Promise<void> {
    await new Promise<void>((resolve) => this.#clock.soon(resolve))
    this.#assertWanted()
    this.#turnEndMs = this.#clock.monotonicMs() + TURN_MS
  }
}
