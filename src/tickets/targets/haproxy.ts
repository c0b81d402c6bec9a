// Gives keys to a running HAProxy over its stats socket, which costs it no reload and no connection: asks which keys it
// has, and pushes only those that are missing.

import { messageOf } from '../../base/errors.ts'
import { connectSecretly } from '../../base/secret-socket.ts'
import type { Clock } from '../../base/world.ts'
import {
  keysToPush,
  PUSHED,
  parseShownKeys,
  pushCommand,
  SHOW_KEYS,
} from '../layouts/haproxy-socket.ts'
import { HAPROXY_SLOTS } from '../layouts/key-files.ts'
import type { TargetFailure } from './target.ts'

/** Longest time of one line of commands. */
export const SOCKET_TIMEOUT_MS = 3000
/** Longest answer; a line for each of three keys of some thousand key files. */
const MAX_ANSWER_BYTES = 1024 * 1024
const MAX_SHOWN_CHARACTERS = 200

export interface HaproxySocket {
  /** Path of the stats socket. */
  readonly path: string
  /** The key file as the configuration of HAProxy spells it. */
  readonly file: string
  readonly clock: Clock
}

/** Pushes what HAProxy lacks of the keys, each as digits of base64, the oldest first. The caller erases them. */
export async function pushKeys(
  socket: HaproxySocket,
  wanted: readonly Buffer[],
): Promise<TargetFailure | undefined> {
  let shown: Buffer | undefined
  try {
    shown = await ask(socket, Buffer.from(SHOW_KEYS))
    const held = parseShownKeys(shown, socket.file)
    if (held === undefined) {
      const problem = `shows no ticket keys of ${socket.file}: is it spelled so after tls-ticket-keys, and is the level of the socket admin?`
      return refusal(socket, problem)
    }
    const missing = keysToPush(held, wanted).slice(0, HAPROXY_SLOTS)
    if (missing.length === 0) return undefined
    const command = pushCommand(socket.file, missing)
    const answer = (await ask(socket, command).finally(() => command.fill(0))).toString()
    if (answer.split(PUSHED).length - 1 === missing.length) return undefined
    const problem = answer.replaceAll(PUSHED, '').trim().slice(0, MAX_SHOWN_CHARACTERS)
    return refusal(socket, `refuses a key: ${problem}`)
  } catch (error) {
    return refusal(socket, messageOf(error))
  } finally {
    shown?.fill(0)
  }
}

function refusal({ path, file }: HaproxySocket, problem: string): TargetFailure {
  return {
    reason: 'refused',
    message: `HAProxy at ${path} ${problem}; ${file} has the new keys, and HAProxy uses them after its next reload`,
  }
}

/** Sends one line and returns the answer, which ends when HAProxy closes. */
function ask({ path, clock }: HaproxySocket, command: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    const socket = connectSecretly({ path })
    socket.on('connect', () => socket.write(command))
    const end = (problem?: string) => {
      timer.cancel()
      socket.destroy()
      if (problem === undefined) resolve(Buffer.concat(chunks))
      else reject(new Error(problem))
      for (const chunk of chunks) chunk.fill(0)
    }
    const timer = clock.after(SOCKET_TIMEOUT_MS, () =>
      end(`did not answer within ${SOCKET_TIMEOUT_MS} ms`),
    )
    socket.on('data', (chunk: Buffer) => {
      chunks.push(Buffer.from(chunk))
      length += chunk.length
      if (length > MAX_ANSWER_BYTES) end(`answered more than ${MAX_ANSWER_BYTES} bytes`)
    })
    socket.on('end', () => end())
    socket.on('error', (error) => end(`cannot be asked: ${messageOf(error)}`))
  })
}
