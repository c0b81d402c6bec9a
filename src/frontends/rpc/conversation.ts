// One connection of the rpc frontend: it reads frames, carries out their calls and writes the answers. It stops reading
// while its peer does not read; the answers that it holds are bounded by MAX_UNREAD_BYTES, FLUSH_BYTES and one answer.

import type { Duplex } from 'node:stream'
import { messageOf } from '../../base/errors.ts'
import { type Clock, type LevelledLogger, LOG_LEVELS, type LogLimiter } from '../../base/world.ts'
import type { LocalHooks } from '../../hooks/local-hooks.ts'
import type { TicketKeySource } from '../../tickets/authority.ts'
import { FrameReader } from '../../wire/framing.ts'
import {
  decodeHooksRequest,
  encodeHooksResponse,
  type GetCall,
  type HooksError,
  type HooksRequest,
  type HooksResult,
  type LogLevelCall,
  MAX_HOOKS_FRAME_BYTES,
  type PutCall,
  type RemoveCall,
  type RotateCall,
  type SessionCall,
  type WatchCall,
} from '../../wire/hooks-message.ts'
import type { RpcStats } from './stats.ts'
import { TicketWatches, type WatchStart } from './ticket-watches.ts'

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
  readonly #watches: TicketWatches
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
    this.#watches = new TicketWatches(stream, options.clock, parts.stats)
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
    if (this.#watches.isOverdue(nowMs, stallTimeoutMs)) return true
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
      if (!Buffer.isBuffer(answer)) {
        flush()
        this.#watches.start(answer)
        continue
      }
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
    this.#watches.close()
    this.#stream.end()
    this.#stream.resume()
  }

  #closed(): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#watches.close()
    this.#options.onClose()
  }
}

// Carries out the requests of one connection, in order, on the caches of this node: it takes pieces of frames and
// returns whole frames. Nothing waits here, since every answer comes from memory.

export interface ConversationParts {
  /** Hooks of each cache by its name. */
  readonly caches: ReadonlyMap<string, LocalHooks>
  readonly stats: RpcStats
  readonly failures: LogLimiter
  /** The log whose level may be changed; undefined where that is not allowed. */
  readonly log?: LevelledLogger | undefined
  /** The ticket keys that callers may rotate and watch; undefined for none, or where that is not allowed. */
  readonly tickets?: RpcTickets | undefined
}

export interface RpcTickets {
  /** Makes a key of a group; false when there is no such group. */
  rotate(group: string, options: { isImmediate: boolean; isRevoking: boolean }): boolean
  /** Returns the keys of a group; undefined when there is no such group. */
  source(group: string): TicketKeySource | undefined
}

export class Conversation {
  readonly #parts: ConversationParts
  readonly #frames = new FrameReader(MAX_HOOKS_FRAME_BYTES)

  constructor(parts: ConversationParts) {
    this.#parts = parts
  }

  /** Bytes held of an incomplete request; 0 between two requests. */
  get heldBytes(): number {
    return this.#frames.heldBytes
  }

  /** Takes over the next piece of the input. */
  append(piece: Buffer): void {
    this.#parts.stats.bytesRead += piece.length
    this.#frames.append(piece)
  }

  /**
   * Returns the answer to the next request, or the watch that it begins; undefined when more bytes must come first.
   * Nothing follows `malformed`.
   */
  next(): Buffer | WatchStart | 'malformed' | undefined {
    const { stats } = this.#parts
    const frame = this.#frames.next()
    if (frame === undefined) return undefined
    if (frame === 'malformed') {
      stats.malformedLength += 1
      return 'malformed'
    }
    const request = decodeHooksRequest(frame)
    if (request === undefined) {
      stats.malformedRequest += 1
      return 'malformed'
    }
    const { number, call } = request
    const answer = call.kind === 'watchTickets' ? this.#watch(number, call) : this.#answer(call)
    return 'source' in answer ? answer : encodeHooksResponse(number, answer)
  }

