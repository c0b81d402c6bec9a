// Two terminators of each kind, each with its own node beside it: their keys rotate four times while clients come back at
// random to either. TICKET_TARGETS chooses kinds by their names; with `--all` those that hold one key rotate as often.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { formatTable } from '../../src/cli/stats.ts'
import { freePorts } from '../support/free-ports.ts'
import { whyWithoutRoot } from '../support/programs.ts'
import { seededNumbers } from '../support/seeded-random.ts'
import { ReturningClients } from './clients.ts'
import { FastClock, NodePair } from './node-pair.ts'
import {
  CHOSEN_TERMINATORS,
  silentBackend,
  Terminator,
  type TerminatorKind,
} from './terminators.ts'

const SECOND_MS = 1000
const kinds = CHOSEN_TERMINATORS

/** The kinds that are run by one pair of nodes, since they need the same time. */
interface Scenario {
  readonly title: string
  readonly kinds: readonly TerminatorKind[]
  readonly rotateMs: number
  readonly speed: number
  /** How many keys must come into use. */
  readonly keys: number
}

const isAll = process.argv.includes('--all')
const isPolling = ({ name }: TerminatorKind) => name === 'h2o' || name === 'caddy'

const scenarios: readonly Scenario[] = [
  {
    title: 'terminators that are given keys',
    kinds: kinds.filter((one) => one.speed === undefined && !isPolling(one) && one.keysHeld > 1),
    rotateMs: 16 * SECOND_MS,
    speed: 1,
    keys: 5,
  },
  {
    title: 'terminators that look for keys',
    kinds: kinds.filter(isPolling),
    rotateMs: 20 * SECOND_MS,
    speed: 1,
    keys: 5,
  },
  {
    // Faster still, a pause of this machine would be longer than the time that nodes have to hear of a key.
    title: 'lighttpd, six times as fast',
    kinds: kinds.filter(({ speed }) => speed === 6),
    rotateMs: 140 * SECOND_MS,
    speed: 6,
    keys: 5,
  },
  {
    // Each reload takes some seconds, in which tickets of one do not resume on the other.
    title: 'terminators that hold one key',
    kinds: kinds.filter(({ keysHeld }) => keysHeld === 1),
    rotateMs: 40 * SECOND_MS,
    speed: 1,
    keys: isAll ? 5 : 2,
  },
]

const rows: string[][] = []
const backend = silentBackend()
const folder = mkdtempSync(join(tmpdir(), 'tlscached-tickets-'))
// Terminators read their keys as users of their own.
chmodSync(folder, 0o755)
before(() => new Promise<void>((resolve) => backend.listen(0, '127.0.0.1', resolve)))
after(() => {
  backend.close()
  const head = [
    'terminator',
    'keys',
    'full',
    'resumed',
    'refused',
    'again',
    'in a row',
    'faults',
    'reloads',
    'current',
  ]
  process.stdout.write(`${formatTable(head, rows)}\n`)
  rmSync(folder, { recursive: true, force: true })
})

describe('ticket keys of real terminators', { concurrency: true, skip: whyWithoutRoot() }, () => {
  for (const scenario of scenarios) {
    if (scenario.kinds.length > 0) test(scenario.title, (t) => run(scenario, t))
  }
})

