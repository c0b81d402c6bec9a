// Puts keys into a Secret of Kubernetes by a server-side apply: one PATCH that says which fields are ours. Kubernetes
// keeps Secrets on the disks of etcd.

import { type IncomingMessage, request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { join } from 'node:path'
import { messageOf } from '../../base/errors.ts'
import { readRegularFile } from '../../base/regular-file.ts'
import type { Clock } from '../../base/world.ts'
import type { SecretPlace } from '../layouts/kubernetes.ts'
import type { TargetFailure } from './target.ts'

export const API_TIMEOUT_MS = 10_000
/** Where a pod finds its API server and what it needs to be let in. */
export const POD_API = 'https://kubernetes.default.svc'
export const POD_CREDENTIALS = '/var/run/secrets/kubernetes.io/serviceaccount'
const FIELD_MANAGER = 'tlscached'
const MAX_ANSWER_BYTES = 64 * 1024
/** Largest token or file of authorities that is read; a bundle of a whole system has a quarter of that. */
const MAX_CREDENTIAL_BYTES = 1024 * 1024
/** Asks the server to leave the keys out of its answer, which otherwise repeats the whole Secret. */
const WITHOUT_DATA =
  'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json;q=0.9'
const LONGEST_REASON = 40

export interface SecretApi {
  /** URL of the API server. */
  readonly url: string
  /** Folder with `token` and `ca.crt`, read anew each time since Kubernetes renews them; not used with http. */
  readonly credentials: string
  readonly place: SecretPlace
  readonly clock: Clock
}

/** Applies the Secret. Needs the verb `patch` on it, and `create` while it does not exist. */
export async function applySecret(
  api: SecretApi,
  body: Buffer,
): Promise<TargetFailure | undefined> {
  const { url, place } = api
  const what = `the Secret ${place.namespace}/${place.name} at ${url}`
  try {
    const { status, reason } = await patch(api, body)
    if (status >= 200 && status < 300) return undefined
    const isForbidden = status === 401 || status === 403
    return {
      reason: isForbidden ? 'permission' : 'refused',
      message: `cannot apply ${what}: status ${status}${reason}`,
    }
  } catch (error) {
    return { reason: 'refused', message: `cannot apply ${what}: ${messageOf(error)}` }
  }
}

async function patch(
  { url, credentials, place, clock }: SecretApi,
  body: Buffer,
): Promise<{ status: number; reason: string }> {
  const { namespace, name } = place
  const path = `/api/v1/namespaces/${namespace}/secrets/${name}?fieldManager=${FIELD_MANAGER}&force=true`
  const target = new URL(url.replace(/\/$/, '') + path)
  const isSecure = target.protocol === 'https:'
  const read = (name: string) =>
    readRegularFile(join(credentials, name), MAX_CREDENTIAL_BYTES).text.trim()
  const [token, ca] = isSecure ? [read('token'), read('ca.crt')] : []
  return new Promise((resolve, reject) => {
    const options = {
      method: 'PATCH',
      agent: false as const,
      headers: {
        'content-type': 'application/apply-patch+yaml',
        'content-length': body.length,
        accept: WITHOUT_DATA,
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
      },
    }
    const onAnswer = (answer: IncomingMessage) => {
      readReason(answer).then(
        (reason) => finish(() => resolve({ status: answer.statusCode ?? 0, reason })),
        (error: unknown) => finish(() => reject(error)),
      )
    }
    const call = isSecure
      ? requestHttps(target, { ...options, ...(ca !== undefined && { ca }) }, onAnswer)
      : requestHttp(target, options, onAnswer)
    const timer = clock.after(API_TIMEOUT_MS, () =>
      call.destroy(new Error(`no answer within ${API_TIMEOUT_MS} ms`)),
    )
    const finish = (settle: () => void) => {
      timer.cancel()
      call.destroy()
      settle()
    }
    call.on('error', (error) => finish(() => reject(error)))
    // The body goes by itself when the connection is there: together with the head, or before the handshake is over,
    // Node.js would copy it into memory that nobody erases.
    call.flushHeaders()
    call.once('socket', (connection) => {
      connection.once(isSecure ? 'secureConnect' : 'connect', () =>
        call.write(body, () => call.end()),
      )
    })
  })
}

/**
 * The `reason` word of a Status of Kubernetes. Nothing else of the answer becomes a string, and all of it is erased: it
 * may repeat what was sent.
 */
async function readReason(answer: IncomingMessage): Promise<string> {
  const bytes = Buffer.alloc(MAX_ANSWER_BYTES)
  let length = 0
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      const isTooLong = chunk.copy(bytes, length) < chunk.length
      length += chunk.length
      chunk.fill(0)
      if (isTooLong) return ''
    }
    return reasonIn(bytes.subarray(0, length))
  } finally {
    bytes.fill(0)
  }
}

function reasonIn(bytes: Buffer): string {
  const name = bytes.indexOf('"reason"')
  const colon = bytes.indexOf(':', name)
  const start = bytes.indexOf('"', colon) + 1
  const end = bytes.indexOf('"', start)
  if (name < 0 || colon < 0 || start === 0 || end < start || end - start > LONGEST_REASON) return ''
  const reason = bytes.toString('latin1', start, end)
  return /^\w+$/.test(reason) ? `, ${reason}` : ''
}
