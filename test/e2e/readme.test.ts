// The program in the README that attaches a Node.js TLS server: run as it stands, in two processes.

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { systemRandom } from '../../src/base/random.ts'
import { DEMO_CERTIFICATE } from '../../src/terminator/demo-certificate.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import { adapt } from '../support/adapt.ts'
import { freeAddresses, freePorts } from '../support/free-ports.ts'
import { until } from '../support/latch.ts'
import { stopProcess } from '../support/node-processes.ts'
import { handshake } from '../support/tls-client.ts'

const README = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
const INDEX = new URL('../../src/index.ts', import.meta.url).href
const TSX = import.meta.resolve('tsx')
const REQUEST = 'GET / HTTP/1.0\r\n\r\n'

const folder = mkdtempSync(join(tmpdir(), 'tlscached-readme-'))
const children: ChildProcess[] = []
const ports: number[] = []

before(async () => {
  const [, program = ''] = /```js\n([\s\S]*?)```/.exec(README) ?? []
  const keysFile = join(folder, 'keys')
  writeFileSync(keysFile, generateKey(systemRandom), { mode: 0o600 })
  const addresses = await freeAddresses(2)
  for (const [index, name] of ['web-1', 'web-2'].entries()) {
    const [listen = '', peer = ''] = index === 0 ? addresses : addresses.toReversed()
    const home = join(folder, name)
    const [port = 0] = await freePorts(1)
    mkdirSync(home)
    writeFileSync(join(home, 'key.pem'), DEMO_CERTIFICATE.key)
    writeFileSync(join(home, 'cert.pem'), DEMO_CERTIFICATE.cert)
    writeFileSync(
      join(home, 'server.mjs'),
      adapt(program, [
        ["'tlscached'", `'${INDEX}'`],
        ["'web-1'", `'${name}'`],
        ["'10.0.0.1:7171'", `'${listen}'`],
        ["'10.0.0.2:7171', '10.0.0.3:7171'", `'${peer}'`],
        ['/run/secrets/tlscached.keys', keysFile],
        ['8443', String(port)],
      ]),
    )
    const child = spawn(process.execPath, ['--import', TSX, 'server.mjs'], {
      cwd: home,
      stdio: ['ignore', 'inherit', 'ignore'],
    })
    children.push(child)
    ports.push(port)
  }
})

after(async () => {
  await Promise.all(children.map((child) => stopProcess(child)))
  rmSync(folder, { recursive: true })
})

test('a session made at one process resumes at the other', async () => {
  const [first = 0, second = 0] = ports
  await until('both processes know each other and share sessions', async () => {
    const made = await handshake(first, { request: REQUEST }).catch(() => undefined)
    if (made?.session === undefined) return false
    const { session } = made
    const again = await handshake(second, { session, request: REQUEST }).catch(() => undefined)
    return again?.isReused === true
  })
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
