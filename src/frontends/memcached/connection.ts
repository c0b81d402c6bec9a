// One connection: bytes in, commands carried out, answers out. It stops reading while its peer does not
// read, and never holds more answers than one large one above the mark.

import type { Socket } from 'node:net'
import type { Clock } from '../../base/clock.ts'
import type { Answerer, AnswerTurn } from './answer-turn.ts'
import { REQUEST_MAGIC } from './binary-parser.ts'
import { BinaryProtocol } from './binary-protocol.ts'
import { InputBuffer } from './input-buffer.ts'
import type { Protocol, ProtocolParts, Resume } from './protocol.ts'
import { ReplyBuffer, type ReplyMemory } from './reply-buffer.ts'
import { TextProtocol } from './text-protocol.ts'

/** Answers gathered before they are handed to the socket, though there are more commands. */
const FLUSH_BYTES = 65_536
/** Answers that may wait in the socket before commands wait, too. */
const MAX_UNREAD_BYTES = 262_144

export interface ConnectionOptions {
  readonly clock: Clock
  readonly replyMemory: ReplyMemory
  readonly answerTurn: AnswerTurn
  /** Longest silence between two commands. */
  readonly idleTimeoutMs: number
  /** Longest time for the rest of a command to come, and for answers to be read. */
  readonly stallTimeoutMs: number
  readonly onClose: () => void
}

export type ConnectionParts = Omit<ProtocolParts, 'input' | 'output'>

export class Connection implements Answerer {
  readonly #socket: Socket
  readonly #parts: ConnectionParts
  readonly #options: ConnectionOptions
  readonly #input = new InputBuffer()
  readonly #output: ReplyBuffer
  /** Known from the first byte on. */
  #protocol: Protocol | undefined
  /** `blocked`: the peer must read first. `waiting`: a command of its own is not done. */
  #state: 'open' | 'blocked' | 'waiting' | 'ending' | 'closed' = 'open'
  /** Whether its answers are sent at the end of this turn. */
  #isInTurn = false
  /** When the last command ended, or answers were read. */
  #progressMs: number
  /** When the command began that is not complete yet. */
  #midwaySinceMs: number | undefined

  constructor(socket: Socket, parts: ConnectionParts, options: ConnectionOptions) {
    this.#socket = socket
    this.#parts = parts
    this.#options = options
    this.#output = new ReplyBuffer(options.replyMemory)
    this.#progressMs = options.clock.monotonicMs()
    socket.on('data', (chunk) => this.#receive(chunk))
    socket.on('drain', () => this.#drained())
    // A reset by the peer is as good as an end.
    socket.on('error', () => this.close())
    socket.on('close', () => this.#closed())
  }

  /** Whether its peer has kept it waiting for too long. */
  isOverdue(nowMs: number): boolean {
    const { idleTimeoutMs, stallTimeoutMs } = this.#options
    if (this.#state === 'waiting') return false
    const isStalled = this.#state === 'blocked' || this.#state === 'ending'
    if (isStalled) return nowMs - this.#progressMs >= stallTimeoutMs
    if (this.#midwaySinceMs !== undefined) return nowMs - this.#midwaySinceMs >= stallTimeoutMs
    return nowMs - this.#progressMs >= idleTimeoutMs
  }

  /** At the end of a turn in which it had answers. */
  sendAnswers(): void {
    this.#isInTurn = false
    if (this.#state === 'closed') this.#output.clear(true)
    else this.#send()
  }

  close(): void {
    this.#socket.destroy()
    this.#closed()
  }

  #receive(chunk: Buffer): void {
    this.#parts.stats.bytesRead += chunk.length
    if (this.#state === 'ending' || this.#state === 'closed') return
    this.#input.append(chunk)
    if (this.#state === 'open') this.#run()
  }

  #run(): void {
    const { clock } = this.#options
    const protocol = this.#protocolOf(this.#input.at(0))
    const resume: Resume = (answer) => this.#resume(answer)
    let hasAnswered = false
    while (this.#state === 'open') {
      const step = protocol.step(resume)
      if (step === 'answered') {
        hasAnswered = true
        if (this.#output.length >= FLUSH_BYTES) this.#send()
        continue
      }
      if (step === 'starved') {
        this.#sendLater()
        break
      }
      this.#send()
      if (step === 'close') this.#end()
      if (step === 'waiting') this.#wait('waiting')
    }
    const nowMs = clock.monotonicMs()
    if (hasAnswered) this.#progressMs = nowMs
    if (!protocol.isMidway) this.#midwaySinceMs = undefined
    else if (hasAnswered || this.#midwaySinceMs === undefined) this.#midwaySinceMs = nowMs
  }

  #protocolOf(firstByte: number): Protocol {
    if (this.#protocol === undefined) {
      const parts = { ...this.#parts, input: this.#input, output: this.#output }
      const isBinary = firstByte === REQUEST_MAGIC
      this.#protocol = isBinary ? new BinaryProtocol(parts) : new TextProtocol(parts)
    }
    return this.#protocol
  }

  #sendLater(): void {
    if (this.#output.length === 0 || this.#isInTurn) return
    this.#isInTurn = true
    this.#options.answerTurn.add(this)
  }

  #send(): void {
    if (this.#output.length === 0) return
    this.#parts.stats.bytesWritten += this.#output.length
    this.#socket.write(this.#output.gathered())
    // Nothing waits in the socket: the kernel has its own copy of these answers.
    this.#output.clear(this.#socket.writableLength === 0)
    const mayRead = this.#socket.writableLength <= MAX_UNREAD_BYTES
    if (!mayRead && this.#state === 'open') this.#wait('blocked')
  }

  #wait(state: 'blocked' | 'waiting'): void {
    if (this.#state === 'closed') return
    this.#state = state
    this.#progressMs = this.#options.clock.monotonicMs()
    this.#socket.pause()
  }

  #resume(answer: () => void): void {
    if (this.#state !== 'waiting') return
    this.#state = 'open'
    answer()
    this.#goOn()
  }

  #drained(): void {
    if (this.#state !== 'blocked') return
    this.#state = 'open'
    this.#goOn()
  }

  #goOn(): void {
    this.#progressMs = this.#options.clock.monotonicMs()
    this.#run()
    if (this.#state === 'open') this.#socket.resume()
  }

  /** Answers what there is, then closes; what still comes in is not looked at. */
  #end(): void {
    if (this.#state === 'closed') return
    this.#state = 'ending'
    this.#progressMs = this.#options.clock.monotonicMs()
    this.#socket.end()
    this.#socket.resume()
  }

  #closed(): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#input.clear()
    this.#options.onClose()
  }
}
