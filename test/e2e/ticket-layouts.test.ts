// The layouts in real terminators: each makes tickets under the current key, and those open with that key and no other.

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createDecipheriv, createHmac } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { connect } from 'node:tls'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { keyBytes, nginxKey } from '../../src/tickets/layouts/binary.ts'
import {
  keysToPush,
  PUSHED,
  parseShownKeys,
  pushCommand,
  SHOW_KEYS,
} from '../../src/tickets/layouts/haproxy-socket.ts'
import {
  base64Lines,
  h2oFile,
  haproxyFile,
  haproxyKeys,
  nginxInclude,
  stunnelOptions,
} from '../../src/tickets/layouts/key-files.ts'
import { type AgedKey, openedKeys, type RingView } from '../../src/tickets/rule.ts'
import { TicketKey } from '../../src/tickets/ticket-key.ts'
import { ringTimes } from '../../src/tickets/times.ts'
import { freePorts } from '../support/free-ports.ts'
import { until } from '../support/latch.ts'
import { stopProcess } from '../support/node-processes.ts'
import { whyWithout } from '../support/programs.ts'
import { seededBytes } from '../support/seeded-random.ts'

const HOUR_MS = 3_600_000
const times = ringTimes(
  { name: 'www', rotateMs: HOUR_MS, lifetimeMs: HOUR_MS, waitMs: HOUR_MS },
  [],
)
const random = seededBytes('ticket layouts')
const [k0, k1, k2, k3] = [2.5, 1.5, 0.5, 0].map(
  (hours): AgedKey => ({
    key: TicketKey.generate(random),
    bornMs: -hours * HOUR_MS,
    knownMs: -HOUR_MS,
  }),
) as [AgedKey, AgedKey, AgedKey, AgedKey]
const view: RingView = { current: k1, next: [k2], previous: [k0] }
const later: RingView = { current: k2, next: [k3], previous: [k1] }
const keys = openedKeys(view).map(({ key }) => key)

interface Terminator {
  readonly folder: string
  readonly port: number
}

/** Makes a folder with a certificate, and a free port. */
async function prepare(t: TestContext): Promise<Terminator> {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-layouts-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  writeFileSync(join(folder, 'both.pem'), DEMO_CERTIFICATE.cert + DEMO_CERTIFICATE.key)
  const [port = 0] = await freePorts(1)
  return { folder, port }
}

/** Starts a terminator and waits until it takes connections. */
async function start(
  t: TestContext,
  port: number,
  program: string,
  ...args: string[]
): Promise<ChildProcess> {
  const child = spawn(program, args, { stdio: 'ignore' })
  t.after(() => stopProcess(child))
  await until(`${program} listens`, () => canConnect(port))
  return child
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1')
    socket.on('connect', () => resolve(true))
    socket.on('error', () => resolve(false))
    socket.on('close', () => socket.destroy())
    socket.on('connect', () => socket.end())
  })
}

/** A ticket of the terminator, by TLS 1.2. */
function ticketOf(port: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      port,
      rejectUnauthorized: false,
      maxVersion: 'TLSv1.2' as const,
    }
    const socket = connect(options, () => {
      const ticket = socket.getTLSTicket()
      socket.destroy()
      if (ticket === undefined) reject(new Error('the terminator made no ticket'))
      else resolve(ticket)
    })
    socket.on('error', reject)
  })
}

/** Opens a ticket: name, IV, AES-CBC and HMAC-SHA256 over all before it. Fails unless it was made under the key. */
function openTicket(
  ticket: Buffer,
  key: TicketKey,
  bytes: 16 | 32,
  hmacBytes: 16 | 32 | 64 = bytes,
): void {
  const end = ticket.length - 32
  assert.deepEqual(ticket.subarray(0, 16), key.name)
  const mac = createHmac('sha256', key.hmac(hmacBytes)).update(ticket.subarray(0, end)).digest()
  assert.deepEqual(ticket.subarray(end), mac)
  const cipher = bytes === 16 ? 'aes-128-cbc' : 'aes-256-cbc'
  const opener = createDecipheriv(cipher, key.aes(bytes), ticket.subarray(16, 32))
  const session = Buffer.concat([opener.update(ticket.subarray(32, end)), opener.final()])
  // The sequence of an encoded SSL_SESSION.
  assert.equal(session[0], 0x30)
}

