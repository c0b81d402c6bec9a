// The alerts of what nodes and terminators share, in a real Prometheus: copies and comparisons, datagrams, ticket keys, and
// calls of `tlscached terminate`. None fires while all is well, and each fires in its time after its fault is made.

import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { formatAddress } from '../../src/base/address.ts'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { freePorts } from '../support/free-ports.ts'
import { ask } from '../support/http.ts'
import { runCli, stopProcess } from '../support/node-processes.ts'
import { NodeProxy } from '../support/node-proxy.ts'
import { whyWithout } from '../support/programs.ts'
import { startTerminate, type TerminateProcess } from '../support/terminate-process.ts'
import { handshake } from '../support/tls-client.ts'
import { clockFileEnvironment } from '../support/wrong-clock.ts'
import { AlertTrial, ruleMs, SPEED, type Within } from './alert-trial.ts'
import { type ScrapedConfig, spawnScrapedNode, untilAnswers } from './scraping-prometheus.ts'

/** The shortest times of a group, so that its keys are late within a minute. */
const FAST_GROUP = { name: 'fast', rotate: '10s', wait: '8s', lifetime: '10s' }
const LATE_SEC = 1.5 * 10 + 8
/** What arrives neither at once nor when it is asked for again is given up after this time. */
const GAP_SEC = 30
/** Least time between two reloads of a terminator; the first one was at the start. */
const RELOAD_PAUSE_SEC = 30
const WITHIN: Within = {
  TlscachedNotReady: ['5m'],
  TlscachedSyncFails: ['5m'],
  TlscachedLosesDatagrams: [GAP_SEC, '10m'],
  TlscachedTerminatorsAskNobody: ['30m', '10m'],
  TlscachedTicketKeysLate: [LATE_SEC, '5m'],
  TlscachedTicketTargetFails: [RELOAD_PAUSE_SEC, '5m'],
  TlscachedTicketRingsDiffer: ['1m'],
}

/** What a slow connection carries: each frame of a copy comes within ten seconds, which is all that a node asks for. */
const SLOW_BYTES_PER_SEC = 4096
/** A session of a copy takes more than this. */
const COPIED_BYTES = 150
/** So many sessions that the slow copy of them still runs when the alert must have fired. */
const KEPT_SESSIONS = Math.ceil(((ruleMs('5m') / 1000 + 60) * SLOW_BYTES_PER_SEC) / COPIED_BYTES)

/** The clock that is wrong jumps so far, so often: each time the machine seems to have been suspended. */
const CLOCK_JUMP_SEC = 10
const CLOCK_PERIOD_MS = 1000

/** The first node, and those that hear it through a proxy each; the last one replicates with nobody. */
const NAMES = ['edge-1', 'edge-refused', 'edge-lossy', 'edge-slow', 'edge-clock'] as const
const [FIRST, REFUSED, LOSSY, SLOW, CLOCK] = [0, 1, 2, 3, 4] as const

