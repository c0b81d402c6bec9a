// The other end of connectHooks, in memory and by command: sees every connection and every request, and
// answers what a test says, when it says so.

import type { Duplex } from 'node:stream'
import { FrameReader } from '../../src/wire/framing.ts'
import {
  decodeHooksRequest,
  encodeHooksResponse,
  type HooksRequest,
  type HooksResult,
  MAX_HOOKS_FRAME_BYTES,
} from '../../src/wire/hooks-message.ts'
import { duplexPair } from './duplex-pair.ts'
import { until } from './latch.ts'

export class ScriptedConnection {
  readonly stream: Duplex
  readonly requests: HooksRequest[] = []
  readonly #frames = new FrameReader(MAX_HOOKS_FRAME_BYTES)

  constructor(stream: Duplex) {
    this.stream = stream
    stream.on('error', () => {})
    stream.on('data', (piece: Buffer) => {
      this.#frames.append(Buffer.from(piece))
      for (let frame = this.#frames.next(); frame !== undefined; frame = this.#frames.next()) {
        const request = frame === 'malformed' ? undefined : decodeHooksRequest(frame)
        if (request === undefined) throw new Error('the terminator asked nonsense')
        this.requests.push(request)
      }
    })
  }

  /** Answers the oldest request of this kind that was not answered yet, when it is there. */
  async answer(kind: HooksRequest['call']['kind'], result: HooksResult): Promise<void> {
    await until(`a ${kind} is there`, () => this.requests.some(({ call }) => call.kind === kind))
    const at = this.requests.findIndex(({ call }) => call.kind === kind)
    const [request] = this.requests.splice(at, 1)
    this.stream.write(encodeHooksResponse(request?.number ?? 0, result))
  }

  /** Sends an answer again, under the number of a request that was answered before. */
  push(number: number, result: HooksResult): void {
    this.stream.write(encodeHooksResponse(number, result))
  }

  pong(): Promise<void> {
    return this.answer('ping', { kind: 'pong' })
  }
}

export class ScriptedNode {
  /** Those that were made, the last one last. */
  readonly connections: ScriptedConnection[] = []
  /** While true a connection fails as it is made. */
  isRefusing = false

  readonly connect = (): Duplex => {
    const [here, there] = duplexPair()
    this.connections.push(new ScriptedConnection(there))
    if (this.isRefusing) here.destroy(new Error('connect ECONNREFUSED'))
    return here
  }

  get last(): ScriptedConnection {
    const last = this.connections.at(-1)
    if (last === undefined) throw new Error('no connection was made')
    return last
  }
}
