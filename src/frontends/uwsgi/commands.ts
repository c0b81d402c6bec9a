// Carries out uWSGI's cache commands on the hooks of a cache. A command that fails is answered with no bytes at all, as
// uWSGI does: its clients know no other refusal.

import type { Clock } from '../../base/clock.ts'
import type { LocalHooks } from '../../hooks/session-hooks.ts'
import { formatDictionary } from '../../uwsgi/packet.ts'
import { Flusher } from '../memcached/flusher.ts'
import { type CommandName, type CommandRequest, MODIFIER_COMMAND } from './request.ts'
import type { UwsgiStats } from './stats.ts'

const OK = formatDictionary(MODIFIER_COMMAND, [['status', 'ok']])

export interface CommandsOptions {
  readonly hooks: ReadonlyMap<string, LocalHooks>
  /** Name of the cache for commands that name none. */
  readonly defaultCache: string
  readonly clock: Clock
  readonly stats: UwsgiStats
}

export class Commands {
  readonly #options: CommandsOptions
  readonly #flushers = new Map<LocalHooks, Flusher>()

  constructor(options: CommandsOptions) {
    this.#options = options
  }

  stop(): void {
    for (const flusher of this.#flushers.values()) flusher.stop()
  }

  /** Returns the cache that a request is for; undefined, and counted, when there is none of this name. */
  hooksFor(request: CommandRequest): LocalHooks | undefined {
    const { hooks, defaultCache, stats } = this.#options
    const found = hooks.get(request.cache ?? defaultCache)
    if (found === undefined) stats.unknownCaches += 1
    return found
  }

  /** Counts a put whose value is larger than the blocksize of the cache and was not read. */
  refuseTooLarge(hooks: LocalHooks, valueBytes: number): void {
    const { stats } = this.#options
    stats.puts += 1
    stats.refused += 1
    hooks.refuse('blocksize', { sessionBytes: valueBytes })
  }

  /** Carries out a command. Calls `reply` once, at once except for `clear`; undefined means no answer. */
  run(
    request: CommandRequest,
    hooks: LocalHooks,
    value: Buffer,
    reply: (answer: Buffer | undefined) => void,
  ): void {
    if (request.command === 'clear') this.#clear(hooks, () => reply(OK))
    else reply(this.#answer(request.command, request, hooks, value))
  }

  #answer(
    command: Exclude<CommandName, 'clear'>,
    request: CommandRequest,
    hooks: LocalHooks,
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

  #exists(hooks: LocalHooks, key: Buffer): boolean {
    this.#options.stats.exists += 1
    return hooks.versionOf(key) !== undefined
  }

  #remove(hooks: LocalHooks, key: Buffer): boolean {
    const { stats } = this.#options
    stats.removes += 1
    const isRemoved = hooks.versionOf(key) !== undefined && hooks.removeAny(key)
    if (isRemoved) stats.removeHits += 1
    return isRemoved
  }

  #clear(hooks: LocalHooks, done: () => void): void {
    this.#options.stats.clears += 1
    if (this.#flusherOf(hooks).flush(done)) done()
  }

  #get(hooks: LocalHooks, key: Buffer): Buffer | undefined {
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

  #put(request: CommandRequest, hooks: LocalHooks, value: Buffer): boolean {
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

  #flusherOf(hooks: LocalHooks): Flusher {
    const known = this.#flushers.get(hooks)
    if (known !== undefined) return known
    const flusher = new Flusher(hooks, this.#options.clock)
    this.#flushers.set(hooks, flusher)
    return flusher
  }
}
