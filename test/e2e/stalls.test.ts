// The first promise where it is hardest: a log reader that stops, a full log disk and a hung event loop, in turn, while 200
// clients resume at a real Apache, which waits for its cache without a limit, and at a Node.js server over rpc.

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { constants } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { connect, createServer, type Server } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { attachSessionCache } from '../../src/hooks/node-tls.ts'
import { connectHooks, type RemoteHooks } from '../../src/hooks/remote-hooks.ts'
import { ask } from '../support/http.ts'
import { until } from '../support/latch.ts'
import { apache, startApache } from '../terminators/apache.ts'
import { makeCertificates } from '../terminators/certificates.ts'
import { makePair, type NodeHolder, type Pair } from '../terminators/host.ts'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const CLIENTS = 200
/** What a handshake may take longer than without a stall. */
const LONGER_MS = 3000
const START_FAILSAFE_MS = 60_000
/** Logs 3 MB at SIGUSR2; the event loop makes no further turn after SIGWINCH. */
const PRELOAD = `
process.on('SIGUSR2', () => {
  for (let line = 0; line < 3000; line += 1) process.emitWarning('x'.repeat(1000))
})
process.on('SIGWINCH', () => { for (;;); })
`

interface StallingNode {
  readonly child: ChildProcess
  readonly memcached: string
  readonly rpc: string
  readonly http: { readonly path: string }
}

/** A node whose standard error is this; `pipe` is one that nobody reads. */
async function startNode(folder: string, stderr: 'pipe' | number): Promise<StallingNode> {
  const [memcached, rpc, path] = ['memcached', 'rpc', 'http'].map((name) =>
    join(folder, `${name}.sock`),
  ) as [string, string, string]
  const file = join(folder, 'stalling.json')
  const frontends = { memcached: `unix:${memcached}`, rpc: `unix:${rpc}`, http: `unix:${path}` }
  writeFileSync(file, JSON.stringify({ frontends }))
  const preload = ['--import', `data:text/javascript,${encodeURIComponent(PRELOAD)}`]
  const child = spawn(process.execPath, [...preload, MAIN, 'serve', file], {
    stdio: ['ignore', 'ignore', stderr],
  })
  const http = { path }
  const isUp = () =>
    ask(http, { path: '/healthz' }).then(
      () => true,
      () => false,
    )
  await until('the node answers', isUp, START_FAILSAFE_MS)
  return { child, memcached, rpc, http }
}

/** Apache only keeps it, and never starts or stops it. */
function holderOf({ child, http }: StallingNode): NodeHolder {
  const never = async () => {}
  const holder = { http, pid: child.pid, start: never, kill: never, stop: never }
  return { ...holder, pause: () => {}, resume: () => {} }
}

interface Outcome {
  /** Sessions to offer next time. */
  readonly sessions: readonly (Buffer | undefined)[]
  readonly failed: number
  readonly resumed: number
  readonly slowestMs: number
}

/** All clients at once, each with its session. */
async function shakeHands(
  port: number,
  sessions: readonly (Buffer | undefined)[] = Array.from({ length: CLIENTS }, () => undefined),
): Promise<Outcome> {
  const results = await Promise.all(sessions.map((session) => shakeHand(port, session)))
  return {
    sessions: results.map((result) => result.session),
    failed: results.filter(({ isDone }) => !isDone).length,
    resumed: results.filter(({ isResumed }) => isResumed).length,
    slowestMs: Math.max(...results.map(({ tookMs }) => tookMs)),
  }
}

function shakeHand(port: number, session: Buffer | undefined) {
  const startMs = performance.now()
  let made = session
  return new Promise<{
    session: Buffer | undefined
    isDone: boolean
    isResumed: boolean
    tookMs: number
  }>((resolve) => {
    const socket = connect({
      host: '127.0.0.1',
      port,
      servername: 'shop.example',
      rejectUnauthorized: false,
      maxVersion: 'TLSv1.2',
      ...(session !== undefined && { session }),
    })
    const end = (isDone: boolean, isResumed: boolean) => {
      const tookMs = performance.now() - startMs
      socket.destroy()
      resolve({ session: made, isDone, isResumed, tookMs })
    }
    socket.on('session', (fresh) => {
      made = fresh
    })
    socket.once('secureConnect', () => {
      const isResumed = socket.isSessionReused()
      setImmediate(() => end(true, isResumed))
    })
    socket.on('error', () => end(false, false))
  })
}

