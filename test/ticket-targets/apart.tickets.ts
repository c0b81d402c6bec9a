// Two nodes with nginx and HAProxy on hosts of their own: the network between the nodes is cut for two intervals, in which
// one of them is killed and started again alone; later that one is suspended. Clients reach the terminators of both all
// the time.
//
// What is promised: a ticket resumes on both wherever both nodes knew its key before the cut. Under a key that was made
// during the cut it resumes on the other side as soon as that has heard of the key and reloaded. HAProxy holds three keys:
// after such a cut it may not open tickets of the other side until they have ended. A node that is suspended for less than
// half of `wait` costs nothing.

import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemRandom } from '../../src/base/world.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import { freePorts } from '../support/free-ports.ts'
import { until } from '../support/latch.ts'
import { NetworkNamespaces, whyNoNamespaces } from '../support/network-namespaces.ts'
import { whyWithout, whyWithoutRoot } from '../support/programs.ts'
import {
  clientsOf,
  Host,
  LIFETIME_MS,
  NODE_UID,
  PATIENCE_MS,
  ROTATE_MS,
  untilAgreed,
  WAIT_MS,
} from './hosts.ts'

const REPLICATION_PORT = 7171
/** After the cut: a greeting, a swap, and a reload that has to wait for the one before it. */
const HEALED_MS = 12_000
const SUSPENDED_MS = WAIT_MS / 2
/** The node is suspended so long before the other one makes a key. */
const BEFORE_KEY_MS = 1000

const skip = whyWithoutRoot() || whyNoNamespaces() || whyWithout('setpriv')

describe('nodes that do not reach each other', { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-apart-'))
  const hosts: Host[] = []
  let network: NetworkNamespaces

  before(async () => {
    chmodSync(folder, 0o755)
    network = new NetworkNamespaces('tlsf', 2)
    const key = `${generateKey(systemRandom)}\n`
    const ports = await freePorts(4)
    for (const [index, place] of network.hosts.entries()) {
      const other = network.hosts[1 - index]
      hosts.push(
        new Host({
          name: place.name,
          folder,
          ports: [ports[2 * index] ?? 0, ports[2 * index + 1] ?? 0],
          replication: {
            listen: `${place.address}:${REPLICATION_PORT}`,
            peer: `${other?.address}:${REPLICATION_PORT}`,
            key,
          },
          // Both replace themselves by the program, so that its ID is that of the child.
          spawn(program, args, env) {
            const user = ['--reuid', `${NODE_UID}`, '--regid', `${NODE_UID}`, '--clear-groups']
            return network.spawn(place.name, 'setpriv', [...user, program, ...args], {
              ...{ cwd: '/', env },
              stdio: ['ignore', 'ignore', 'inherit'],
            })
          },
        }),
      )
    }
  })

  after(async () => {
    await Promise.all(hosts.map((host) => host.stop()))
    network.remove()
    rmSync(folder, { recursive: true, force: true })
  })

  test('open what both knew, and everything when they meet again', async () => {
    const [a, b] = hosts
    assert.ok(a !== undefined && b !== undefined)
    const [, hostOfB] = network.hosts
    assert.ok(hostOfB !== undefined)
    await a.startNode()
    await b.startNode()
    for (const host of hosts) await host.startTerminators()
    await untilAgreed(a, b, 1)

    /** Keys that both nodes knew before the cut, and all that there were when it ended. */
    let common: readonly string[] | undefined
    let atEnd: readonly string[] = []
    let healedMs = Number.POSITIVE_INFINITY
    const isApart = (name: string) => common !== undefined && !common.includes(name)
    const isExcused = {
      nginx(name: string) {
        const isOfCut = healedMs === Number.POSITIVE_INFINITY || atEnd.includes(name)
        return isApart(name) && isOfCut && performance.now() < healedMs + HEALED_MS
      },
      haproxy(name: string) {
        const isHealed = performance.now() > healedMs
        return (isHealed || isApart(name)) && performance.now() < healedMs + HEALED_MS + LIFETIME_MS
      },
    }
    const clients = clientsOf([a, b], 'apart', isExcused)
    let isOver = false
    const coming = Promise.all(clients.map((one) => one.run(() => isOver)))

    const namesOfBoth = async () => [await a.keyNames(), await b.keyNames()] as const
    await untilAgreed(a, b, (await a.keyNames()).length + 1)
    common = await a.keyNames()
    network.cut([hostOfB.name])
    await b.killNode()
    await b.startNode()
    // It found nobody, and goes on with what it had.
    assert.deepEqual([...(await b.keyNames())].sort(), [...common].sort())
    const mintApart = async () => {
      const groups = await Promise.all([a.group(), b.group()])
      const minted = groups.map(({ keys }) => keys.find(({ state }) => state === 'current')?.name)
      return minted.every((name) => name !== undefined && isApart(name))
    }
    const cutMs = performance.now()
    await until('both mint keys of their own', mintApart, PATIENCE_MS)
    await sleep(Math.max(ROTATE_MS / 4, cutMs + 2 * ROTATE_MS - performance.now()))
    const [ofA, ofB] = await namesOfBoth()
    assert.ok(ofA.some((name) => !ofB.includes(name)))
    atEnd = [...ofA, ...ofB]
    network.heal()
    healedMs = performance.now()
    await untilAgreed(a, b, 3)

    const isKeyComing = async () => {
      const { next_key_ms: ms } = await a.group()
      return ms < BEFORE_KEY_MS && performance.now() > healedMs + HEALED_MS
    }
    await until('a makes a key soon', isKeyComing, PATIENCE_MS)
    b.signal('SIGSTOP')
    await sleep(SUSPENDED_MS)
    b.signal('SIGCONT')

    const isEnded = () => clients.every(({ tally }) => tally.refused > 0)
    await until('the tickets of a key that ended are full handshakes', isEnded, PATIENCE_MS)
    isOver = true
    await coming
    for (const { tally } of clients) {
      assert.deepEqual(tally.faults, [])
      assert.ok(tally.resumed > 100)
      assert.ok(tally.excused > 0, 'no ticket of the other side was offered')
    }
    for (const { nginx, haproxy } of hosts) assert.ok(nginx.isRunning && haproxy.isRunning)
  })
})
