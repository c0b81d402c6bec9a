// Reads a request of uWSGI's cache commands, a packet with modifier1 111 and modifier2 17, its dictionary and the value
// after that, and carries it out on a cache.

import type { Clock } from '../../base/world.ts'
import type { ContextlessHooks } from '../../hooks/contextless-hooks.ts'
import {
  formatDictionary,
  MODIFIER_CACHE,
  PACKET_HEADER_BYTES,
  parseDictionary,
  readHeader,
} from '../../uwsgi/datagram.ts'
import { Flusher } from '../flusher.ts'
import type { InputBuffer } from '../input-buffer.ts'
import type { UwsgiStats } from './stats.ts'

export const MODIFIER_COMMAND = 17
/** Value of modifier2 in a request for the raw memory of a cache, which holds every secret in it. */
const MODIFIER_DUMP = 6

export const COMMANDS = ['get', 'set', 'update', 'exists', 'del', 'clear'] as const
export type CommandName = (typeof COMMANDS)[number]

export interface CommandRequest {
  readonly command: CommandName
  /** Name of a cache; undefined means the default cache. */
  readonly cache: string | undefined
  /** Empty only for `clear`. */
  readonly key: Buffer
  /** Length of the value that follows. */
  readonly valueBytes: number
  /** Lifetime in seconds; 0 asks for the longest that the cache allows. */
  readonly lifetimeSec: number
}

/** `starved`: more bytes must come first. Every other fault ends the connection. */
export type RequestFault = 'starved' | 'malformed' | 'unsupported' | 'dump'

const DIGITS = /^\d{1,10}$/

/** Takes a request from the input when it is complete; its value stays in the input. */
export function takeRequest(input: InputBuffer): CommandRequest | RequestFault {
  if (input.length < PACKET_HEADER_BYTES) return 'starved'
  const { modifier1, bodyBytes, modifier2 } = readHeader(input.peek(PACKET_HEADER_BYTES))
  if (modifier1 !== MODIFIER_CACHE) return 'malformed'
  if (modifier2 === MODIFIER_DUMP) return 'dump'
  if (modifier2 !== MODIFIER_COMMAND) return 'unsupported'
  if (input.length < PACKET_HEADER_BYTES + bodyBytes) return 'starved'
  input.skip(PACKET_HEADER_BYTES)
  const pairs = parseDictionary(input.take(bodyBytes))
  return pairs === undefined ? 'malformed' : toRequest(pairs)
}

function toRequest(pairs: ReadonlyMap<string, Buffer>): CommandRequest | RequestFault {
  const word = pairs.get('cmd')?.toString('latin1')
  if (word === undefined) return 'malformed'
  const command = COMMANDS.find((known) => known === word)
  if (command === undefined) return 'unsupported'
  const key = pairs.get('key') ?? Buffer.alloc(0)
  const valueBytes = numberOf(pairs.get('size'))
  const lifetimeSec = numberOf(pairs.get('expires'))
  const isWrite = command === 'set' || command === 'update'
  if (valueBytes === undefined || lifetimeSec === undefined) return 'malformed'
  if (isWrite !== valueBytes > 0) return 'malformed'
  if ((key.length === 0) !== (command === 'clear')) return 'malformed'
  const cache = pairs.get('cache')?.toString('latin1')
  return { command, cache: cache === '' ? undefined : cache, key, valueBytes, lifetimeSec }
}

/** Reads a number of up to ten digits; 0 when there are none, undefined for anything else. */
function numberOf(digits: Buffer | undefined): number | undefined {
  if (digits === undefined || digits.length === 0) return 0
  const text = digits.toString('latin1')
  return DIGITS.test(text) ? Number(text) : undefined
}

// Carries out uWSGI's cache commands on the hooks of a cache. A command that fails is answered with no bytes at all, as
// uWSGI does: its clients know no other refusal.

const OK = formatDictionary(MODIFIER_COMMAND, [['status', 'ok']])

export interface CommandsOptions {
  readonly hooks: ReadonlyMap<string, ContextlessHooks>
  /** Name of the cache for commands that name none. */
  readonly defaultCache: string
  readonly clock: Clock
  readonly stats: UwsgiStats
}

