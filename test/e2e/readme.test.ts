// The program in the README that attaches a Node.js TLS server: run as it stands, in two processes.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { until } from '../support/latch.ts'
import { stopProcess } from '../support/node-processes.ts'
import {
  REQUEST,
  type ReadmeServers,
  startReadmeServers,
  untilShared,
} from '../support/readme-servers.ts'
import { handshake } from '../support/tls-client.ts'

/** The library as it is built and installed. */
const INDEX = new URL('../../dist/index.js', import.meta.url).href

const folder = mkdtempSync(join(tmpdir(), 'tlscached-readme-'))
let servers: ReadmeServers

before(async () => {
  servers = await startReadmeServers(folder, [["'tlscached'", `'${INDEX}'`]])
})

after(async () => {
  await Promise.all(servers.children.map((child) => stopProcess(child)))
  rmSync(folder, { recursive: true })
})

test('a session made at one process resumes at the other', async () => {
  const [first, second] = servers.ports
  await untilShared(servers.ports)
  for (const [from, to] of [
    [first, second],
    [second, first],
  ] as const) {
    const { session, isReused, received } = await handshake(from, { request: REQUEST })
    assert.equal(isReused, false)
    assert.match(received, /hello\n$/)
    assert.ok(session !== undefined)
    let isResumed = false
    await until('the session is at the other process', async () => {
      isResumed ||= (await handshake(to, { session, request: REQUEST })).isReused
      return isResumed
    })
  }
})
