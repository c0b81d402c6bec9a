// One request to a node's HTTP frontend, with whatever status it answers.

import { type IncomingHttpHeaders, type RequestOptions, request } from 'node:http'
import type { Address } from '../../src/base/address.ts'

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export interface Question {
  readonly method?: 'GET' | 'PUT' | 'DELETE' | 'POST'
  /** Path and query, escaped. */
  readonly path: string
  readonly body?: Buffer
}

export function ask(address: Address, { method = 'GET', path, body }: Question): Promise<Answer> {
  const target: RequestOptions = 'path' in address ? { socketPath: address.path } : address
  return new Promise((resolve, reject) => {
    const sent = request({ ...target, method, path }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const { statusCode = 0, headers } = response
        resolve({ status: statusCode, headers, body: Buffer.concat(chunks) })
      })
    })
    sent.on('error', reject)
    sent.end(body)
  })
}