export class Commands {
  readonly #options: CommandsOptions
  readonly #flushers = new Map<ContextlessHooks, Flusher>()

  constructor(options: CommandsOptions) {
    this.#options = options
  }

  stop(): void {
    for (const flusher of this.#flushers.values()) flusher.stop()
  }

  /** Returns the cache that a request is for; undefined, and counted, when there is none of this name. */
  hooksFor(request: CommandRequest): ContextlessHooks | undefined {
    const { hooks, defaultCache, stats } = this.#options
    const found = hooks.get(request.cache ?? defaultCache)
    if (found === undefined) stats.unknownCaches += 1
    return found
  }

  /** Counts a put whose value is larger than the blocksize of the cache and was not read. */
  refuseTooLarge(hooks: ContextlessHooks, valueBytes: number): void {
    const { stats } = this.#options
    stats.puts += 1
    stats.refused += 1
    hooks.refuse('blocksize', { sessionBytes: valueBytes })
  }

  /** Carries out a command. Calls `reply` once, at once except for `clear`; undefined means no answer. */
  run(
    request: CommandRequest,
    hooks: ContextlessHooks,
    value: Buffer,
    reply: (answer: Buffer | undefined) => void,
  ): void {
    if (request.command === 'clear') this.#clear(hooks, () => reply(OK))
    else reply(this.#answer(request.command, request, hooks, value))
  }

  #answer(
    command: Exclude<CommandName, 'clear'>,
    request: CommandRequest,
    hooks: ContextlessHooks,
    value: Buffer,
  ): Buffer | undefined {
    switch (command) {
      case 'get':
        return this.#get(hooks, request.key)
      case 'exists':
        return this.#exists(hooks, request.key) ? OK : undefined
      case 'del':
        return this.#remove(hooks, request.key) ? OK : undefined
      case 'set':
      case 'update':
        return this.#put(request, hooks, value) ? OK : undefined
    }
  }

  #exists(hooks: ContextlessHooks, key: Buffer): boolean {
    this.#options.stats.exists += 1
    return hooks.versionOf(key) !== undefined
  }

  #remove(hooks: ContextlessHooks, key: Buffer): boolean {
    const { stats } = this.#options
    stats.removes += 1
    const isRemoved = hooks.versionOf(key) !== undefined && hooks.removeAny(key)
    if (isRemoved) stats.removeHits += 1
    return isRemoved
  }

  #clear(hooks: ContextlessHooks, done: () => void): void {
    this.#options.stats.clears += 1
    if (this.#flusherOf(hooks).flush(done)) done()
  }

  #get(hooks: ContextlessHooks, key: Buffer): Buffer | undefined {
    const { clock, stats } = this.#options
    stats.gets += 1
    const found = hooks.getAny(key)
    if (found === undefined) return undefined
    stats.hits += 1
    const { session, ttlMs } = found
    const expiresAtSec = Math.round((clock.wallMs() + ttlMs) / 1000)
    const head = formatDictionary(MODIFIER_COMMAND, [
      ['status', 'ok'],
      ['size', String(session.length)],
      ['expires', String(expiresAtSec)],
    ])
    return Buffer.concat([head, session])
  }

  #put(request: CommandRequest, hooks: ContextlessHooks, value: Buffer): boolean {
    const { stats } = this.#options
    const { key, lifetimeSec } = request
    stats.puts += 1
    const isTaken = request.command === 'set' && hooks.versionOf(key) !== undefined
    const ttlMs = lifetimeSec === 0 ? undefined : lifetimeSec * 1000
    const result = isTaken ? undefined : hooks.putOwn(key, value, ttlMs)
    const isStored = result === 'stored' || result === 'replaced'
    if (!isStored) stats.refused += 1
    return isStored
  }

  #flusherOf(hooks: ContextlessHooks): Flusher {
    const known = this.#flushers.get(hooks)
    if (known !== undefined) return known
    const flusher = new Flusher(hooks, this.#options.clock)
    this.#flushers.set(hooks, flusher)
    return flusher
  }
}
