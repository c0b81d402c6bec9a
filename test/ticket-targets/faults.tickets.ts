// Two nodes as processes of a user without privileges, with nginx behind the root unit and HAProxy behind its socket:
// from an empty file system, through a killed node, a full one, cut files and a socket that hangs, no ticket is lost and
// no terminator is started again.

import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  watch,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { systemRandom } from '../../src/base/world.ts'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import { freePorts } from '../support/free-ports.ts'
import { until } from '../support/latch.ts'
import { type NodeProcess, startServe, stopProcess } from '../support/node-processes.ts'
import { whyWithoutRoot } from '../support/programs.ts'
import { seededNumbers } from '../support/seeded-random.ts'
import { ReturningClients } from './clients.ts'
import { TERMINATORS, Terminator } from './terminators.ts'

const ROOT_UNIT = fileURLToPath(new URL('../../deploy/systemd/tlscached-tickets', import.meta.url))
/** www-data of Debian, the user of the service. */
const NODE_UID = 33
const SECOND_MS = 1000
const TIMES = { rotate: '40s', lifetime: '40s', wait: '20s' }
const LIFETIME_MS = 40 * SECOND_MS
/** How long the file system stays full after there is a new key, and how long clients come after it is in use. */
const FULL_MS = 5 * SECOND_MS
const AFTER_MS = 10 * SECOND_MS
const AWAY_MS = 10 * SECOND_MS
/** For what takes an interval or a look at the files, on a busy machine. */
const PATIENCE_MS = 120 * SECOND_MS

