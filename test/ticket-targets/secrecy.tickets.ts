// Where ticket keys must not be: two nodes of a user without privileges swap rings through a proxy that records them, give
// keys to every kind of target, and beside one a Node.js server has its keys over rpc. Keys are retired by age and revoked.
// Then the memory of all three processes is searched for retired keys, and all that they sent and said for any key.

import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock, systemRandom } from '../../src/base/world.ts'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { callNode } from '../../src/cli/rpc-client.ts'
import { createClient } from '../../src/tls-client/handshake.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import { freePorts } from '../support/free-ports.ts'
import { ask } from '../support/http.ts'
import { until } from '../support/latch.ts'
import { openLiveStream } from '../support/live-stream.ts'
import { type NodeProcess, runCli, startServe, stopProcess } from '../support/node-processes.ts'
import { NodeProxy } from '../support/node-proxy.ts'
import { searchMemory, whileStopped } from '../support/process-memory.ts'
import { whyWithoutRoot } from '../support/programs.ts'
import { SecretSearch } from '../support/secret-search.ts'
import { askMemcached, playHaproxy, playKubernetes } from './played-services.ts'

const INDEX = new URL('../../dist/index.js', import.meta.url).href
/** www-data of Debian, the user of the service. */
const USER = { uid: 33, gid: 33 }
/** Keys of `fast` are retired by age within the test; those of `slow` only by an operator, since lighttpd polls. */
const GROUPS = [
  { name: 'fast', rotate: '10s', wait: '8s', lifetime: '1s' },
  { name: 'slow', rotate: '150s', wait: '145s', lifetime: '10s' },
]
const REVOKE_SLOW_MS = 8000
/** The first key of `fast` is retired by age after 38 s. */
const RUN_MS = 42_000
/** For the last changes to reach all targets, of which reloaded ones change every 2.5 s. */
const SETTLE_MS = 5000

interface Member {
  readonly folder: string
  readonly rpc: string
  readonly memcached: string
  readonly address: { readonly host: string; readonly port: number }
  readonly start: () => Promise<NodeProcess>
  node: NodeProcess
}

test('the search finds every part of a secret in every form', () => {
  const secret = randomBytes(96)
  const search = new SecretSearch()
  search.add('key', secret)
  const forms = {
    raw: secret.subarray(20, 40),
    hex: Buffer.from(secret.subarray(20, 40).toString('hex')),
    upper: Buffer.from(secret.subarray(20, 40).toString('hex').toUpperCase()),
    ...Object.fromEntries(
      [0, 1, 2].map((shift) => [
        `base64-${shift}`,
        Buffer.from(
          Buffer.concat([Buffer.alloc(shift), secret.subarray(20, 40)]).toString('base64'),
        ),
      ]),
    ),
  }
  for (const [form, bytes] of Object.entries(forms)) {
    const hidden = Buffer.concat([randomBytes(1001), bytes, randomBytes(77)])
    assert.ok(search.find(hidden).length > 0, form)
  }
  assert.deepEqual(search.find(randomBytes(100_000)), [])
})

