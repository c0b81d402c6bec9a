// One connection of the memcached frontend: it takes input, carries out the commands and sends the answers. It stops
// reading while its peer does not read; the answers that it holds are bounded by MAX_UNREAD_BYTES, FLUSH_BYTES and one
// answer.

import type { Socket } from 'node:net'
import type { Clock } from '../../base/world.ts'
import { InputBuffer } from '../input-buffer.ts'
import { REQUEST_MAGIC } from './binary-parser.ts'
import { BinaryProtocol } from './binary-protocol.ts'
import { ClientSocket, type SocketUser } from './fast/client-socket.ts'
import type { ReplyBuffer } from './fast/reply-buffer.ts'
import type { Turn, TurnMember } from './fast/turn.ts'
import type { Protocol, ProtocolParts, Resume } from './protocol.ts'
import { TextProtocol } from './text-protocol.ts'

/** Bytes of answers after which they are handed to the socket, even if there are more commands. */
const FLUSH_BYTES = 65_536
/** Bytes of answers that may wait in the socket; while there are more, commands wait. */
const MAX_UNREAD_BYTES = 262_144

/** Options that all connections share. */
export interface ConnectionOptions {
  readonly clock: Clock
  readonly turn: Turn
  /** Longest silence between two commands. */
  readonly idleTimeoutMs: number
  /** Longest time for the rest of a command to arrive, and for answers to be read. */
  readonly stallTimeoutMs: number
}

export class Connection implements TurnMember, SocketUser {
  readonly #socket: ClientSocket
  readonly #parts: ProtocolParts
  readonly #options: ConnectionOptions
  readonly #onClose: () => void
  readonly #input: InputBuffer
  readonly #output: ReplyBuffer
  /** Where the answers of this connection in this turn begin in the output. */
  #answersAt = 0
  /** Chosen by the first byte of the peer; undefined before. */
  #protocol: Protocol | undefined
  /** `blocked`: commands wait until the peer has read. `waiting`: they wait for a command that is not done. */
  #state: 'open' | 'blocked' | 'waiting' | 'ending' | 'closed' = 'open'
  /** What is carried out at the end of this turn; `input` is what came in, which may be a lone get. */
  #inTurn: 'nothing' | 'input' | 'commands' = 'nothing'
  /** Whether the next input, if it is a lone get, may be answered without the protocol. */
  #mayTakeLoneGets = false
  #isPaused = false
  /** Whether the peer has ended its side. */
  #hasEnded = false
  /** Writes the answer of the command that was `waiting` and is done. */
  #answer: (() => void) | undefined
  /** Goes on when the command that is `waiting` is done. */
  readonly #resume: Resume = (answer) => {
    if (this.#state !== 'waiting') return
    this.#answer = answer
    this.#goOn()
  }
  /** When a command last ended, or when answers were last read. */
  #progressMs: number
  /** When the incomplete command began; undefined when there is none. */
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

  /** False on a Node.js that lacks the internals that fast reading and writing need. */
  get isFast(): boolean {
    return this.#socket.isFast
  }

  /** Whether the peer has been silent, or has not read answers, for longer than allowed. */
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
    // Everything that the peer sent before it ended its side is answered now.
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

  /** Sends the answers of this connection before the turn ends. They are the last ones in the output. */
  #sendNow(): void {
    this.#send(this.#answersAt, this.#output.length - this.#answersAt)
    this.#output.truncate(this.#answersAt)
  }

  /** Sends `length` bytes of the output from `start` on, and blocks while too many bytes wait for the peer. */
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

  /** Closes after the answers that are written already have been sent; input that still arrives is ignored. */
  #end(): void {
    if (this.#state === 'closed') return
    this.#state = 'ending'
    this.#progressMs = this.#options.clock.monotonicMs()
    this.#socket.end()
    this.#socket.resume()
  }
}