describe('faults', { skip: whyWithoutRoot() }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-faults-'))
  const hosts: Host[] = []
  const stops: (() => unknown)[] = []

  interface Host {
    readonly folder: string
    readonly memory: string
    readonly nginx: Terminator
    readonly haproxy: Terminator
    readonly start: () => Promise<void>
    node: NodeProcess | undefined
  }

  before(async () => {
    chmodSync(folder, 0o755)
    const both = DEMO_CERTIFICATE.cert + DEMO_CERTIFICATE.key
    for (const host of ['a', 'b']) {
      mkdirSync(join(folder, host))
      writeFileSync(join(folder, host, 'both.pem'), both)
      writeFileSync(join(folder, host, 'cert.pem'), DEMO_CERTIFICATE.cert)
      writeFileSync(join(folder, host, 'key.pem'), DEMO_CERTIFICATE.key)
    }
    const key = `${generateKey(systemRandom)}\n`
    const ports = await freePorts(6)
    const [a = 0, b = 0] = ports
    hosts.push(createHost('a', key, a, b, ports.slice(2, 4)))
    hosts.push(createHost('b', key, b, a, ports.slice(4, 6)))
  })

  after(async () => {
    for (const { nginx, haproxy, node } of hosts) {
      await Promise.all([nginx.stop(), haproxy.stop(), node && stopProcess(node.child)])
    }
    for (const stop of stops) stop()
    for (const { memory } of hosts) spawnSync('umount', ['-l', memory])
    rmSync(folder, { recursive: true, force: true })
  })

  function createHost(
    name: string,
    key: string,
    listen: number,
    peer: number,
    [nginxPort = 0, haproxyPort = 0]: readonly number[],
  ): Host {
    const own = join(folder, name)
    const memory = join(own, 'run')
    mkdirSync(memory)
    const options = ['-o', 'size=512k,mode=755', 'tmpfs', memory]
    assert.equal(spawnSync('mount', ['-t', 'tmpfs', ...options]).status, 0)
    writeFileSync(join(own, 'keys'), key, { mode: 0o600 })
    // What the node writes, and what the root unit makes of it for nginx.
    for (const inner of ['node', 'node/nginx', 'root']) mkdirSync(join(memory, inner))
    for (const path of ['', 'keys', 'run/node', 'run/node/nginx'])
      chownSync(join(own, path), NODE_UID, NODE_UID)
    const place = { tickets: join(memory, 'root'), backendPort: 9 }
    const find = (kind: string) => {
      const found = TERMINATORS.find((one) => one.name === kind)
      assert.ok(found !== undefined && found.skip === false, kind)
      return found
    }
    const nginx = new Terminator(find('nginx'), {
      ...place,
      folder: join(own, 'nginx'),
      port: nginxPort,
    })
    const haproxy = new Terminator(find('haproxy'), {
      tickets: join(memory, 'node'),
      backendPort: 9,
      folder: join(own, 'haproxy'),
      port: haproxyPort,
    })
    const { check, reload } = nginx.target('www') as { check: string[]; reload: string[] }
    pathUnit(join(memory, 'node/nginx'), join(memory, 'root/www'), check, reload)
    const targets = [
      { kind: 'nginx', group: 'www', dir: join(memory, 'node/nginx') },
      { ...haproxy.target('www'), name: 'haproxy' },
      ...(name === 'a' ? [hangingHaproxy(memory)] : []),
    ]
    const host: Host = {
      ...{ folder: own, memory, nginx, haproxy },
      node: undefined,
      async start() {
        const config = {
          node: { name },
          replication: {
            listen: `127.0.0.1:${listen}`,
            peers: [`127.0.0.1:${peer}`],
            keys_file: join(own, 'keys'),
          },
          tickets: { groups: [{ name: 'www', ...TIMES }], targets },
        }
        host.node = await startServe(own, config, (args) =>
          spawn(process.execPath, args, {
            uid: NODE_UID,
            gid: NODE_UID,
            cwd: '/',
            stdio: ['ignore', 'ignore', 'inherit'],
          }),
        )
      },
    }
    return host
  }

  /** A target whose socket takes connections and says nothing. */
  function hangingHaproxy(memory: string): object {
    const socket = join(memory, 'hanging.sock')
    const server = createServer((connection) => connection.on('error', () => {})).listen(socket)
    server.on('listening', () => chmodSync(socket, 0o666))
    stops.push(() => server.close())
    const file = join(memory, 'node/hanging')
    return { kind: 'haproxy', group: 'www', name: 'hanging', file, socket }
  }

  /** What the path unit does: starts the root unit each time when the node has renamed a file to that name. */
  function pathUnit(from: string, to: string, check: string[], reload: string[]): void {
    let running = false
    let isAgain = false
    const run = () => {
      isAgain = running
      if (running) return
      running = true
      const args = ['nginx', from, to, 'root:root', check.join(' '), reload.join(' ')]
      spawn(ROOT_UNIT, args, { stdio: 'ignore' }).on('exit', () => {
        running = false
        if (isAgain) run()
      })
    }
    const watcher = watch(from, (_, name) => {
      if (name === 'tickets.conf') run()
    })
    stops.push(() => watcher.close())
  }

  const keysOf = ({ memory }: Host) =>
    readdirSync(join(memory, 'node/nginx')).filter((one) => one.endsWith('.key'))

  test('lose no ticket', async () => {
    const [a, b] = hosts
    assert.ok(a !== undefined && b !== undefined)
    // One after the other, so that the second node takes the key of the first one.
    await a.start()
    await b.start()
    // Ready: everything that a terminator needs to start is there.
    for (const { memory, nginx, haproxy } of hosts) {
      assert.ok(existsSync(join(memory, 'node/nginx/tickets.conf')))
      assert.equal(statSync(join(memory, 'node/www.haproxy')).uid, NODE_UID)
      await until('the root unit has run', () => existsSync(join(memory, 'root/www/tickets.conf')))
      await Promise.all([nginx.start(), haproxy.start()])
    }
    await until('HAProxy lets the node in', () => existsSync(join(a.folder, 'haproxy/admin.sock')))
    const clients = (['nginx', 'haproxy'] as const).map(
      (kind) =>
        new ReturningClients({
          pair: [a[kind], b[kind]],
          lifetimeMs: LIFETIME_MS,
          goneMs: Number.POSITIVE_INFINITY,
          agreed: () => undefined,
          random: seededNumbers(kind),
        }),
    )
    let isOver = false
    const coming = Promise.all(clients.map((one) => one.run(() => isOver)))

    b.node?.child.kill('SIGKILL')
    const cut = join(a.memory, 'node/www.haproxy')
    truncateSync(cut, 100)
    const given = join(a.memory, 'node/nginx', keysOf(a)[0] ?? '')
    chownSync(given, 0, 0)
    await sleep(AWAY_MS)
    await b.start()
    const isMended = () => statSync(cut).size > 300 && statSync(given).uid === NODE_UID
    await until('the files are as they should be', isMended, PATIENCE_MS)
    const filler = join(a.memory, 'filler')
    spawnSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4k'], { stdio: 'ignore' })
    const [known, used] = [[...keysOf(a), ...keysOf(b)], clients.map(({ keyCount }) => keyCount)]
    const newKeys = () => keysOf(b).filter((one) => !known.includes(one))
    await until('there is a new key', () => newKeys().length > 0, PATIENCE_MS)
    await sleep(FULL_MS)
    assert.ok(newKeys().every((one) => !keysOf(a).includes(one)))
    rmSync(filler)
    const isInUse = () => clients.every(({ keyCount }, index) => keyCount > (used[index] ?? 0))
    await until('the new key is in use', isInUse, PATIENCE_MS)
    await sleep(AFTER_MS)
    isOver = true
    await coming
    for (const { tally } of clients) {
      assert.deepEqual(tally.faults, [])
      assert.ok(tally.resumed > 100)
    }
    for (const { nginx, haproxy } of hosts) assert.ok(nginx.isRunning && haproxy.isRunning)
  })
})
