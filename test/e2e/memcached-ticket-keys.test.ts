// Real programs that take their ticket keys over memcached: two nghttpx on two nodes through a rotation, and h2o.

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type Clock, silentLogger, systemClock } from '../../src/base/world.ts'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { MemcachedFrontend } from '../../src/frontends/memcached/frontend.ts'
import { TicketKeys } from '../../src/frontends/memcached/ticket-keys.ts'
import { readConfig } from '../../src/node/config.ts'
import { TicketRing } from '../../src/tickets/ring.ts'
import { ringTimes } from '../../src/tickets/times.ts'
import { createClient, TLS_VERSIONS, type TlsVersion } from '../../src/tls-client/handshake.ts'
import { adapt, type Replacement } from '../support/adapt.ts'
import { createLiveCache } from '../support/cache-fixture.ts'
import { freePorts } from '../support/free-ports.ts'
import { until } from '../support/latch.ts'
import { SERVER_PROCESS } from '../support/memcached-peer.ts'
import { stopProcess } from '../support/node-processes.ts'
import { whyWithout } from '../support/programs.ts'
import { seededBytes } from '../support/seeded-random.ts'

const HOUR_MS = 3_600_000
const settings = { name: 'www', rotateMs: HOUR_MS, waitMs: HOUR_MS, lifetimeMs: HOUR_MS }
const times = ringTimes(settings, [])

/** The time of day of this machine, which h2o reads, with an age of keys that a test moves. */
class AgingClock implements Clock {
  agedMs = 0
  readonly after = systemClock.after
  readonly soon = systemClock.soon
  readonly wallMs = systemClock.wallMs

  monotonicMs(): number {
    return systemClock.monotonicMs() + this.agedMs
  }
}

/** A node as far as its memcached frontend and its ring go. */
interface Member {
  readonly ring: TicketRing
  readonly frontend: MemcachedFrontend
  readonly port: number
  readonly said: () => string
}

const shakeHands = createClient(systemClock, { serverName: 'localhost', timeoutMs: 5000 })

function connect(port: number, version: TlsVersion, session?: Buffer) {
  const request = { version, takesTickets: true, ...(session !== undefined && { session }) }
  return shakeHands({ host: '127.0.0.1', port }, request)
}

async function keyNameOf(port: number): Promise<string | undefined> {
  return (await connect(port, '1.2')).session?.keyName
}

/** Starts a frontend with a ring that `fill` may fill, and a program beside it whose example is adapted by `replace`. */
async function startMember(
  t: TestContext,
  clock: Clock,
  name: string,
  example: string,
  replace: (ports: { memcached: number; port: number; folder: string }) => readonly Replacement[],
  command: (file: string) => readonly [string, ...string[]],
  fill: (empty: TicketRing) => void = () => {},
): Promise<Member> {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-memcached-tickets-'))
  chmodSync(folder, 0o755)
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  writeFileSync(join(folder, 'cert.pem'), DEMO_CERTIFICATE.cert)
  writeFileSync(join(folder, 'key.pem'), DEMO_CERTIFICATE.key)
  const ring = new TicketRing({
    ...{ group: 'www', times, nodeId: Buffer.from(name), random: seededBytes(name) },
  })
  fill(ring)
  const frontend = await startFrontend(t, ring, clock)
  const { address } = frontend
  assert.ok('port' in address)
  const [port = 0] = await freePorts(1)
  const file = join(folder, 'example.conf')
  const text = readFileSync(new URL(`../../deploy/terminators/${example}`, import.meta.url), 'utf8')
  const ports = { memcached: address.port, port, folder }
  writeFileSync(file, adapt(text, [['/etc/tlscached/', `${folder}/`], ...replace(ports)]))
  const log = join(folder, 'log')
  const out = openSync(log, 'a')
  const [program, ...args] = command(file)
  const child: ChildProcess = spawn(program, args, { stdio: ['ignore', out, out] })
  t.after(() => stopProcess(child))
  const said = () => readFileSync(log, 'utf8').slice(-2000)
  await until(`${program} listens`, () => {
    assert.equal(child.exitCode, null, said())
    return canConnect(port)
  })
  return { ring, frontend, port, said }
}

async function startFrontend(
  t: TestContext,
  ring: TicketRing,
  clock: Clock,
  port = 0,
): Promise<MemcachedFrontend> {
  const frontend = new MemcachedFrontend({
    ...{ address: { host: '127.0.0.1', port }, process: SERVER_PROCESS },
    ...{ hooks: createLiveCache().hooks, clock: systemClock, logger: silentLogger },
    ticketKeys: new TicketKeys(ring, clock),
  })
  await frontend.start()
  t.after(() => frontend.stop())
  return frontend
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1', () => socket.destroy())
    socket.on('error', () => {})
    socket.on('close', (hadError) => resolve(!hadError))
  })
}

function nghttpx(t: TestContext, clock: Clock, name: string): Promise<Member> {
  return startMember(
    ...([t, clock, name, 'tickets/nghttpx/memcached.conf'] as const),
    ({ memcached, port, folder }) => [
      ['0.0.0.0,443', `127.0.0.1,${port}`],
      ['127.0.0.1,8080', '127.0.0.1,9'],
      ['127.0.0.1,11211', `127.0.0.1,${memcached}`],
      ['interval=60s', `interval=1s\npid-file=${folder}/pid`],
      ['max-backoff=30s', 'max-backoff=500ms'],
    ],
    (file) => ['nghttpx', `--conf=${file}`],
  )
}

