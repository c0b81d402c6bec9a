// Carries out the requests of one connection, in order, on the caches of this node: it takes pieces of frames and
// returns whole frames. Nothing waits here, since every answer comes from memory.

import { messageOf } from '../../base/errors.ts'
import type { Logger, LogLimiter } from '../../base/logger.ts'
import type { LocalHooks } from '../../hooks/session-hooks.ts'
import { FrameReader } from '../../wire/framing.ts'
import {
  decodeHooksRequest,
  encodeHooksResponse,
  type GetCall,
  type HooksRequest,
  type HooksResult,
  MAX_HOOKS_FRAME_BYTES,
  type PutCall,
  type RemoveCall,
  type SessionCall,
} from '../../wire/hooks-message.ts'
import type { RpcStats } from './stats.ts'

export interface ConversationParts {
  /** Hooks of each cache by its name. */
  readonly caches: ReadonlyMap<string, LocalHooks>
  readonly stats: RpcStats
  readonly logger: Logger
  readonly failures: LogLimiter
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

  /** Returns the answer to the next request; undefined when more bytes must come first. Nothing follows `malformed`. */
  next(): Buffer | 'malformed' | undefined {
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
    return encodeHooksResponse(request.number, this.#answer(request.call))
  }

  #answer(call: HooksRequest['call']): HooksResult {
    const { stats, caches } = this.#parts
    if (call.kind === 'unknown') {
      stats.unknownCalls += 1
      return { kind: 'error', code: 'unknown_call' }
    }
    if (call.kind === 'ping') {
      stats.pings += 1
      return { kind: 'pong' }
    }
    const hooks = caches.get(call.cache)
    if (hooks === undefined) {
      stats.unknownCaches += 1
      return { kind: 'error', code: 'no_such_cache' }
    }
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

  #put(hooks: LocalHooks, { context, id, session, ttlMs, serverName }: PutCall): HooksResult {
    this.#parts.stats.puts += 1
    const result = hooks.put(context, id, session, ttlMs, serverName)
    if (result !== 'stored' && result !== 'replaced') this.#parts.stats.refused += 1
    return { kind: 'stored', result }
  }

  #remove(hooks: LocalHooks, { context, id }: RemoveCall): HooksResult {
    this.#parts.stats.removes += 1
    const wasThere = hooks.remove(context, id)
    if (wasThere) this.#parts.stats.removeHits += 1
    return { kind: 'removed', wasThere }
  }

  #fail(error: unknown): void {
    const { stats, logger, failures } = this.#parts
    stats.failed += 1
    failures.pass((heldBack) =>
      logger.error({ reason: messageOf(error), heldBack }, 'rpc: a call failed'),
    )
  }
}
