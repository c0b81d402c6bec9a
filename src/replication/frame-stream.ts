// Frames over a byte stream: four bytes of length, big endian, and that many bytes. Reads only what was
// asked for, so that TCP holds the other side back; a side that stalls is cut off.

import type { Duplex } from 'node:stream'
import type { Clock } from '../base/clock.ts'
import { decodeSyncFrame, MAX_FRAME_BYTES, type SyncFrame } from '../wire/sync-message.ts'
import { SyncError } from './sync-stats.ts'

const LENGTH_BYTES = 4
/** A frame that takes longer to arrive or to be taken than this is not worth waiting for. */
export const STALL_TIMEOUT_MS = 10_000

export class FrameStream {
  readonly #stream: Duplex
  readonly #clock: Clock
  /** TLS tells that a record was tampered with as an event only, and then ends like any other stream. */
  #error: Error | undefined
  /** Ends the wait of the one call that is on its way. */
  #wake: () => void = () => {}

  /** Takes the stream over; `close` ends it. */
  constructor(stream: Duplex, clock: Clock) {
    this.#stream = stream
    this.#clock = clock
    // Kept for good: a stream whose last listener for `readable` goes may begin to flow. What happened
    // is told by the next call.
    for (const event of ['readable', 'drain', 'end', 'close']) {
      stream.on(event, () => this.#wake())
    }
    stream.on('error', (error) => {
      this.#error ??= error
      this.#wake()
    })
  }

  /** The next frame, or undefined when the other side ended between two. Rejects with a SyncError. */
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
    if (frame === undefined) throw new SyncError('malformed', 'a frame that is none')
    return frame
  }

  /** Copies the frame and resolves when there is room for another. Rejects with a SyncError. */
  async send(frame: Buffer): Promise<void> {
    this.assertOpen()
    const bytes = Buffer.allocUnsafe(LENGTH_BYTES + frame.length)
    bytes.writeUInt32BE(frame.length)
    frame.copy(bytes, LENGTH_BYTES)
    if (this.#stream.write(bytes)) return
    const deadlineMs = this.#clock.monotonicMs() + STALL_TIMEOUT_MS
    while (this.#stream.writableNeedDrain) {
      await this.#wait(deadlineMs)
      this.assertOpen()
    }
  }

  /** Closes when what was written is on its way, so that the other side sees an orderly end. */
  end(): void {
    if (!this.#stream.destroyed) this.#stream.end(() => this.#stream.destroy())
  }

  close(): void {
    this.#stream.destroy()
  }

  /** Exactly so many bytes; undefined at the end of the stream. */
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

  /** Resolves when anything happens to the stream. */
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

  /** Throws a SyncError when nothing can be sent any more. */
  assertOpen(): void {
    const isOpen = !this.#stream.destroyed && this.#stream.writable
    if (isOpen && this.#error === undefined) return
    throw new SyncError('broken', this.#error?.message ?? 'closed')
  }
}
