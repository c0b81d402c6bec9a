// A client of the live stream of the HTTP frontend.

import { once } from 'node:events'
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import type { HostAddress } from '../../src/base/address.ts'

export interface LiveStream {
  readonly status: number
  readonly response: IncomingMessage
  /** Resolves with the JSON of the next event. */
  next(): Promise<unknown>
  close(): void
}

/** Asks for the stream and resolves when its head is there. */
export async function openLiveStream(address: HostAddress): Promise<LiveStream> {
  const sent: ClientRequest = request({ ...address, path: '/v1/cluster/live', agent: false })
  sent.on('error', () => {})
  sent.end()
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  response.on('error', () => {})
  const events: string[] = []
  let text = ''
  let wake = () => {}
  response.setEncoding('utf8')
  response.on('data', (chunk: string) => {
    const parts = (text + chunk).split('\n\n')
    text = parts.pop() ?? ''
    events.push(...parts.filter((part) => part.startsWith('data: ')))
    wake()
  })
  return {
    status: response.statusCode ?? 0,
    response,
    async next() {
      while (events.length === 0) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
      return JSON.parse(events.shift()?.slice('data: '.length) ?? '')
    },
    close: () => sent.destroy(),
  }
}
