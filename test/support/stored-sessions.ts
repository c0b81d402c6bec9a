// Sessions put into running nodes over HTTP, and where they are.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { askCaches } from '../../src/cli/stats.ts'
import { ask } from './http.ts'
import type { NodeProcess } from './node-processes.ts'

export interface StoredSession {
  readonly path: string
  readonly body: Buffer
}

/** Puts a new session of 130 bytes. */
export async function putSession({ http }: NodeProcess): Promise<StoredSession> {
  const id = randomBytes(32).toString('hex')
  const session = {
    path: `/v1/caches/ssl/sessions/${id}?context=shop`,
    body: randomBytes(130),
  }
  const { status } = await ask(http, { ...session, method: 'PUT' })
  assert.equal(status, 201)
  return session
}

export async function hasSession({ http }: NodeProcess, session: StoredSession): Promise<boolean> {
  const { status, body } = await ask(http, { path: session.path })
  return status === 200 && body.equals(session.body)
}

/** How many sessions the node holds. */
export async function countItems({ http }: NodeProcess): Promise<number> {
  const { caches } = await askCaches(http)
  return caches.reduce((sum, { items }) => sum + items, 0)
}

/** Pause of a worker of PutLoad after each put: without one, the load leaves no time to what the test waits for. */
const PUT_PAUSE_MS = 5

/** Puts some hundred sessions a second on one node after the other, a few at a time, until it is stopped. */
export class PutLoad {
  readonly sessions: StoredSession[] = []
  readonly #nodes: readonly NodeProcess[]
  readonly #workers: Promise<void>[]
  #isStopped = false

  constructor(nodes: readonly NodeProcess[], parallel = 4) {
    this.#nodes = nodes
    this.#workers = Array.from({ length: parallel }, (_, number) => this.#work(number))
  }

  /** Resolves with all sessions when the last put was answered. */
  async stop(): Promise<readonly StoredSession[]> {
    this.#isStopped = true
    await Promise.all(this.#workers)
    return this.sessions
  }

  async #work(first: number): Promise<void> {
    for (let turn = first; !this.#isStopped; turn += 1) {
      const node = this.#nodes[turn % this.#nodes.length]
      assert.ok(node !== undefined)
      this.sessions.push(await putSession(node))
      await setTimeout(PUT_PAUSE_MS)
    }
  }
}