describe('secrecy of ticket keys', { skip: whyWithoutRoot() }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-secrecy-'))
  const run = join(folder, 'run')
  const recorded: Buffer[] = []
  const proxy = new NodeProxy((bytes) => recorded.push(Buffer.from(bytes)))
  const members: Member[] = []
  const said: Buffer[] = []
  const stops: (() => unknown)[] = []
  const children: ChildProcess[] = []
  let server: ChildProcess
  let serverPorts: number[] = []
  /** Every key that was ever in a file, by its name, and those that are there now. */
  const secrets = new Map<string, Buffer>()
  const current = new Map<string, ReadonlySet<string>>()

  before(async () => {
    chmodSync(folder, 0o755)
    mkdirSync(run)
    const options = ['-o', 'size=4m,mode=755', 'tmpfs', run]
    assert.equal(spawnSync('mount', ['-t', 'tmpfs', ...options]).status, 0)
    const haproxyPath = join(run, 'haproxy.sock')
    stops.push(await playHaproxy(haproxyPath, (index) => join(run, `${index}`, 'haproxy.keys')))
    const kubernetes = await playKubernetes(join(folder, 'kubernetes'), stops)
    const [port = 0, ...ports] = await freePorts(5)
    serverPorts = ports.slice(0, 2)
    await proxy.start(port, [
      { host: '127.0.0.1', shownAs: '127.0.0.4' },
      { host: '127.0.0.2', shownAs: '127.0.0.3' },
    ])
    const key = generateKey(systemRandom)
    for (const index of [0, 1]) {
      const own = join(run, `${index}`)
      mkdirSync(own)
      chownSync(own, USER.uid, USER.gid)
      const memcached = join(own, 'memcached.sock')
      const rpc = join(own, 'rpc.sock')
      const http = { host: '127.0.0.1', port: ports[2 + index] ?? 0 }
      const config = {
        node: { name: `edge-${index}` },
        log: { level: 'debug' },
        replication: {
          listen: `127.0.0.${1 + index}:${port}`,
          peers: [`127.0.0.${index === 0 ? 3 : 4}:${port}`],
          keys: [key],
        },
        tickets: {
          groups: GROUPS,
          targets: targetsOf(own, kubernetes, haproxyPath, serverPorts[0] ?? 0),
        },
        caches: [{ name: 'ssl', items: 100 }],
        frontends: {
          http: `${http.host}:${http.port}`,
          rpc: `unix:${rpc}`,
          memcached: `unix:${memcached}`,
          memcached_tickets: 'slow',
        },
      }
      const start = () => startServe(own, config, asUser, http)
      members.push({ folder: own, rpc, memcached, address: http, start, node: await start() })
    }
    server = startServer()
    await until('the server answers', async () => {
      if (server.exitCode !== null) throw new Error(`the server ended: ${said.join('')}`)
      return shake(serverPorts[0] ?? 0).then(
        () => true,
        () => false,
      )
    })
  })

  after(async () => {
    proxy.stop()
    await Promise.all(children.map(stopProcess))
    for (const stop of stops) await stop()
    spawnSync('umount', ['-l', run])
    rmSync(folder, { recursive: true, force: true })
  })

  /** Starts a process as the user of the service and keeps what it says. */
  function asUser(args: readonly string[]): ChildProcess {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], ...USER })
    children.push(child)
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => said.push(chunk))
    return child
  }

  /** A TLS server on two ports: one opens tickets under all keys, the other under the current one. */
  function startServer(): ChildProcess {
    const file = join(folder, 'server.mjs')
    const source = `
      import { createServer } from 'node:tls'
      import { attachTicketKeys, connectTicketKeys } from ${JSON.stringify(INDEX)}
      const options = ${JSON.stringify({ key: DEMO_CERTIFICATE.key, cert: DEMO_CERTIFICATE.cert })}
      const keys = connectTicketKeys('unix:${members[0]?.rpc}', { group: 'fast', logger: console })
      for (const [index, port] of ${JSON.stringify(serverPorts)}.entries()) {
        const server = createServer(options, (socket) => socket.on('error', () => {}).end('hello'))
        attachTicketKeys(server, keys, { singleKey: index === 1 })
        server.listen(port, '127.0.0.1')
      }`
    writeFileSync(file, source)
    return asUser([file])
  }

  /** Reads which keys the files of all nodes have now. */
  function readKeys(): void {
    for (const { folder: own } of members) {
      for (const { name: group } of GROUPS) {
        const path = join(own, `${group}.json`)
        if (!existsSync(path)) continue
        const { keys }: { keys: { name: string; aes: string; hmac: string }[] } = JSON.parse(
          readFileSync(path, 'utf8'),
        )
        for (const { name, aes, hmac } of keys) secrets.set(name, Buffer.from(aes + hmac, 'hex'))
        current.set(path, new Set(keys.map(({ name }) => name)))
      }
    }
  }

  function retiredNames(): string[] {
    const live = new Set([...current.values()].flatMap((names) => [...names]))
    return [...secrets.keys()].filter((name) => !live.has(name))
  }

  async function revoke(group: string): Promise<void> {
    const call = { kind: 'rotateTickets', group, isImmediate: true, isRevoking: true } as const
    const path = members[0]?.rpc ?? ''
    assert.equal((await callNode({ path }, call)).kind, 'rotated')
  }

  /** Runs until keys were retired by age, with clients that come back, and revokes keys in between. */
  async function runFor(durationMs: number): Promise<{ resumed: number; served: number }> {
    const endMs = performance.now() + durationMs
    let revokeMs = performance.now() + REVOKE_SLOW_MS
    let resumed = 0
    let served = 0
    let sessions: (Buffer | undefined)[] = []
    for (let count = 0; performance.now() < endMs; count += 1) {
      readKeys()
      const port = serverPorts[count % 2] ?? 0
      const version = count % 4 < 2 ? '1.2' : '1.3'
      const session = sessions[count % 4]
      const one = await shake(port, version, session)
      resumed += one.isResumed ? 1 : 0
      sessions[count % 4] = one.session?.bytes
      if (count % 12 === 0) sessions = []
      if (performance.now() > revokeMs) {
        revokeMs += REVOKE_SLOW_MS
        await revoke('slow')
      }
      served += await askMemcached(members[count % 2]?.memcached ?? '')
      await sleep(50)
    }
    return { resumed, served }
  }

  /** Ends a node and starts it again; it finds the ring that it kept beside its targets. */
  async function restart(member: Member | undefined): Promise<void> {
    if (member === undefined) return
    await stopProcess(member.node.child)
    member.node = await member.start()
  }

  test('no process has a retired key in its memory', async (t) => {
    const before = await runFor(RUN_MS / 2)
    await restart(members[1])
    const { resumed, served } = await runFor(RUN_MS / 2)
    const byAge = retiredNames().length
    await revoke('fast')
    await revoke('slow')
    await runFor(SETTLE_MS)
    const processes = new Map([
      ['edge-0', members[0]?.node.child.pid ?? 0],
      ['edge-1', members[1]?.node.child.pid ?? 0],
      ['TLS server', server.pid ?? 0],
    ])
    const { retired, live, searched } = whileStopped([...processes.values()], () => {
      readKeys()
      const search = new SecretSearch()
      for (const [key, secret] of secrets) search.add(key, secret)
      const old = retiredNames()
      return {
        retired: old,
        live: [...secrets.keys()].filter((name) => !old.includes(name)),
        searched: [...processes].map(([name, pid]) => ({ name, ...searchMemory(pid, search) })),
      }
    })
    assert.ok(byAge > 0 && retired.length >= 6, `${retired.length} keys were retired`)
    assert.ok(before.resumed + resumed > 20, `${resumed} sessions resumed`)
    assert.ok(before.served + served > 20, `${served} keys were served over memcached`)
    const problems: string[] = []
    for (const { name, found, searchedBytes } of searched) {
      const old = found.filter((one) => retired.includes(one.name))
      const inUse = found.length - old.length
      t.diagnostic(
        `${name}: ${Math.round(searchedBytes / 2 ** 20)} MiB, ${old.length} pieces of ${retired.length} retired keys, ${inUse} of ${live.length} keys in use`,
      )
      const places = new Map<string, string>()
      for (const { name: key, form, pieceAt, mapping, address, around } of old) {
        const place = `${mapping || 'memory'} ${address.toString(16)}: ${around}`
        const text = `${name}: ${form} of ${key.slice(0, 8)} at ${pieceAt}, ${place}`
        places.set(`${key} ${form} ${Math.floor(address / 4096)}`, text)
      }
      problems.push(...[...places.values()].slice(0, 40))
      // A key in use is in the memory of whoever uses it: otherwise the search would find nothing at all.
      if (inUse === 0) problems.push(`${name}: not even a key in use`)
    }
    assert.deepEqual(problems, [])
  })

  test('nothing that is sent or said holds a key', async (t) => {
    const search = new SecretSearch()
    readKeys()
    for (const [key, secret] of secrets) search.add(key, secret)
    assert.ok(search.names.size >= 8)
    const texts = new Map<string, Buffer>([
      ['what crossed the wire', Buffer.concat(recorded)],
      ['the logs', Buffer.concat(said)],
    ])
    for (const { address, node } of members) {
      const { host, port } = address
      const paths = ['/metrics', '/healthz', '/readyz', '/v1/caches', '/v1/peers', '/v1/cluster']
      paths.push('/v1/tickets', '/v1/tickets/fast', '/v1/trace/c0ffee00', '/')
      const page = (await ask(address, { path: '/' })).body.toString()
      paths.push(...[...page.matchAll(/(?:href|src)="(\/[^"]+)"/g)].map(([, path = '']) => path))
      for (const path of new Set(paths)) {
        const { status, body } = await ask(address, { path })
        assert.ok(status < 500, path)
        texts.set(`${port}${path}`, body)
      }
      const live = await openLiveStream(address)
      texts.set(`${port}/v1/cluster/live`, Buffer.from(JSON.stringify(await live.next())))
      live.close()
      for (const args of [['tickets'], ['tickets', '--json'], ['stats', '--json'], ['peers']]) {
        const { stdout, stderr } = await runCli([...args, '--http', `${host}:${port}`])
        assert.notEqual(stdout, '', stderr)
        texts.set(`${args.join(' ')} of ${port}`, Buffer.from(stdout + stderr))
      }
      texts.set(`argv of ${port}`, readFileSync(`/proc/${node.child.pid}/cmdline`))
      texts.set(`environment of ${port}`, readFileSync(`/proc/${node.child.pid}/environ`))
    }
    texts.set('argv of the server', readFileSync(`/proc/${server.pid}/cmdline`))
    texts.set('environment of the server', readFileSync(`/proc/${server.pid}/environ`))
    const bytes = [...texts.values()].reduce((sum, { length }) => sum + length, 0)
    t.diagnostic(
      `${texts.size} texts of ${bytes} bytes, ${proxy.datagrams} datagrams, ${proxy.connections} connections, ${search.names.size} keys`,
    )
    for (const [name, text] of texts) {
      assert.ok(text.length > 0, name)
      assert.deepEqual(search.find(text), [], name)
    }
    assert.ok(proxy.datagrams > 20 && proxy.connections > 4)
    // Every target was given its keys, or nothing of what is theirs was tried.
    for (const { address } of members) {
      for (const group of ['fast', 'slow']) {
        const { body } = await ask(address, { path: `/v1/tickets/${group}` })
        const { targets } = JSON.parse(body.toString())
        assert.ok(targets.length > 3)
        for (const { name, problem } of targets) assert.equal(problem, null, name)
      }
    }
    // The names of keys are no secret, and the answers have them: the search looked at the right things.
    readKeys()
    const names = [...(current.get(join(members[0]?.folder ?? '', 'fast.json')) ?? [])]
    const answered = texts.get(`${members[0]?.address.port}/v1/tickets`)
    assert.ok(names.some((name) => answered?.includes(name)))
  })
})

