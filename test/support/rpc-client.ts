// A client of the rpc frontend that says what it is told to, whole or broken, and keeps what is answered.

import { connect, type Socket } from 'node:net'
import type { Address } from '../../src/base/address.ts'
import { FrameReader } from '../../src/wire/framing.ts'
import {
  decodeHooksResponse,
  encodeHooksRequest,
  type HooksCall,
  type HooksResponse,
  MAX_HOOKS_FRAME_BYTES,
} from '../../src/wire/hooks-message.ts'
import { until } from './latch.ts'

export class RpcClient {
  readonly socket: Socket
  readonly responses: HooksResponse[] = []
  /** Resolves when the other side has ended the connection, or it was reset. */
  readonly closed: Promise<void>
  readonly #frames = new FrameReader(MAX_HOOKS_FRAME_BYTES)

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (piece) => this.#receive(piece))
    // A reset shows as the end of the connection, too.
    socket.on('error', () => {})
    this.closed = new Promise((resolve) => {
      socket.on('close', () => resolve())
    })
  }

  static async connect(address: Address): Promise<RpcClient> {
    const socket = connect(address)
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    return new RpcClient(socket)
  }

  send(...frames: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(frames))
  }

  /** One call; the result when it is there. */
  async ask(number: number, call: HooksCall): Promise<HooksResponse['result']> {
    this.send(encodeHooksRequest(number, call))
    await until('the answer is there', () => this.responses.at(-1)?.number === number)
    const response = this.responses.at(-1)
    if (response === undefined) throw new Error('no answer')
    return response.result
  }

  close(): void {
    this.socket.destroy()
  }

  #receive(piece: Buffer): void {
    this.#frames.append(piece)
    for (let frame = this.#frames.next(); frame !== undefined; frame = this.#frames.next()) {
      const response = frame === 'malformed' ? undefined : decodeHooksResponse(frame)
      if (response === undefined) throw new Error('the frontend answered nonsense')
      this.responses.push(response)
    }
  }
}
