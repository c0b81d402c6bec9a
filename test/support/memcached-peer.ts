// A memcached protocol without a socket: bytes in, bytes out, in pieces as wanted.

import { wholeLongs } from '../../src/base/bytes.ts'
import { zeros } from '../../src/base/counters.ts'
import { Flusher } from '../../src/frontends/flusher.ts'
import { InputBuffer, InputMemory } from '../../src/frontends/input-buffer.ts'
import { BinaryProtocol } from '../../src/frontends/memcached/binary-protocol.ts'
import { Entries } from '../../src/frontends/memcached/entries.ts'
import { ReplyBuffer } from '../../src/frontends/memcached/fast/reply-buffer.ts'
import type { ProtocolParts, Step } from '../../src/frontends/memcached/protocol.ts'
import { type ServerProcess, ServerStatus } from '../../src/frontends/memcached/server-status.ts'
import { MEMCACHED_COUNTERS } from '../../src/frontends/memcached/stats.ts'
import { TextProtocol } from '../../src/frontends/memcached/text-protocol.ts'
import type { TicketKeys } from '../../src/frontends/memcached/ticket-keys.ts'
import { maxValueBytes } from '../../src/frontends/memcached/values.ts'
import type { CacheFixture } from './cache-fixture.ts'

/** What a frontend of a test says of its process. */
export const SERVER_PROCESS: ServerProcess = {
  pid: 1,
  cpuUsage: () => ({ user: 1_500_000, system: 250_000 }),
}

/** What the connections of a frontend share: half a megabyte, too much to allocate for each of many peers. */
export class PeerMemory {
  readonly input = new InputMemory()
  readonly output = new ReplyBuffer()
}

export class MemcachedPeer {
  readonly stats = zeros(MEMCACHED_COUNTERS)
  readonly input: InputBuffer
  readonly #memory: InputMemory
  readonly #output: ReplyBuffer
  readonly #protocol: TextProtocol | BinaryProtocol
  isClosed = false

  constructor(
    { hooks, clock }: CacheFixture,
    protocol: 'text' | 'binary',
    { input, output } = new PeerMemory(),
    ticketKeys?: TicketKeys,
  ) {
    this.#memory = input
    this.#output = output
    this.input = new InputBuffer(input)
    const flusher = new Flusher(hooks, clock)
    const parts: ProtocolParts = {
      output: this.#output,
      entries: new Entries(hooks, clock, this.stats),
      status: new ServerStatus(hooks, this.stats, {
        clock,
        maxConnections: 10,
        process: SERVER_PROCESS,
      }),
      ticketKeys,
      stats: this.stats,
      maxValueBytes: maxValueBytes(hooks.limits.blocksize),
      flush: (delaySec, onDone) => {
        if (delaySec > 0) flusher.flushAfter(delaySec * 1000)
        return delaySec > 0 || flusher.flush(onDone)
      },
    }
    this.#protocol =
      protocol === 'text'
        ? new TextProtocol(this.input, parts)
        : new BinaryProtocol(this.input, parts)
  }

  get isMidway(): boolean {
    return this.#protocol.isMidway
  }

  /** Feeds one piece and returns what is answered to it. */
  send(piece: Buffer): Buffer {
    this.input.append(piece)
    let step: Step = 'answered'
    while (step === 'answered' && !this.isClosed) {
      step = this.#protocol.step(() => {
        throw new Error('a cache this small is flushed at once')
      })
      if (step === 'close') this.isClosed = true
    }
    // The turn ends here: from now on the memory of the input belongs to another connection.
    this.input.keepRest()
    this.#memory.clear()
    this.#memory.bytes.fill('?', 0, wholeLongs(piece.length))
    const answers = Buffer.from(this.#output.memory.subarray(0, this.#output.length))
    this.#output.truncate(0)
    return answers
  }

  /** Feeds the bytes in pieces that end at these places. */
  sendInPieces(bytes: Buffer, ends: readonly number[]): Buffer {
    const answers: Buffer[] = []
    let start = 0
    for (const end of [...ends, bytes.length]) {
      if (end > start) answers.push(this.send(bytes.subarray(start, end)))
      start = Math.max(start, end)
    }
    return Buffer.concat(answers)
  }
}

/** Ends of pieces of one byte. */
export function everyByte(bytes: Buffer): number[] {
  return Array.from(bytes, (_byte, index) => index + 1)
}