const skip = whyWithout('prometheus') || whyWithout('faketime')
describe('alerts of what is shared', { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-alerts-sharing-'))
  const pathOf = (name: string) => join(folder, name)
  const trial = new AlertTrial(WITHIN)
  const nodes = new Map<number, ChildProcess>()
  /** By the node that hears the first one through it. */
  const proxies = new Map([REFUSED, LOSSY, SLOW].map((index) => [index as number, new NodeProxy()]))
  const backend = createServer((socket) => socket.on('error', () => {}).resume())
  /** Between the terminator and its node. */
  const calls = new Set<Socket>()
  const callRelay = createServer((near) => {
    const far = connect(pathOf('rpc.sock'))
    for (const socket of [near, far]) {
      calls.add(socket)
      socket.on('error', () => {})
    }
    near.pipe(far).pipe(near)
  })
  let http: number[] = []
  let port = 0
  let terminator: TerminateProcess

  const hostOf = (index: number) => `127.0.1.${index + 1}`
  /** Where the proxy shows a node to the first one, and the first one to that node. */
  const shownHost = (index: number) => `127.0.2.${index + 1}`
  const firstShownHost = (index: number) => `127.0.3.${index + 1}`

  function configOf(index: number): ScrapedConfig {
    const proxied = [...proxies.keys()]
    const hosts = index === FIRST ? proxied.map(shownHost) : [firstShownHost(index)]
    const peers = index === CLOCK ? {} : { peers: hosts.map((host) => `${host}:${port}`) }
    const digest_interval = `${Math.max(2, 30 / SPEED)}s`
    const target = { kind: 'file', group: 'www', file: pathOf('ticket-keys'), allow_disk: true }
    const ownTickets = { targets: [{ ...target, reload: ['test', '-e', pathOf('terminator')] }] }
    return {
      // On a busy machine the usual one ends a node that nothing is wrong with.
      node: { name: NAMES[index] ?? '', watchdog: '60s' },
      caches: [
        { name: 'ssl', items: 200_000 },
        { name: 'kept', items: 100_000, timeout: '2h' },
      ],
      replication: {
        listen: `${hostOf(index)}:${port}`,
        ...peers,
        digest_interval,
        keys_file: pathOf('keys'),
      },
      tickets: {
        groups: [index === CLOCK ? FAST_GROUP : { name: 'www' }],
        ...(index === FIRST && ownTickets),
      },
      ...(index === FIRST && { frontends: { rpc: `unix:${pathOf('rpc.sock')}` } }),
    }
  }

  function setClock(text: string): void {
    writeFileSync(pathOf('clock.new'), text)
    renameSync(pathOf('clock.new'), pathOf('clock'))
  }

  function callFirst(cache: string, method: 'GET' | 'PUT', id = randomBytes(32)) {
    const path = `/v1/caches/${cache}/sessions/${id.toString('hex')}?context=a`
    const body = method === 'PUT' ? { body: randomBytes(100) } : {}
    return ask({ host: '127.0.0.1', port: http[FIRST] ?? 0 }, { method, path, ...body })
  }

  before(async () => {
    ;[port = 0, ...http] = await freePorts(1 + NAMES.length)
    writeFileSync(pathOf('keys'), `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 })
    writeFileSync(pathOf('terminator'), 'it runs')
    setClock('+0')
    for (const [index, proxy] of proxies) {
      await proxy.start(port, [
        { host: hostOf(FIRST), shownAs: firstShownHost(index) },
        { host: hostOf(index), shownAs: shownHost(index) },
      ])
    }
    await Promise.all(NAMES.map((_, index) => startNode(index)))
    for (let left = KEPT_SESSIONS; left > 0; left -= 20) {
      await Promise.all(Array.from({ length: 20 }, () => callFirst('kept', 'PUT')))
    }
    await startTerminator()
    const scraped = [...http.map((one) => `127.0.0.1:${one}`), formatAddress(terminator.metrics)]
    await trial.start(folder, scraped)
    trial.keepOn(async () => {
      const id = randomBytes(32)
      await callFirst('ssl', 'PUT', id)
      await callFirst('ssl', 'GET', id)
    })
  })

  async function startNode(index: number): Promise<void> {
    const variables = index === CLOCK ? clockFileEnvironment(pathOf('clock')) : {}
    const own = http[index] ?? 0
    const child = spawnScrapedNode(folder, own, configOf(index), [], variables)
    nodes.set(index, child)
    await untilAnswers(NAMES[index] ?? '', child, own, '/readyz')
  }

  async function startTerminator(): Promise<void> {
    const [listen = 0] = await freePorts(1)
    for (const server of [backend, callRelay]) {
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
    }
    const addressOf = (server: typeof backend) =>
      `127.0.0.1:${(server.address() as AddressInfo).port}`
    writeFileSync(pathOf('cert.pem'), DEMO_CERTIFICATE.cert)
    writeFileSync(pathOf('key.pem'), DEMO_CERTIFICATE.key, { mode: 0o600 })
    terminator = await startTerminate([
      ...['--listen', `127.0.0.1:${listen}`, '--processes', '1', '--log-level', 'error'],
      ...['--cert', pathOf('cert.pem'), '--key', pathOf('key.pem')],
      ...['--node', addressOf(callRelay), '--backend', addressOf(backend)],
    ])
    trial.keepOn(async () => {
      const { session } = await handshake(listen)
      await handshake(listen, session === undefined ? {} : { session })
    })
  }

  after(async () => {
    await trial.stop()
    for (const child of [...nodes.values(), terminator?.child]) {
      child?.stderr?.resume()
      if (child !== undefined) await stopProcess(child)
    }
    for (const proxy of proxies.values()) proxy.stop()
    closeCalls()
    backend.close()
    rmSync(folder, { recursive: true })
  })

  function closeCalls(): void {
    callRelay.close()
    for (const socket of calls) socket.destroy()
  }

  test('none fires while all is well', async () => {
    await trial.staysQuiet()
    const [up] = await trial.prometheus.query('sum(tlscached_peer_up)')
    assert.equal(up?.value, 6)
    const [handshakes] = await trial.prometheus.query(
      'sum(tlscached_terminator_handshakes_total{resumed="yes"})',
    )
    assert.ok(handshakes !== undefined && handshakes.value > 0, 'clients resume')
  })

  test('each fires in its time after its fault', async () => {
    const startMs = performance.now()
    proxies.get(REFUSED)?.refuseConnections()
    const [lossy, slow] = [proxies.get(LOSSY), proxies.get(SLOW)]
    assert.ok(lossy !== undefined && slow !== undefined)
    lossy.lostPercent = 95
    closeCalls()
    let aheadSec = 0
    trial.keepOn(async () => {
      aheadSec += CLOCK_JUMP_SEC
      setClock(`+${aheadSec}`)
      await delay(CLOCK_PERIOD_MS)
    })
    rmSync(pathOf('terminator'))
    const rotate = ['tickets', 'rotate', 'www', '--now', '--rpc', `unix:${pathOf('rpc.sock')}`]
    const rotated = await runCli(rotate)
    assert.equal(rotated.code, 0, rotated.stderr)
    const child = nodes.get(SLOW)
    assert.ok(child !== undefined)
    child.stderr?.resume()
    await stopProcess(child)
    slow.bytesPerSec = SLOW_BYTES_PER_SEC
    const again = spawnScrapedNode(folder, http[SLOW] ?? 0, configOf(SLOW))
    nodes.set(SLOW, again)
    // It is not ready, and alive.
    await untilAnswers('the slow node', again, http[SLOW] ?? 0, '/healthz')
    await trial.allFire(startMs, performance.now())
  })
})
