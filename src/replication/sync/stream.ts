// Frames over a byte stream: a length of four bytes, big endian, and that many bytes. It reads no more than the caller
// asks for, so that TCP slows the other side down; a stream on which nothing moves is given up.

import type { Duplex } from 'node:stream'
import type { Clock } from '../../base/world.ts'
import { Admission } from '../../store/room.ts'
import type { SessionStore } from '../../store/session-store.ts'
import { MIN_TOLD_TTL_MS } from '../../store/stored-entries.ts'
import type { Change } from '../../store/versions.ts'
import { ChangeBatch, type ChangesMessage } from '../../wire/changes.ts'
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
  /** Wakes the call that waits for the stream, if there is one. */
  #wake: () => void = () => {}

  /** Takes over the stream; `end` and `close` close it. */
  constructor(stream: Duplex, clock: Clock) {
    this.#stream = stream
    this.#clock = clock
    // These listeners stay, because a stream whose last `readable` listener is removed may begin to flow. The next call
    // finds out what happened.
    for (const event of ['readable', 'drain', 'end', 'close']) {
      stream.on(event, () => this.#wake())
    }
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
    const head = await this.#read(LENGTH_BYTES, deadlineMs)
    if (head === undefined) return undefined
    const length = head.readUInt32BE()
    if (length === 0 || length > MAX_FRAME_BYTES) {
      throw new SyncError('malformed', `a frame of ${length} bytes`)
    }
    const body = await this.#read(length, deadlineMs)
    if (body === undefined) throw new SyncError('broken', 'ended within a frame')
    const frame = decodeSyncFrame(body)
    if (frame !== undefined) return frame
    // It may be a frame of ticket keys in which one byte is wrong.
    body.fill(0)
    throw new SyncError('malformed', 'a frame that is none')
  }

  /** Writes a copy of the frame and resolves when there is room for another one. Rejects with a SyncError. */
  send(frame: Buffer): Promise<void> {
    return this.#write(withLength(frame), () => {})
  }

  /** Writes a frame that holds secrets as `send` does, and fills its bytes and those of the copy with zeros. */
  sendSecret(frame: Buffer): Promise<void> {
    const bytes = withLength(frame)
    frame.fill(0)
    return this.#write(bytes, () => bytes.fill(0))
  }

  /** Calls `taken` when the stream no longer needs the bytes, also when it failed. */
  async #write(bytes: Buffer, taken: () => void): Promise<void> {
    try {
      this.assertOpen()
    } catch (error) {
      taken()
      throw error
    }
    if (this.#stream.write(bytes, taken)) return
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
  }

  /** Resolves with exactly `length` bytes, or with undefined at the end of the stream. */
  async #read(length: number, deadlineMs: number): Promise<Buffer | undefined> {
    while (true) {
      const bytes: unknown = this.#stream.read(length)
      if (Buffer.isBuffer(bytes)) {
        if (bytes.length === length) return bytes
        throw new SyncError('broken', 'ended within a frame')
      }
      if (this.#error !== undefined) throw new SyncError('broken', this.#error.message)
      if (this.#stream.readableEnded) return undefined
      if (this.#stream.destroyed) throw new SyncError('broken', 'closed')
      await this.#wait(deadlineMs)
    }
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

function withLength(frame: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(LENGTH_BYTES + frame.length)
  bytes.writeUInt32BE(frame.length)
  frame.copy(bytes, LENGTH_BYTES)
  return bytes
}

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
