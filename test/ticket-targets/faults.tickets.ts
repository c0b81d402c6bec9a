// Two nodes with nginx and HAProxy, from an empty file system: one node is killed and comes back with a clock that is an
// hour off, files are cut and given away, a file system is full when a new key comes, and a socket hangs. No ticket is
// lost, after the end of its key a ticket is a full handshake, and no terminator is started again.
//
// What is out of order here is so for less than half of `wait`: retries take as long as the fault took.

import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdtempSync, rmSync, statSync, truncateSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemRandom } from '../../src/base/world.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import { freePorts } from '../support/free-ports.ts'
import { until } from '../support/latch.ts'
import { whyWithout, whyWithoutRoot } from '../support/programs.ts'
import { clockEnvironment } from '../support/wrong-clock.ts'
import { clientsOf, Host, NODE_UID, PATIENCE_MS, untilAgreed } from './hosts.ts'

const HOUR_MS = 3_600_000
const AWAY_MS = 10_000
/** The file system is full from this long before a key is made until this long after the other host was given it. */
const BEFORE_KEY_MS = 2000
const FULL_MS = 2000

const skip = whyWithoutRoot() || whyWithout('faketime')

describe('faults', { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-faults-'))
  const hosts: Host[] = []
  const hanging = createServer((connection) => connection.on('error', () => {}))

  before(async () => {
    chmodSync(folder, 0o755)
    const key = `${generateKey(systemRandom)}\n`
    const ports = await freePorts(6)
    const [listenA = 0, listenB = 0, nginxA = 0, nginxB = 0, haproxyA = 0, haproxyB = 0] = ports
    const [addressA, addressB] = [`127.0.0.1:${listenA}`, `127.0.0.1:${listenB}`]
    const spawnNode = (program: string, args: readonly string[], env: NodeJS.ProcessEnv) =>
      spawn(program, args, {
        ...{ uid: NODE_UID, gid: NODE_UID, cwd: '/', env },
        stdio: ['ignore', 'ignore', 'inherit'],
      })
    hosts.push(
      new Host({
        ...{ name: 'a', folder, ports: [nginxA, haproxyA], spawn: spawnNode },
        replication: { listen: addressA, peer: addressB, key },
        targets: (memory) => [hangingHaproxy(memory)],
      }),
      new Host({
        ...{ name: 'b', folder, ports: [nginxB, haproxyB], spawn: spawnNode },
        replication: { listen: addressB, peer: addressA, key },
      }),
    )
  })

  after(async () => {
    await Promise.all(hosts.map((host) => host.stop()))
    hanging.close()
    rmSync(folder, { recursive: true, force: true })
  })

  /** A target whose socket takes connections and says nothing. */
  function hangingHaproxy(memory: string): object {
    const socket = join(memory, 'hanging.sock')
    hanging.listen(socket, () => chmodSync(socket, 0o666))
    const file = join(memory, 'node/hanging')
    return { kind: 'haproxy', group: 'www', name: 'hanging', file, socket }
  }

  test('lose no ticket', async () => {
    const [a, b] = hosts
    assert.ok(a !== undefined && b !== undefined)
    await a.startNode()
    await b.startNode()
    for (const host of hosts) await host.startTerminators()
    await untilAgreed(a, b, 1)
    const clients = clientsOf([a, b], 'faults')
    let isOver = false
    const coming = Promise.all(clients.map((one) => one.run(() => isOver)))

    await b.killNode()
    const cut = join(a.memory, 'node/www.haproxy')
    truncateSync(cut, 100)
    const [given = ''] = a.keyFiles()
    chownSync(given, 0, 0)
    await sleep(AWAY_MS)
    await b.startNode(clockEnvironment(HOUR_MS))
    const isMended = () => statSync(cut).size > 300 && statSync(given).uid === NODE_UID
    await until('the files are as they should be', isMended, PATIENCE_MS)

    // Known by the same answers: one of the next would have the key that is coming on a busy machine.
    let known: readonly string[] = []
    const isKeyComing = async () => {
      const [one, two] = await Promise.all([a.group(), b.group()])
      known = [...one.keys, ...two.keys].map(({ name }) => name)
      const nextMs = Math.min(one.next_key_ms, two.next_key_ms)
      return nextMs < BEFORE_KEY_MS && nextMs > BEFORE_KEY_MS / 4
    }
    await until('a new key is coming', isKeyComing, PATIENCE_MS)
    const filler = join(a.memory, 'filler')
    spawnSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4k'], { stdio: 'ignore' })
    const newKeys = () => b.givenNames().filter((name) => !known.includes(name))
    await until('nginx of b has a new key', () => newKeys().length > 0, PATIENCE_MS)
    await sleep(FULL_MS)
    const isOnA = newKeys().some((name) => a.givenNames().includes(name))
    rmSync(filler)
    assert.equal(isOnA, false)
    const isEnded = () => clients.every(({ tally }) => tally.refused > 0)
    await until('the tickets of a key that ended are full handshakes', isEnded, PATIENCE_MS)

    isOver = true
    await coming
    for (const { tally } of clients) {
      assert.deepEqual(tally.faults, [])
      assert.ok(tally.resumed > 100)
    }
    for (const { nginx, haproxy } of hosts) assert.ok(nginx.isRunning && haproxy.isRunning)
    const [ofA, ofB] = [await a.group(), await b.group()]
    const problems = [...ofA.targets, ...ofB.targets].flatMap(({ name, problem }) =>
      problem === null ? [] : [`${name} ${problem.reason}`],
    )
    assert.deepEqual(problems, ['hanging refused'])
    const nginxOfA = ofA.targets.find(({ name }) => name === 'www-nginx')
    assert.ok((nginxOfA?.failures['space'] ?? 0) > 0)
  })
})