function shake(port: number, version: '1.2' | '1.3' = '1.3', session?: Buffer) {
  const shakeHands = createClient(systemClock, { serverName: 'localhost', timeoutMs: 5000 })
  const request = { version, takesTickets: true, ...(session !== undefined && { session }) }
  return shakeHands({ host: '127.0.0.1', port }, request)
}

/** A target of every kind in the folder of one node. */
function targetsOf(
  own: string,
  { http, https, credentials }: Awaited<ReturnType<typeof playKubernetes>>,
  haproxy: string,
  probedPort: number,
): object[] {
  const fast = { group: 'fast' }
  const slow = { group: 'slow' }
  const secret = { kind: 'kubernetes-secret', ...fast, allow_disk: true, namespace: 'default' }
  const probe = { address: `127.0.0.1:${probedPort}`, server_name: 'localhost' }
  return [
    { kind: 'nginx', ...fast, dir: join(own, 'nginx') },
    { kind: 'haproxy', ...fast, file: join(own, 'haproxy.keys'), socket: haproxy },
    { kind: 'nghttpx', ...fast, dir: join(own, 'nghttpx') },
    { kind: 'stunnel', ...fast, dir: join(own, 'stunnel') },
    { kind: 'apache', ...fast, file: join(own, 'apache.key'), insecure: true },
    { kind: 'envoy', ...fast, file: join(own, 'envoy.yaml') },
    { kind: 'file', ...fast, name: 'raw', file: join(own, 'fast.raw'), probe },
    { kind: 'file', ...fast, name: 'base64', file: join(own, 'fast.base64'), format: 'base64' },
    { kind: 'file', ...fast, name: 'json', file: join(own, 'fast.json'), format: 'json' },
    { ...secret, name: 'cilium', secret: 'cilium', api: https, credentials },
    { ...secret, name: 'generic', secret: 'generic', format: 'generic', api: http },
    { kind: 'lighttpd', ...slow, file: join(own, 'lighttpd.stek') },
    { kind: 'caddy', ...slow, file: join(own, 'caddy', 'stek.bin'), poll: '2s' },
    { kind: 'h2o', ...slow, file: join(own, 'h2o.yaml') },
    { kind: 'file', ...slow, name: 'slow-json', file: join(own, 'slow.json'), format: 'json' },
  ]
}
