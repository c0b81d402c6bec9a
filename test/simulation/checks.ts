// What must hold of a cluster: at every moment, and at rest, when the last fault is over and two intervals of comparison
// have passed.

import { type Change, compareVersions } from '../../src/store/versions.ts'
import type { Cluster, Member, Running } from './cluster.ts'
import type { SimulatedProcess } from './host.ts'
import { hexOf } from './model.ts'
import { CACHE_NAMES } from './plan.ts'
import { checkRingsAgree } from './rings.ts'
import { checkCounters } from './terminators.ts'
import { Violation } from './world.ts'

const MAX_PEERS = 200
/** A node that hears nothing for so long does not say that it replicates. */
const ISOLATED_MS = 13_000
/** Timers of a node that is idle: those of its parts, and one for each connection. */
const MAX_TIMERS_AT_REST = 60
/** Nodes know each other this long after they started. */
const ACQUAINTED_MS = 5000
/** Entries with less lifetime left may be here and not there: it passes while they travel. */
const NEARLY_OVER_MS = 50_000

/** Checks the bounds of every table and the counters of every node; called once a simulated second. */
export function checkMoment(cluster: Cluster): void {
  const sent = cluster.everyone.reduce(
    (sum, { node }) => sum + (node.replicationStats()?.entriesSent ?? 0),
    0,
  )
  const { nowMs } = cluster.world.timeline
  // Clones number different changes alike, so what one of them sent may be taken again after the other one.
  const hasClones = nowMs >= cluster.clonesFromMs
  const mayBeForeign = nowMs >= cluster.foreignFromMs
  for (const member of cluster.members) {
    const running = member.live
    if (running === undefined) continue
    for (const model of running.models.values()) model.lookForRoom()
    checkBounds(member, running)
    checkIsolation(cluster, member, running)
    checkJoin(cluster, member, running)
    const { entriesReceived = 0, entriesSent = 0, dropped } = running.node.replicationStats() ?? {}
    if (!hasClones && entriesReceived > sent - entriesSent) {
      const most = `${entriesReceived} changes of others, who sent ${sent - entriesSent}`
      throw new Violation(`${member.name} received ${most}`)
    }
    if (!mayBeForeign && dropped !== undefined && dropped.unauthenticated > 0)
      throw new Violation(`${member.name} dropped a datagram of the cluster as unauthenticated`)
    checkCounters(member, running)
    cluster.rings.look(member, running, nowMs, hasClones)
  }
}

function checkBounds(member: Member, { models, node }: Running): void {
  for (const [cache, { store }] of models) {
    const { items, tombstones, storedBytes } = store.stats
    const { limits } = store
    if (limits.full === 'refuse' && store.stats.evicted > 0)
      throw new Violation(`${member.name} ${cache} evicted a session, though it has to refuse`)
    const isWithin =
      items <= limits.items && tombstones <= limits.items && storedBytes <= items * limits.blocksize
    if (!isWithin) {
      const has = `${items} sessions, ${tombstones} removals, ${storedBytes} bytes`
      throw new Violation(`${member.name} ${cache} holds ${has}: more than its limits`)
    }
  }
  const peers = node.peers().length
  if (peers > MAX_PEERS) throw new Violation(`${member.name} has ${peers} peers`)
}

/** A node that is cut off does not say that it is ready in the strict sense. */
function checkIsolation({ world }: Cluster, member: Member, { process, node }: Running): void {
  if (world.timeline.nowMs - process.heardMs < ISOLATED_MS) return
  const { isStrictlyReady, reason } = node.readiness()
  if (isStrictlyReady) throw new Violation(`${member.name} is cut off and says: ${reason}`)
}

/** A node whose join is over has all that the peers had that it copied or compared itself with. */
function checkJoin(cluster: Cluster, member: Member, running: Running): void {
  if (running.isJoined || running.node.syncStatus()?.state !== 'synced') return
  running.isJoined = true
  for (const { name, sync } of running.node.peers()) {
    if (sync?.state === 'synced') checkCopied(cluster, member, running, name)
  }
}

function checkCopied(cluster: Cluster, member: Member, running: Running, peer: string): void {
  const copied = cluster.members.find(({ name }) => name === peer)?.live
  if (copied === undefined) return
  // Another machine or boot of the same name may be the one that was copied.
  const hasNamesake = cluster.everyone.some(
    ({ process }) =>
      process.name === peer && process !== copied.process && process.endedMs >= running.startedMs,
  )
  if (hasNamesake) return
  for (const [cache, model] of running.models) {
    const other = copied.models.get(cache)
    const isAlike = JSON.stringify(other?.store.limits) === JSON.stringify(model.store.limits)
    if (other === undefined || !isAlike || !other.isWhole || !model.isWhole) continue
    // A node whose cache is full copies nothing, and it may have got room since.
    if (model.lastFullMs >= running.startedMs) continue
    const nowMs = copied.process.clock.monotonicMs()
    for (const [id, known] of other.known) {
      const isOld =
        known.takenAtMs < running.startedMs && known.expiresAtMs > nowMs + NEARLY_OVER_MS
      const own = model.known.get(id)
      if (!isOld || (own !== undefined && compareVersions(own.version, known.version) >= 0))
        continue
      const what = `${known.kind} of ${cache} ${id}`
      throw new Violation(`${member.name} has joined and lacks the ${what} of ${peer}`)
    }
  }
}

