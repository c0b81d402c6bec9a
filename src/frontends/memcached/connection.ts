// One connection: bytes in, commands carried out, answers out. It stops reading while its peer does not
// read, and never holds more answers than one large one above the mark.

import type { Socket } from 'node:net'
import type { Clock } from '../../base/clock.ts'
import { REQUEST_MAGIC } from './binary-parser.ts'
import { BinaryProtocol } from './binary-protocol.ts'
import { ClientSocket, type SocketUser } from './client-socket.ts'
import { InputBuffer } from './input-buffer.ts'
import type { Protocol, ProtocolParts, Resume } from './protocol.ts'
import type { ReplyBuffer } from './reply-buffer.ts'
import { TextProtocol } from './text-protocol.ts'
import type { Turn, TurnMember } from './turn.ts'

/** Answers gathered before they are handed to the socket, though there are more commands. */
const FLUSH_BYTES = 65_536
/** Answers that may wait in the socket before commands wait, too. */
const MAX_UNREAD_BYTES = 262_144

/** The same for all connections. */
export interface ConnectionOptions {
  readonly clock: Clock
  readonly turn: Turn
  /** Longest silence between two commands. */
  readonly idleTimeoutMs: number
  /** Longest time for the rest of a command to come, and for answers to be read. */
  readonly stallTimeoutMs: number
}

export class Connection implements TurnMember, SocketUser {
  readonly #socket: ClientSocket
  readonly #parts: ProtocolParts
  readonly #options: ConnectionOptions
  readonly #onClose: () => void
  readonly #input: InputBuffer
  readonly #output: ReplyBuffer
  /** Where its answers of this turn begin in the output. */
  #answersAt = 0
  /** Known from the first byte on. */
  #protocol: Protocol | undefined
  /** `blocked`: the peer must read first. `waiting`: a command of its own is not done. */
  #state: 'open' | 'blocked' | 'waiting' | 'ending' | 'closed' = 'open'
  /** What is carried out for it at the end of this turn; `input`: what came in, whatever it is. */
  #inTurn: 'nothing' | 'input' | 'commands' = 'nothing'
  /** Whether nothing has come in that its protocol must know of before the next get. */
  #mayTakeLoneGets = false
  #isPaused = false
  /** Whether its peer sends nothing more. */
  #hasEnded = false
  /** Writes the answer to the command that was waited for. */
  #answer: (() => void) | undefined
  /** Called when that command is done. */
  readonly #resume: Resume = (answer) => {
    if (this.#state !== 'waiting') return
    this.#answer = answer
    this.#goOn()
  }
  /** When the last command ended, or answers were read. */
  #progressMs: number
  /** When the command began that is not complete yet. */
  #midwaySinceMs: number | undefined

  constructor(
    accepted: Socket,
    parts: ProtocolParts,
    options: ConnectionOptions,
    onClose: () => void,
  ) {
    this.#parts = parts
    this.#options = options
    this.#onClose = onClose
    this.#input = new InputBuffer(options.turn.input)
    this.#output = options.turn.output
    this.#progressMs = options.clock.monotonicMs()
    this.#socket = new ClientSocket(accepted, options.turn.input.readBuffer, this)
  }

  /** False with a Node that lacks what the fast way of reading and writing stands on. */
  get isFast(): boolean {
    return this.#socket.isFast
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

  received(bytes: Buffer, length: number): void {
    const { turn } = this.#options
    this.#parts.stats.bytesRead += length
    if (this.#inTurn === 'input' || !turn.input.hasRoomFor(length)) turn.end()
    if (this.#state === 'ending' || this.#state === 'closed') return
    if (this.#mayTakeLoneGets && this.#inTurn === 'nothing' && this.#state === 'open') {
      this.#inTurn = 'input'
      turn.addInput(this, bytes, length)
      return
    }
    this.#input.append(bytes, length)
    this.#joinTurn()
  }

  takeOver(start: number, length: number): void {
    this.#inTurn = 'commands'
    this.#input.hold(start, length)
  }

  carryOut(nowMs: number): void {
    this.#answersAt = this.#output.length
    if (this.#state === 'open') this.#run(nowMs)
    this.#input.keepRest()
    if (this.#isPaused && this.#state === 'open') {
      this.#isPaused = false
      this.#socket.resume()
    }
  }

  sendAnswers(start: number, length: number, nowMs: number): void {
    if (this.#inTurn === 'input') this.#progressMs = nowMs
    this.#inTurn = 'nothing'
    this.#send(start, length)
    // All is answered that came before the peer's end.
    if (this.#hasEnded && this.#state === 'open') this.#end()
  }

  ended(): void {
    this.#hasEnded = true
    this.#joinTurn()
  }

  drained(): void {
    if (this.#state === 'blocked') this.#goOn()
  }

  closed(): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#input.clear()
    this.#onClose()
  }

  close(): void {
    this.#socket.destroy()
    this.closed()
  }

  #joinTurn(): void {
    if (this.#inTurn !== 'nothing') return
    this.#inTurn = 'commands'
    this.#options.turn.add(this)
  }

  #run(nowMs: number): void {
    const protocol = this.#protocolOf(this.#input.at(0))
    let hasAnswered = false
    this.#answer?.()
    this.#answer = undefined
    while (this.#state === 'open') {
      const step = protocol.step(this.#resume)
      if (step === 'starved') break
      if (step === 'answered') {
        hasAnswered = true
        if (this.#output.length - this.#answersAt >= FLUSH_BYTES) this.#sendNow()
        continue
      }
      this.#sendNow()
      if (step === 'close') this.#end()
      if (step === 'waiting') this.#wait('waiting')
    }
    if (hasAnswered) this.#progressMs = nowMs
    this.#mayTakeLoneGets = protocol.mayTakeLoneGets
    if (!protocol.isMidway) this.#midwaySinceMs = undefined
    else if (hasAnswered || this.#midwaySinceMs === undefined) this.#midwaySinceMs = nowMs
  }

  #protocolOf(firstByte: number): Protocol {
    if (this.#protocol === undefined) {
      const Protocol = firstByte === REQUEST_MAGIC ? BinaryProtocol : TextProtocol
      this.#protocol = new Protocol(this.#input, this.#parts)
    }
    return this.#protocol
  }

  /** Before the turn ends: its answers are the last ones there. */
  #sendNow(): void {
    this.#send(this.#answersAt, this.#output.length - this.#answersAt)
    this.#output.truncate(this.#answersAt)
  }

  /** The bytes of the output from `start` on. */
  #send(start: number, length: number): void {
    if (length === 0 || this.#state === 'closed') return
    this.#parts.stats.bytesWritten += length
    this.#socket.send(this.#output.memory, start, length)
    const mayRead = this.#socket.waitingBytes <= MAX_UNREAD_BYTES
    if (!mayRead && this.#state === 'open') this.#wait('blocked')
  }

  #wait(state: 'blocked' | 'waiting'): void {
    if (this.#state === 'closed') return
    this.#state = state
    this.#progressMs = this.#options.clock.monotonicMs()
    this.#isPaused = true
    this.#socket.pause()
  }

  #goOn(): void {
    this.#state = 'open'
    this.#progressMs = this.#options.clock.monotonicMs()
    this.#joinTurn()
  }

  /** Answers what there is, then closes; what still comes in is not looked at. */
  #end(): void {
    if (this.#state === 'closed') return
    this.#state = 'ending'
    this.#progressMs = this.#options.clock.monotonicMs()
    this.#socket.end()
    this.#socket.resume()
  }
}