test('the examples of nodes that serve keys over memcached are right', () => {
  for (const name of ['nghttpx', 'h2o']) {
    const file = new URL(`../../deploy/terminators/tickets/${name}/memcached.yaml`, import.meta.url)
      .pathname
    const config = readConfig({ file, environment: {}, hostName: 'edge-1' })
    assert.equal(config.frontends.memcachedTickets, 'www')
    assert.equal(config.tickets?.groups[0]?.terminators[0]?.pollMs, 60_000)
  }
})

test('two nghttpx take every key over memcached, and keep them while there are none', {
  skip: whyWithout('nghttpx', '--version'),
}, async (t) => {
  const clock = new AgingClock()
  const [a, b] = await Promise.all(['a', 'b'].map((name) => nghttpx(t, clock, name)))
  assert.ok(a !== undefined && b !== undefined)
  const tick = () => {
    for (const { ring } of [a, b]) ring.tick(clock.monotonicMs(), ring === a.ring)
    b.ring.merge(clock.monotonicMs(), a.ring.offer(clock.monotonicMs()))
  }
  const haveCurrent = async () => {
    const name = a.ring.view(clock.monotonicMs()).current?.key.hexName
    await until(`both nghttpx have ${name}`, async () => {
      const names = await Promise.all([a, b].map(({ port }) => keyNameOf(port)))
      return names.every((one) => one === name)
    })
  }
  // They ask before there is a ring, and then go on asking.
  await until('both were turned away', () =>
    [a, b].every(({ frontend: { stats } }) => stats.gets > stats.getHits),
  )
  tick()
  await haveCurrent()
  const sessions = await Promise.all(
    TLS_VERSIONS.map(async (version) => ({
      version,
      bytes: (await connect(a.port, version)).session?.bytes,
    })),
  )
  const members: readonly Member[] = [a, b]
  const resumes = async (what: string, wanted: boolean) => {
    for (const { version, bytes } of sessions) {
      for (const member of members) {
        const { isResumed } = await connect(member.port, version, bytes)
        assert.equal(isResumed, wanted, `${what}, TLS ${version}: ${member.said()}`)
      }
    }
  }
  await resumes('at once', true)

  // A node that starts again has an empty ring for a while, and its terminator is none the worse for it.
  const held = b.ring.offer(clock.monotonicMs())
  b.ring.close()
  const { stats } = b.frontend
  const missesBefore = stats.gets - stats.getHits
  await until('b was turned away three times', () => stats.gets - stats.getHits >= missesBefore + 3)
  await resumes('without a ring', true)
  b.ring.merge(clock.monotonicMs(), held)

  // A node that is down refuses connections, after which nghttpx waits, longer and longer, and must not wait for ever.
  const { address } = b.frontend
  assert.ok('port' in address)
  await b.frontend.stop()
  const refusals = () => b.said().match(/memcached connect failed/g)?.length ?? 0
  await until('b was refused three times', () => refusals() >= 3)
  await resumes('while the node is down', true)
  await startFrontend(t, b.ring, clock, address.port)

  const [first] = a.ring.keys
  for (let hours = 0; hours < 2; hours += 1) {
    clock.agedMs += 1.1 * HOUR_MS
    tick()
  }
  await haveCurrent()
  assert.notEqual(a.ring.view(clock.monotonicMs()).current?.key.hexName, first?.key.hexName)
  await resumes('after a rotation', true)
  clock.agedMs += times.openMs - 2 * HOUR_MS
  tick()
  await haveCurrent()
  await until('b has dropped the first key', async () => {
    const [one] = sessions
    return !(await connect(b.port, '1.2', one?.bytes)).isResumed
  })
  await until('a has dropped the first key', async () => {
    const [one] = sessions
    return !(await connect(a.port, '1.2', one?.bytes)).isResumed
  })
  await resumes('after the end of the key', false)
})

test('h2o takes the keys over memcached and never writes any', {
  skip: whyWithout('h2o', '--version'),
}, async (t) => {
  const clock = new AgingClock()
  const { ring, frontend, port, said } = await startMember(
    ...([t, clock, 'h2o', 'tickets/h2o/memcached.conf'] as const),
    ({ memcached, port: own, folder }) => [
      ['11211', `${memcached}`],
      ['port: 443', `port: ${own}`],
      ['host: 0.0.0.0', 'host: 127.0.0.1'],
      ['/var/www/html', folder],
      ...(process.getuid?.() === 0 ? [] : ([['user: www-data', '']] as const)),
    ],
    (file) => ['h2o', '-c', file],
    (empty) => {
      // Alone in the ring and older than a quarter of the lifetime of h2o, which then writes a key of its own.
      empty.tick(clock.monotonicMs(), true)
      clock.agedMs += HOUR_MS / 2
    },
  )
  const name = ring.keys[0]?.key.hexName
  await until('h2o has the key of the ring', async () => (await keyNameOf(port)) === name)
  const { gets, getHits, refused, puts } = frontend.stats
  assert.deepEqual({ gets, getHits, refused, puts }, { gets: 1, getHits: 1, refused: 0, puts: 0 })
  for (const version of TLS_VERSIONS) {
    const { session } = await connect(port, version)
    assert.equal((await connect(port, version, session?.bytes)).isResumed, true, said())
  }
})