describe('stalls cost no handshake', { skip: apache.skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-stalls-'))
  let pair: Pair | undefined
  const children: ChildProcess[] = []
  const servers: Server[] = []
  const remotes: RemoteHooks[] = []

  before(async () => {
    await makeCertificates(folder)
    pair = await makePair(folder)
  })

  after(async () => {
    for (const child of children) child.kill('SIGKILL')
    for (const server of servers) server.close()
    await Promise.all(remotes.map((hooks) => hooks.close()))
    await pair?.stop()
    rmSync(folder, { recursive: true })
  })

  /** A node, an Apache and a Node.js server in front of it, and what their clients see without a stall. */
  async function setUp(number: 0 | 1, stderr: 'pipe' | number) {
    const host = pair?.hosts[number]
    if (host === undefined) throw new Error('no host')
    const node = await startNode(host.folder, stderr)
    children.push(node.child)
    const { shop } = await startApache(host, holderOf(node), node.memcached)
    const hooks = connectHooks(`unix:${node.rpc}`, { cache: 'ssl' })
    remotes.push(hooks)
    const server = createServer({
      ...DEMO_CERTIFICATE,
      secureOptions: constants.SSL_OP_NO_TICKET,
      sessionIdContext: 'shop.example',
    })
    servers.push(server)
    server.on('tlsClientError', () => {})
    attachSessionCache(server, hooks, { context: 'shop.example' })
    await hooks.open()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const ports = [shop.port, (server.address() as AddressInfo).port] as const
    const before = []
    for (const port of ports) {
      const made = await shakeHands(port)
      const usual = await shakeHands(port, made.sessions)
      before.push({ port, ...usual, slowestMs: Math.max(made.slowestMs, usual.slowestMs) })
    }
    return { node, before }
  }

  type SetUp = Awaited<ReturnType<typeof setUp>>

  async function assertUnharmed(
    t: TestContext,
    { before }: SetUp,
    isResuming: boolean,
  ): Promise<void> {
    for (const { port, sessions, resumed, slowestMs } of before) {
      const now = await shakeHands(port, sessions)
      const figures = [now.failed, now.resumed, now.slowestMs, resumed, slowestMs].map(Math.round)
      t.diagnostic(`failed, resumed, slowest ms; before: resumed, slowest ms: ${figures}`)
      assert.equal(now.failed, 0)
      assert.ok(now.slowestMs <= slowestMs + LONGER_MS, `${now.slowestMs} ms, ${slowestMs} before`)
      if (isResuming)
        assert.ok(now.resumed >= resumed * 0.9, `${now.resumed} of ${resumed} resumed`)
    }
  }

  test('a log reader that stops, and then an event loop that hangs', async (t) => {
    const all = await setUp(0, 'pipe')
    for (const { failed, resumed } of all.before) {
      assert.equal(failed, 0)
      assert.ok(resumed > 0)
    }
    all.node.child.kill('SIGUSR2')
    await until('lines are dropped', async () => {
      const metrics = (await ask(all.node.http, { path: '/metrics' })).body.toString()
      return /^tlscached_log_lines_dropped_total [1-9]/m.test(metrics)
    })
    await assertUnharmed(t, all, true)
    const ended = once(all.node.child, 'exit')
    all.node.child.kill('SIGWINCH')
    await assertUnharmed(t, all, false)
    assert.deepEqual(await ended, [null, 'SIGKILL'])
  })

  test('a log that takes nothing more, as on a full disk', async (t) => {
    const all = await setUp(1, openSync('/dev/full', 'w'))
    all.node.child.kill('SIGUSR2')
    await assertUnharmed(t, all, true)
  })
})
