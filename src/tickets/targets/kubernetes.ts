// Puts keys into a Secret of Kubernetes by a server-side apply: one PATCH that says which fields are ours. Kubernetes
// keeps Secrets on the disks of etcd.

import { readFile } from 'node:fs/promises'
import { type IncomingMessage, request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { join } from 'node:path'
import { messageOf } from '../../base/errors.ts'
import type { Clock } from '../../base/world.ts'
import type { SecretPlace } from '../layouts/kubernetes.ts'
import type { TargetFailure } from './target.ts'

export const API_TIMEOUT_MS = 10_000
/** Where a pod finds its API server and what it needs to be let in. */
export const POD_API = 'https://kubernetes.default.svc'
export const POD_CREDENTIALS = '/var/run/secrets/kubernetes.io/serviceaccount'
const FIELD_MANAGER = 'tlscached'
const MAX_ANSWER_BYTES = 64 * 1024

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
  const token = isSecure ? (await readFile(join(credentials, 'token'), 'utf8')).trim() : undefined
  const ca = isSecure ? await readFile(join(credentials, 'ca.crt')) : undefined
  return new Promise((resolve, reject) => {
    const options = {
      method: 'PATCH',
      agent: false as const,
      headers: {
        'content-type': 'application/apply-patch+yaml',
        'content-length': body.length,
        accept: 'application/json',
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
    call.end(body)
  })
}

/** The `reason` word of a Status of Kubernetes. Nothing else of the answer is shown: it may repeat what was sent. */
async function readReason(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of answer) {
    chunks.push(chunk)
    length += chunk.length
    if (length > MAX_ANSWER_BYTES) return ''
  }
  const [, reason] = /"reason"\s*:\s*"(\w{1,40})"/.exec(Buffer.concat(chunks).toString()) ?? []
  for (const chunk of chunks) chunk.fill(0)
  return reason === undefined ? '' : `, ${reason}`
}
