// One connection of the rpc frontend: it reads frames, carries out their calls and writes the answers. It stops reading
// while its peer does not read; the answers that it holds are bounded by MAX_UNREAD_BYTES, FLUSH_BYTES and one answer.

import type { Duplex } from 'node:stream'
import type { Clock } from '../../base/clock.ts'
import { Conversation, type ConversationParts } from './conversation.ts'

/** Bytes of answers after which they are handed to the stream, even if there are more requests. */
const FLUSH_BYTES = 65_536
/** Bytes of answers that may wait in the stream; while there are more, requests wait. */
const MAX_UNREAD_BYTES = 262_144

export interface ConnectionOptions {
  readonly clock: Clock
  /** Longest silence between two requests. */
  readonly idleTimeoutMs: number
  /** Longest time for the rest of a request to arrive, and for answers to be read. */
  readonly stallTimeoutMs: number
  readonly onClose: () => void
}

export class Connection {
  readonly #stream: Duplex
  readonly #parts: ConversationParts
  readonly #options: ConnectionOptions
  readonly #conversation: Conversation
  /** `blocked`: requests wait until the peer has read. `ending`: no more requests are read. */
  #state: 'open' | 'blocked' | 'ending' | 'closed' = 'open'
  /** When a request was last answered, or when answers were last read. */
  #progressMs: number
  /** When the incomplete request began; undefined when there is none. */
  #midwaySinceMs: number | undefined

  constructor(stream: Duplex, parts: ConversationParts, options: ConnectionOptions) {
    this.#stream = stream
    this.#parts = parts
    this.#options = options
    this.#conversation = new Conversation(parts)
    this.#progressMs = options.clock.monotonicMs()
    stream.on('data', (piece: Buffer) => this.#receive(piece))
    stream.on('drain', () => this.#drained())
    // A reset by the peer ends the connection and is not logged.
    stream.on('error', () => this.close())
    stream.on('close', () => this.#closed())
  }

  /** Whether the peer has been silent, or has not read answers, for longer than allowed. */
  isOverdue(nowMs: number): boolean {
    const { idleTimeoutMs, stallTimeoutMs } = this.#options
    if (this.#state !== 'open') return nowMs - this.#progressMs >= stallTimeoutMs
    if (this.#midwaySinceMs !== undefined) return nowMs - this.#midwaySinceMs >= stallTimeoutMs
    return nowMs - this.#progressMs >= idleTimeoutMs
  }

  close(): void {
    this.#stream.destroy()
    this.#closed()
  }

  #receive(piece: Buffer): void {
    if (this.#state === 'ending' || this.#state === 'closed') return
    this.#conversation.append(piece)
    if (this.#state === 'open') this.#run()
  }

  #run(): void {
    let answers: Buffer[] = []
    let gatheredBytes = 0
    let hasAnswered = false
    const flush = () => {
      this.#send(answers)
      answers = []
      gatheredBytes = 0
    }
    while (this.#state === 'open') {
      const answer = this.#conversation.next()
      if (answer === undefined) break
      if (answer === 'malformed') {
        flush()
        this.#end()
        break
      }
      hasAnswered = true
      answers.push(answer)
      gatheredBytes += answer.length
      if (gatheredBytes >= FLUSH_BYTES) flush()
    }
    flush()
    const nowMs = this.#options.clock.monotonicMs()
    if (hasAnswered) this.#progressMs = nowMs
    if (this.#conversation.heldBytes === 0) this.#midwaySinceMs = undefined
    else if (hasAnswered || this.#midwaySinceMs === undefined) this.#midwaySinceMs = nowMs
  }

  #send(answers: readonly Buffer[]): void {
    if (answers.length === 0) return
    const bytes = Buffer.concat(answers)
    this.#parts.stats.bytesWritten += bytes.length
    this.#stream.write(bytes)
    if (this.#stream.writableLength <= MAX_UNREAD_BYTES || this.#state !== 'open') return
    this.#state = 'blocked'
    this.#stream.pause()
  }

  #drained(): void {
    if (this.#state !== 'blocked') return
    this.#state = 'open'
    this.#progressMs = this.#options.clock.monotonicMs()
    this.#run()
    if (this.#state === 'open') this.#stream.resume()
  }

  /** Closes after the answers that are written already have been sent; input that still arrives is ignored. */
  #end(): void {
    if (this.#state === 'closed') return
    this.#state = 'ending'
    this.#stream.end()
    this.#stream.resume()
  }

  #closed(): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#options.onClose()
  }
}
