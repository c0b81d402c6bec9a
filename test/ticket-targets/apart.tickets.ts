// Two nodes with terminators of all kinds on hosts of their own: the network between the nodes is cut for two intervals, in
// which one of them is killed and started again alone; later that one is suspended. Clients reach the terminators of both
// all the time. TICKET_TARGETS chooses kinds; lighttpd is left out as in faults.tickets.ts.
//
// What is promised: a ticket resumes on both wherever both nodes knew its key before the cut. Under a key that was made
// during the cut it resumes on the other side as soon as that has heard of the key and reloaded or looked. HAProxy holds
// three keys and nghttpx four: after such a cut they may not open tickets of the other side until they have ended. Those
// that hold one key open its tickets while both nodes mint it. A node that is suspended for less than half of `wait` costs
// nothing, except for Caddy, which makes tickets under a key of its own when the node is silent for three `poll`.

import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
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
import { HostPair, PATIENCE_MS } from './host-pair.ts'
import { Host, LONGEST_ROTATE_MS, NODE_UID, SHORTEST_WAIT_MS, timesOf } from './hosts.ts'
import { CHOSEN_TERMINATORS, silentBackend, type TerminatorKind } from './terminators.ts'

const REPLICATION_PORT = 7171
/** After the cut: a greeting, a swap, and a reload that has to wait for the one before it or a look of h2o. */
const HEALED_MS = 15_000
const SUSPENDED_MS = SHORTEST_WAIT_MS / 2
/** The node is suspended so long before the other one makes a key. */
const BEFORE_KEY_MS = 1000
/** A terminator that holds so many keys has them all. */
const ALL_KEYS = 8

const kinds = CHOSEN_TERMINATORS.filter(({ name }) => name !== 'lighttpd')
const skip = whyWithoutRoot() || whyNoNamespaces() || whyWithout('setpriv')

describe('nodes that do not reach each other', { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-apart-'))
  const backend = silentBackend()
  const hosts: Host[] = []
  let pair: HostPair | undefined
  let network: NetworkNamespaces

  before(async () => {
    chmodSync(folder, 0o755)
    network = new NetworkNamespaces('tlsf', 2)
    const key = `${generateKey(systemRandom)}\n`
    await new Promise<void>((resolve) => backend.listen(0, '127.0.0.1', resolve))
    const { port: backendPort } = backend.address() as AddressInfo
    const ports = await freePorts(2 * kinds.length)
    for (const [index, place] of network.hosts.entries()) {
      const other = network.hosts[1 - index]
      hosts.push(
        new Host({
          ...{ name: place.name, folder, kinds, backendPort },
          ports: ports.splice(0, kinds.length),
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
    await pair?.stop()
    if (pair !== undefined) process.stdout.write(`${pair.table()}\n`)
    backend.close()
    network.remove()
    rmSync(folder, { recursive: true, force: true })
  })

  test('open what both knew, and everything when they meet again', async () => {
    const [a, b] = hosts
    assert.ok(a !== undefined && b !== undefined)
    const [, hostOfB] = network.hosts
    assert.ok(hostOfB !== undefined)

    /** Keys that both nodes knew before the cut, and all that there were when it ended. */
    let common: readonly string[] | undefined
    let atEnd: readonly string[] = []
    let healedMs = Number.POSITIVE_INFINITY
    const isApart = (name: string) => common !== undefined && !common.includes(name)
    const byName = new Map(kinds.map((kind) => [kind.name, kind]))
    const isExcused = (kind: TerminatorKind, name: string) => {
      const nowMs = performance.now()
      if (kind.keysHeld < ALL_KEYS) {
        const lifetimeMs = 1000 * timesOf(kind).lifetimeSec
        const isHealed = nowMs > healedMs
        return (isHealed || isApart(name)) && nowMs < healedMs + HEALED_MS + lifetimeMs
      }
      const isOfCut = healedMs === Number.POSITIVE_INFINITY || atEnd.includes(name)
      return isApart(name) && isOfCut && nowMs < healedMs + HEALED_MS
    }
    const tested = new HostPair([a, b], 'apart', (name, keyName) => {
      if (name === 'caddy' && !tested.isKnown(keyName)) return true
      const kind = byName.get(name)
      return kind !== undefined && isExcused(kind, keyName)
    })
    pair = tested
    await tested.start()

    await tested.untilAgreed((await shortestRing(a)) + 1)
    common = await a.keyNames()
    tested.begin('apart, one restarted')
    network.cut([hostOfB.name])
    await b.killNode()
    await b.startNode()
    // It found nobody, and goes on with what it had.
    const ofRestarted = await b.keyNames()
    assert.ok(common.every((name) => ofRestarted.includes(name)))
    const mintApart = async () => {
      const groups = (await Promise.all([a.groups(), b.groups()])).flat()
      const minted = groups.map(({ keys }) => keys.find(({ state }) => state === 'current')?.name)
      return minted.every((name) => name !== undefined && isApart(name))
    }
    const cutMs = performance.now()
    await until('both mint keys of their own', mintApart, PATIENCE_MS)
    await sleep(Math.max(LONGEST_ROTATE_MS / 4, cutMs + 2 * LONGEST_ROTATE_MS - performance.now()))
    const [ofA, ofB] = [await a.keyNames(), await b.keyNames()]
    assert.ok(ofA.some((name) => !ofB.includes(name)))
    atEnd = [...ofA, ...ofB]
    network.heal()
    tested.begin('met again')
    healedMs = performance.now()
    await tested.untilAgreed(3)

    const isKeyComing = async () => {
      const [first] = await a.groups()
      const nextMs = first?.next_key_ms ?? Number.POSITIVE_INFINITY
      return nextMs < BEFORE_KEY_MS && performance.now() > healedMs + HEALED_MS
    }
    await until('a makes a key soon', isKeyComing, PATIENCE_MS)
    tested.begin('one is suspended')
    b.signal('SIGSTOP')
    await sleep(SUSPENDED_MS)
    b.signal('SIGCONT')
    tested.begin('mended')

    await tested.end()
    tested.check()
    for (const { name, keysHeld } of kinds) {
      if (keysHeld > 1) assert.ok(tested.excused(name) > 0, `${name}: no ticket of the other side`)
    }
  })
})

/** The least number of keys that a group of this host has. */
async function shortestRing(host: Host): Promise<number> {
  return Math.min(...(await host.groups()).map(({ keys }) => keys.length))
}
