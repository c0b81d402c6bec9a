// A client of a node's HTTP frontend, for what asks a running node from outside.

import { request } from 'node:http'
import { type Address, formatAddress } from './address.ts'
import { codeOf, messageOf, TlscachedError } from './errors.ts'

const TIMEOUT_MS = 5000
/** Longest answer that is read. The longest one is the list of peers; a session has 64 KiB at most. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024

export interface NodeRequest {
  readonly method?: 'GET' | 'PUT' | 'DELETE'
  readonly path: string
  readonly query?: Readonly<Record<string, string | undefined>>
  readonly body?: Buffer
}

export interface NodeAnswer {
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Buffer
}

/**
 * Sends a request and resolves with the answer. Rejects with ERR_UNREACHABLE, ERR_DEADLINE, or an Error with the code
 * and message of the node.
 */
export async function askNode(address: Address, asked: NodeRequest): Promise<NodeAnswer> {
  const { status, headers, body } = await exchange(address, asked)
  if (status >= 200 && status < 300) return { headers, body }
  throw new Error(messageOfFault(body) ?? `the node answered with status ${status}`)
}

/** Resolves with the parsed JSON of the answer, which the caller has to check. */
export async function askNodeJson(address: Address, path: string): Promise<unknown> {
  const { body } = await askNode(address, { path })
  return JSON.parse(body.toString())
}

/** Returns the URL path of a session, with its names escaped. */
export function sessionPath(cache: string, id: string): string {
  return `/v1/caches/${encodeURIComponent(cache)}/sessions/${encodeURIComponent(id)}`
}

function exchange(
  address: Address,
  { method = 'GET', path, query = {}, body }: NodeRequest,
): Promise<NodeAnswer & { readonly status: number }> {
  const target = 'path' in address ? { socketPath: address.path } : address
  return new Promise((resolve, reject) => {
    const fail = (error: unknown) => reject(toClientError(error, address))
    const outgoing = request({
      ...target,
      method,
      path: `${path}${formatQuery(query)}`,
      headers: body === undefined ? {} : { 'content-type': 'application/octet-stream' },
      // A connection of its own each time: an idle one would outlive what asks.
      agent: false,
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    outgoing.on('error', fail)
    outgoing.on('response', (incoming) => {
      const chunks: Buffer[] = []
      let bytes = 0
      incoming.on('error', fail)
      incoming.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        chunks.push(chunk)
        if (bytes > MAX_ANSWER_BYTES) incoming.destroy(new Error('the answer is too long'))
      })
      incoming.on('end', () => {
        const { statusCode: status = 0, headers } = incoming
        resolve({ status, headers, body: Buffer.concat(chunks) })
      })
    })
    outgoing.end(body)
  })
}

function formatQuery(query: NonNullable<NodeRequest['query']>): string {
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) parameters.set(name, value)
  }
  return parameters.size === 0 ? '' : `?${parameters}`
}

function toClientError(error: unknown, address: Address): TlscachedError {
  const isLate = error instanceof Error && error.name === 'TimeoutError'
  const isAborted = codeOf(error) === 'ABORT_ERR'
  const where = formatAddress(address)
  return isLate || isAborted
    ? new TlscachedError('ERR_DEADLINE', `no answer from ${where} within ${TIMEOUT_MS / 1000} s`)
    : new TlscachedError(
        'ERR_UNREACHABLE',
        `cannot reach the node at ${where}: ${messageOf(error)}`,
      )
}

function messageOfFault(body: Buffer): string | undefined {
  try {
    const fault: unknown = JSON.parse(body.toString())
    const isFault =
      typeof fault === 'object' && fault !== null && 'code' in fault && 'message' in fault
    return isFault ? `${fault.code}: ${fault.message}` : undefined
  } catch {
    return undefined
  }
}