for (const size of [48, 80] as const) {
  const half = size === 48 ? 16 : 32

  test(`nginx with keys of ${size} bytes`, { skip: whyWithout('nginx', '-v') }, async (t) => {
    const { folder, port } = await prepare(t)
    for (const key of keys) writeFileSync(join(folder, `${key.hexName}.key`), nginxKey(key, size))
    writeFileSync(join(folder, 'keys.conf'), nginxInclude(folder, keys))
    const config = `
      daemon off; master_process off; pid ${folder}/pid; error_log stderr;
      events {}
      http {
        access_log off;
        server {
          listen 127.0.0.1:${port} ssl;
          ssl_certificate ${folder}/both.pem;
          ssl_certificate_key ${folder}/both.pem;
          include ${folder}/keys*.conf;
          return 200;
        }
      }`
    writeFileSync(join(folder, 'nginx.conf'), config)
    await start(t, port, 'nginx', '-p', folder, '-c', join(folder, 'nginx.conf'))
    openTicket(await ticketOf(port), k1.key, half)
  })

  test(`HAProxy with keys of ${size} bytes`, { skip: whyWithout('haproxy', '-v') }, async (t) => {
    const { folder, port } = await prepare(t)
    const file = join(folder, 'www.keys')
    const socket = join(folder, 'admin.sock')
    writeFileSync(file, haproxyFile(view, times, size))
    const config = `global
  stats socket ${socket} mode 600 level admin
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 5s
frontend www
  bind 127.0.0.1:${port} ssl crt ${folder}/both.pem tls-ticket-keys ${file}
  http-request return status 200
`
    writeFileSync(join(folder, 'haproxy.cfg'), config)
    await start(t, port, 'haproxy', '-db', '-f', join(folder, 'haproxy.cfg'))
    openTicket(await ticketOf(port), k1.key, half)

    const pushMissing = async (ring: RingView): Promise<number> => {
      const held = parseShownKeys(await ask(socket, SHOW_KEYS), file)
      const lines = base64Lines(haproxyKeys(ring, times), 'aes_hmac', size)
        .toString()
        .trimEnd()
        .split('\n')
      const missing = keysToPush(
        held ?? [],
        lines.map((line) => Buffer.from(line)),
      )
      if (missing.length === 0) return 0
      const answer = (await ask(socket, pushCommand(file, missing))).toString()
      assert.equal(answer.split(PUSHED).length - 1, missing.length, answer)
      return missing.length
    }
    // Again and again: only what is missing goes, so the keys stay where they belong.
    const pushed = [await pushMissing(later), await pushMissing(later), await pushMissing(later)]
    assert.deepEqual(pushed, [1, 0, 0])
    openTicket(await ticketOf(port), k2.key, half)
    // Several keys at once, as after a partition, in one line of commands.
    assert.deepEqual([await pushMissing(view), await pushMissing(view)], [3, 0])
    openTicket(await ticketOf(port), k1.key, half)
  })
}

/** Sends a command to the runtime socket of HAProxy and returns its answer. */
function ask(path: string, command: string | Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    const socket = createConnection(path, () => socket.end(command))
    socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    socket.on('end', () => resolve(Buffer.concat(chunks)))
    socket.on('error', reject)
  })
}

describe('programs with other layouts', () => {
  test('stunnel', { skip: whyWithout('stunnel4', '-version') }, async (t) => {
    const { folder, port } = await prepare(t)
    const service = `[www]\naccept = 127.0.0.1:${port}\nconnect = 127.0.0.1:9\ncert = ${folder}/both.pem\n`
    const config = `foreground = yes\npid =\n${service}${stunnelOptions(k1.key)}`
    writeFileSync(join(folder, 'stunnel.conf'), config)
    await start(t, port, 'stunnel4', join(folder, 'stunnel.conf'))
    // stunnel writes a name of its own: only the keys are ours.
    const ticket = await ticketOf(port)
    const named = TicketKey.from(ticket.subarray(0, 16), k1.key.secret, 'self')
    openTicket(ticket, named, 32)
  })

  test('h2o', { skip: whyWithout('h2o', '--version') }, async (t) => {
    const { folder, port } = await prepare(t)
    const now = { monotonicMs: 0, wallMs: Date.now() }
    writeFileSync(join(folder, 'keys.yaml'), h2oFile(view, times, now))
    const config = `
ssl-session-resumption:
  mode: ticket
  ticket-store: file
  ticket-file: ${folder}/keys.yaml
hosts:
  default:
    listen:
      host: 127.0.0.1
      port: ${port}
      ssl:
        certificate-file: ${folder}/both.pem
        key-file: ${folder}/both.pem
    paths:
      "/":
        file.dir: ${folder}
${process.getuid?.() === 0 ? 'user: root' : ''}
`
    writeFileSync(join(folder, 'h2o.conf'), config)
    await start(t, port, 'h2o', '-c', join(folder, 'h2o.conf'))
    // h2o reads the file in a thread; until it has, tickets are under a key of its own.
    await until('h2o has read its keys', async () =>
      (await ticketOf(port)).subarray(0, 16).equals(k1.key.name),
    )
    openTicket(await ticketOf(port), k1.key, 32, 64)
  })

  test('nghttpx', { skip: whyWithout('nghttpx', '--version') }, async (t) => {
    const { folder, port } = await prepare(t)
    const files = keys.map((key, index) => {
      const file = join(folder, `${index}.key`)
      writeFileSync(file, keyBytes(key, 'aes_hmac', 80))
      return `--tls-ticket-key-file=${file}`
    })
    const pem = join(folder, 'both.pem')
    const options = [
      ...files,
      '--tls-ticket-key-cipher=aes-256-cbc',
      '-b127.0.0.1,9',
      '--conf=/dev/null',
    ]
    await start(t, port, 'nghttpx', `-f127.0.0.1,${port}`, ...options, pem, pem)
    openTicket(await ticketOf(port), k1.key, 32)
  })
})