async function run(
  { title, kinds: all, rotateMs, speed, keys }: Scenario,
  t: { after(call: () => Promise<void>): void },
): Promise<void> {
  for (const { name, skip } of all) assert.equal(skip, false, name)
  const shared = join(folder, title.replaceAll(/\W+/g, '-'))
  const pairs = await placePairs(shared, all)
  t.after(async () => {
    await Promise.all(pairs.flatMap(({ members }) => members.map((one) => one.stop())))
    for (const { members } of pairs)
      for (const { place } of members) spawnSync('umount', ['-l', place.tickets])
  })
  const clock = new FastClock(speed)
  const nodes = new NodePair({
    clock,
    groups: all.map(({ name }) => ({ name, rotateMs })),
    targets: [
      pairs.map(({ members }) => members[0].target(members[0].kind.name)),
      pairs.map(({ members }) => members[1].target(members[1].kind.name)),
    ],
  })
  t.after(() => nodes.stop())
  for (const { kind, members } of pairs) {
    if (!kind.startsEmpty) continue
    await members[0].start()
    await members[0].stop()
  }
  await nodes.start()
  const faster = speed === 1 ? undefined : { speed, offsetSec: () => clock.offsetSec() }
  await Promise.all(pairs.flatMap(({ members }) => members.map((one) => one.start(faster))))
  // A first write came before the terminators; what needed them is tried again.
  await new Promise((resolve) => setTimeout(resolve, 12 * SECOND_MS))
  const endMs = performance.now() + ((keys + 1.4) * rotateMs) / speed
  const ends = await Promise.allSettled(
    pairs.map(async ({ kind, members }) => {
      const times = nodes.times.get(kind.name)
      assert.ok(times !== undefined)
      const clients = new ReturningClients({
        pair: members,
        lifetimeMs: times.lifetimeMs / speed,
        goneMs: (times.openMs - times.waitMs) / speed + 5 * SECOND_MS,
        agreed: () => nodes.agreed(kind.name),
        signerOf: (ticket) => nodes.signerOf(kind.name, ticket),
        random: seededNumbers(kind.name),
      })
      await clients.run(() => performance.now() > endMs)
      const { full, resumed, refused, again, mostAgain, faults } = clients.tally
      const reports = nodes.reports().map((list) => list.filter(({ group }) => group === kind.name))
      const [[a], [b]] = reports as [[Report], [Report]]
      rows.push([
        kind.name,
        ...[clients.keyCount, full, resumed, refused, again, mostAgain, faults.length].map(String),
        `${a.reloads}, ${b.reloads}`,
        `${a.isCurrent}, ${b.isCurrent}`,
      ])
      const said = members.map((one) => one.said()).join('\n')
      assert.equal(faults.length, 0, `${kind.name}: ${faults.slice(0, 10).join('\n')}\n${said}`)
      assert.ok(kind.closesPort || again === 0, `${kind.name}: ${again} connections were refused`)
      assert.ok(clients.keyCount >= keys, `${kind.name}: only ${clients.keyCount} keys were used`)
      assert.ok(resumed > 0, `${kind.name}: nothing resumed`)
      assert.ok(refused > 0, `${kind.name}: no ticket of a key that is gone was offered`)
      for (const report of [a, b]) {
        assert.equal(report.isCurrent, true, `${kind.name}: ${report.problem?.message}`)
        assert.equal(report.problem, undefined)
      }
      for (const member of members) assert.ok(member.isRunning)
    }),
  )
  const problems = ends.flatMap((end) => (end.status === 'rejected' ? [String(end.reason)] : []))
  assert.deepEqual(problems, [])
}

type Report = ReturnType<NodePair['reports']>[number][number]

interface PlacedPair {
  readonly kind: TerminatorKind
  readonly members: readonly [Terminator, Terminator]
}

/** Gives every terminator a folder, a port and a file system in memory of its own. */
async function placePairs(
  shared: string,
  all: readonly TerminatorKind[],
): Promise<readonly PlacedPair[]> {
  mkdirSync(shared, { recursive: true })
  writeFileSync(join(shared, 'cert.pem'), DEMO_CERTIFICATE.cert)
  writeFileSync(join(shared, 'key.pem'), DEMO_CERTIFICATE.key)
  writeFileSync(join(shared, 'both.pem'), DEMO_CERTIFICATE.cert + DEMO_CERTIFICATE.key)
  const { port: backendPort } = backend.address() as AddressInfo
  const ports = await freePorts(2 * all.length)
  return all.map((kind) => {
    const [a, b] = [0, 1].map((number) => {
      const own = join(shared, `${kind.name}-${number}`)
      const tickets = join(own, 'tickets')
      mkdirSync(tickets, { recursive: true })
      const mounted = spawnSync('mount', [
        '-t',
        'tmpfs',
        '-o',
        'size=256k,mode=755',
        'tmpfs',
        tickets,
      ])
      assert.equal(mounted.status, 0, mounted.stderr.toString())
      return new Terminator(kind, { folder: own, tickets, port: ports.pop() ?? 0, backendPort })
    }) as [Terminator, Terminator]
    return { kind, members: [a, b] }
  })
}