/** A change that was made while nothing was wrong is known on all nodes that run since before. */
export function checkVisible(
  cluster: Cluster,
  maker: SimulatedProcess,
  change: Change,
  atMs: number,
): void {
  for (const member of cluster.members) {
    const running = member.live
    if (running === undefined || running.process === maker) continue
    if (atMs - running.startedMs < ACQUAINTED_MS) continue
    const model = running.models.get(change.cache)
    const own = model?.known.get(hexOf(change.id))
    if (own !== undefined && compareVersions(own.version, change.version) >= 0) continue
    if (model === undefined || model.refusedCount > 0) continue
    const what = `${change.kind} of ${change.cache} ${hexOf(change.id)}`
    const tookMs = Math.round(cluster.world.timeline.nowMs - atMs)
    throw new Violation(
      `${member.name} does not know the ${what} of ${maker.name} after ${tookMs} ms`,
    )
  }
}

/** Checks what is only true at rest. */
export function checkRest(cluster: Cluster): void {
  const members = cluster.members.flatMap((member) => {
    const running = member.live
    if (running === undefined) throw new Violation(`${member.name} does not run at rest`)
    return [{ member, running }]
  })
  for (const cache of CACHE_NAMES) checkAgreement(cluster, cache, members)
  checkRingsAgree(members)
  for (const { member, running } of members) checkSight(member, running, members.length - 1)
}

type Present = readonly { readonly member: Member; readonly running: Running }[]

interface Entry {
  readonly version: { readonly clock: number; readonly origin: number }
  readonly isTombstone: boolean
  readonly leftMs: number
}

function entriesOf({ models }: Running, cache: string): Map<string, Entry> {
  const entries = new Map<string, Entry>()
  const store = models.get(cache)?.store
  if (store === undefined) return entries
  for (const slot of store.entries.slots()) {
    const change = store.entries.changeAt(slot)
    if (change === undefined) continue
    const { version, kind, ttlMs } = change
    entries.set(hexOf(change.id), { version, isTombstone: kind === 'remove', leftMs: ttlMs })
  }
  return entries
}

/** All nodes hold the same entries in the same versions, as far as their limits allow. */
function checkAgreement(cluster: Cluster, cache: string, present: Present): void {
  const all = present.map(({ member, running }) => ({
    member,
    entries: entriesOf(running, cache),
    limits: JSON.stringify(running.models.get(cache)?.store.limits),
    isWhole: running.models.get(cache)?.isWhole ?? false,
    lastFullMs: running.models.get(cache)?.lastFullMs ?? cluster.world.timeline.nowMs,
  }))
  // A cache that was full since the faults ended may lack what others hold, and two full ones compare only a part of
  // their buckets at a time.
  const { durationMs } = cluster.plan
  if (all.some(({ isWhole, lastFullMs }) => !isWhole || lastFullMs >= durationMs)) return
  // What is outside the limits of one node is only on the others.
  const isAlike = all.every(({ limits }) => limits === all[0]?.limits)
  const newest = new Map<string, Entry & { readonly where: string }>()
  for (const { member, entries } of all) {
    for (const [id, entry] of entries) {
      const known = newest.get(id)
      if (known === undefined || compareVersions(entry.version, known.version) > 0)
        newest.set(id, { ...entry, where: member.name })
    }
  }
  for (const [id, entry] of newest) {
    // Elsewhere it may have expired sooner, by as much as it was held back here.
    const heldBackMs = cluster.model.heldBackSince(cluster.model.madeAtMs(cache, id, entry.version))
    if (entry.leftMs < NEARLY_OVER_MS + heldBackMs) continue
    for (const { member, entries } of all) {
      const own = entries.get(id)
      if (own !== undefined && compareVersions(own.version, entry.version) === 0) continue
      if (own === undefined && !isAlike) continue
      const what = entry.isTombstone ? 'the removal' : 'session'
      const has = own === undefined ? 'nothing' : 'an older version'
      throw new Violation(
        `at rest ${entry.where} holds ${what} ${cache} ${id}, and ${member.name} holds ${has}`,
      )
    }
  }
}

/** What a node says of itself: it is ready, and every other node is its peer. */
function checkSight(member: Member, { node, process }: Running, others: number): void {
  const { pendingCount } = process.clock
  if (pendingCount > MAX_TIMERS_AT_REST)
    throw new Violation(`at rest ${member.name} has ${pendingCount} timers`)
  // One that listens, and with each other node at most one comparison and one swap of ticket keys in both directions.
  const connections = node.tickets === undefined ? 2 : 4
  if (process.sockets.size > 1 + connections * others)
    throw new Violation(`at rest ${member.name} has ${process.sockets.size} streams`)
  const { isStrictlyReady, reason } = node.readiness()
  if (!isStrictlyReady) throw new Violation(`at rest ${member.name} is not ready: ${reason}`)
  const up = new Set(
    node
      .peers()
      .filter(({ role, isUp, isVerified }) => role === 'node' && isUp && isVerified)
      .map(({ name }) => name),
  )
  if (up.size !== others) {
    const names = [...up].join(', ')
    throw new Violation(`at rest ${member.name} has ${up.size} peers of ${others}: ${names}`)
  }
}