  #answer(call: Exclude<HooksRequest['call'], WatchCall>): HooksResult {
    const { stats, caches } = this.#parts
    if (call.kind === 'unknown') return this.#refuse('unknownCalls', 'unknown_call')
    if (call.kind === 'ping') {
      stats.pings += 1
      return { kind: 'pong' }
    }
    if (call.kind === 'logLevel') return this.#logLevel(call)
    if (call.kind === 'rotateTickets') return this.#rotate(call)
    const hooks = caches.get(call.cache)
    if (hooks === undefined) return this.#refuse('unknownCaches', 'no_such_cache')
    try {
      return this.#carryOut(hooks, call)
    } catch (error) {
      this.#fail(error)
      return { kind: 'error', code: 'internal' }
    }
  }

  #carryOut(hooks: LocalHooks, call: SessionCall): HooksResult {
    switch (call.kind) {
      case 'get':
        return this.#get(hooks, call)
      case 'put':
        return this.#put(hooks, call)
      case 'remove':
        return this.#remove(hooks, call)
    }
  }

  #get(hooks: LocalHooks, { context, id, serverName }: GetCall): HooksResult {
    this.#parts.stats.gets += 1
    const found = hooks.get(context, id, serverName)
    if (found === undefined) return { kind: 'miss' }
    this.#parts.stats.getHits += 1
    const { session, ttlMs, isRenewable } = found
    return { kind: 'found', session, ttlMs, ...(isRenewable === true && { isRenewable }) }
  }

  #put(hooks: LocalHooks, call: PutCall): HooksResult {
    this.#parts.stats.puts += 1
    const result = hooks.put(call)
    if (result !== 'stored' && result !== 'replaced') this.#parts.stats.refused += 1
    return { kind: 'stored', result }
  }

  #remove(hooks: LocalHooks, { context, id }: RemoveCall): HooksResult {
    this.#parts.stats.removes += 1
    const wasThere = hooks.remove(context, id)
    if (wasThere) this.#parts.stats.removeHits += 1
    return { kind: 'removed', wasThere }
  }

  #logLevel({ level }: LogLevelCall): HooksResult {
    const { stats, log } = this.#parts
    if (log === undefined) return this.#refuse('forbidden', 'forbidden')
    stats.logLevels += 1
    const before = log.level
    if (level !== undefined && level !== before) {
      // One of both levels shows the line, unless both hide it.
      const say = () => log.info({ from: before, to: level }, 'rpc: the log level was changed')
      say()
      log.level = level
      if (LOG_LEVELS.indexOf(before) > LOG_LEVELS.indexOf('info')) say()
    }
    return { kind: 'logLevel', level: log.level }
  }

  #rotate({ group, isImmediate, isRevoking }: RotateCall): HooksResult {
    const { stats, tickets } = this.#parts
    if (tickets === undefined) return this.#refuse('forbidden', 'forbidden')
    stats.rotations += 1
    const isThere = tickets.rotate(group, { isImmediate, isRevoking })
    return isThere ? { kind: 'rotated' } : this.#refuse('unknownGroups', 'no_such_group')
  }

  #watch(number: number, { group }: WatchCall): WatchStart | HooksResult {
    const { stats, tickets } = this.#parts
    if (tickets === undefined) return this.#refuse('forbidden', 'forbidden')
    const source = tickets.source(group)
    if (source === undefined) return this.#refuse('unknownGroups', 'no_such_group')
    stats.ticketWatches += 1
    return { number, group, source }
  }

  /** Counts a call that is not carried out, and returns the answer to it. */
  #refuse(
    event: 'unknownCalls' | 'unknownCaches' | 'unknownGroups' | 'forbidden',
    code: HooksError,
  ): HooksResult {
    this.#parts.stats[event] += 1
    return { kind: 'error', code }
  }

  #fail(error: unknown): void {
    const { stats, failures } = this.#parts
    stats.failed += 1
    failures.error(() => ({ reason: messageOf(error) }), 'rpc: a call failed')
  }
}
