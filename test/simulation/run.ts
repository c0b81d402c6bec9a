// One run: carries out a plan on a cluster, lets it come to rest and checks it.

import { messageOf } from '../../src/base/errors.ts'
import { Attacker } from './attacker.ts'
import { checkMoment, checkRest, checkVisible } from './checks.ts'
import { Cluster, PORT } from './cluster.ts'
import type { Coverage } from './coverage.ts'
import { isFault } from './fault-kinds.ts'
import { Faults } from './faults.ts'
import type { JournalLine } from './journal.ts'
import type { Action, Plan } from './plan.ts'
import { makeCall } from './terminators.ts'
import { Violation } from './world.ts'

/** Time between two looks at all bounds and counters. */
const LOOK_MS = 1000
/**
 * Time beside two intervals of comparison until a cluster is at rest: nodes that were killed start, files of keys are
 * read, and silent peers are heard again.
 */
const RECOVERY_MS = 15_000
/** Longest time until a change is known everywhere while nothing is wrong, and while a fifth of all datagrams is lost. */
const CALM_MS = 2000
const LOSSY_MS = 6000
/** Puts that each node makes under loss. */
const BURST = 12
const STOP_MS = 20_000

export interface Outcome {
  /** The first rule that did not hold; undefined when all did. */
  readonly violation: string | undefined
  /** Where it was found, for a failure that is no Violation. */
  readonly stack: string | undefined
  readonly hash: string
  readonly lines: readonly JournalLine[]
  readonly simulatedMs: number
  readonly nodeMs: number
  readonly events: number
  readonly datagrams: number
  readonly visibleMs: readonly number[]
  readonly coverage: Coverage
}

/** Runs a plan to its end, or to the first rule that does not hold. It must be called within `inMacrotask`. */
export function run(plan: Plan, isKeepingLines = false): Outcome {
  const cluster = new Cluster(plan, isKeepingLines)
  const { world, model } = cluster
  const { timeline, journal } = world
  let violation: string | undefined
  let stack: string | undefined
  const fail = (error: unknown) => {
    violation ??= messageOf(error)
    if (!(error instanceof Violation) && error instanceof Error) stack ??= error.stack
  }
  // What a promise rejects with and nobody takes is a failure, too.
  process.on('unhandledRejection', fail)
  try {
    const attacker = new Attacker(
      world,
      () => cluster.hosts.map(({ ip }) => ({ host: ip, port: PORT })),
      (forMs) => {
        // What was held on its way to a repeater may be held again on its way from there.
        const longestMs = plan.topology === 'repeater' ? 2 * forMs : forMs
        model.longestHoldMs = Math.max(model.longestHoldMs, longestMs)
      },
    )
    const faults = new Faults(cluster, attacker)
    cluster.start()
    if (!plan.actions.some(isFault)) expectVisible(cluster, CALM_MS)
    const look = () => {
      cluster.nodeMs += LOOK_MS * cluster.members.filter(({ running }) => running).length
      checkMoment(cluster)
      timeline.in(LOOK_MS, look)
    }
    timeline.in(LOOK_MS, look)
    timeline.onStep = () => {
      if (violation !== undefined || world.violation !== undefined)
        throw new Violation(violation ?? world.violation ?? '')
    }
    for (const action of plan.actions) timeline.at(action.atMs, () => act(action, cluster, faults))
    timeline.runUntil(plan.durationMs)
    heal(cluster)
    timeline.runUntil(plan.durationMs + 2000 * plan.digestIntervalSec + RECOVERY_MS)
    checkRest(cluster)
    goOnUnderLoss(cluster, faults)
    for (const member of cluster.members) cluster.down(member)
    cluster.killRepeater()
    timeline.runUntil(timeline.nowMs + STOP_MS)
  } catch (error) {
    fail(error)
  } finally {
    process.removeListener('unhandledRejection', fail)
  }
  if (violation !== undefined) journal.note('', `FAILED: ${violation}`)
  return {
    violation,
    stack,
    hash: journal.hash,
    lines: journal.lines,
    simulatedMs: timeline.nowMs,
    nodeMs: cluster.nodeMs,
    events: timeline.eventCount,
    datagrams: world.network.sentCount,
    visibleMs: cluster.visibleMs,
    coverage: cluster.coverage,
  }
}

/** Demands from now on that each change is known on every other node after this time. */
function expectVisible(cluster: Cluster, withinMs: number): void {
  const { model, world } = cluster
  model.onMade = (process, change) => {
    const atMs = world.timeline.nowMs
    world.timeline.in(withinMs, () => checkVisible(cluster, process, change, atMs))
  }
}

/** A cluster at rest loses a fifth of all datagrams, and every change arrives nevertheless within seconds. */
function goOnUnderLoss(cluster: Cluster, faults: Faults): void {
  const { timeline } = cluster.world
  expectVisible(cluster, LOSSY_MS)
  const loss = { loss: 0.2 }
  cluster.world.network.rules.add(loss)
  for (const member of cluster.members) faults.burst(member, BURST)
  timeline.runUntil(timeline.nowMs + LOSSY_MS + 1)
  cluster.world.network.rules.delete(loss)
  cluster.model.onMade = () => {}
}

function act(action: Action, cluster: Cluster, faults: Faults): void {
  const { journal, timeline } = cluster.world
  if (isFault(action)) {
    const { kind, hosts, amount, forMs } = action
    const where = hosts.map((number) => `node-${number}`).join(', ')
    journal.note('', `fault ${kind} (${Number(amount.toPrecision(3))}) at ${where} begins`)
    const end = faults.begin(action)
    timeline.in(forMs, () => {
      journal.note('', `fault ${kind} at ${where} ends`)
      end()
    })
    return
  }
  const member = cluster.members[action.node]
  if (member === undefined) return
  const answer = makeCall(action, member)
  if (answer === undefined) return
  journal.note(member.name, `${action.kind} cache ${action.cache} id ${action.id}: ${answer}`)
}

/** Ends everything that may still go on, and starts what does not run. */
function heal(cluster: Cluster): void {
  const { world, hosts, members } = cluster
  world.journal.note('', 'all faults are over')
  world.network.rules.clear()
  for (const host of hosts) host.writeKeys(cluster.keysText())
  cluster.startRepeater()
  for (const member of members) cluster.up(member)
}
