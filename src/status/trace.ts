// Where a session is, on one node and on all: who made it and when, how long it lives, and, while it is followed, who
// asked for it with what result. The bytes of the session are in none of it.

import { z } from 'zod'
import { idPrefix } from '../base/bytes.ts'
import { type Clock, within } from '../base/world.ts'
import { Pacer } from '../replication/sync/stream.ts'
import { type Followed, isBegun, MAX_EVENTS } from '../store/followed.ts'
import type { SessionStore } from '../store/session-store.ts'
import { type Change, wallMsOf } from '../store/versions.ts'
import { originTextOf } from '../wire/identity.ts'
import { MAX_SUMMARY_BYTES } from '../wire/sync-message.ts'

/** The version of the protocol from which on a node answers. */
const TRACE_VERSION = 3
/** Shortest beginning of an ID: a shorter one would be that of many sessions. */
export const MIN_PREFIX_BYTES = 4
/** Entries that a node tells; the beginning of an ID may be that of several. */
const MAX_ENTRIES = 16
/** Slots walked between two looks at the clock. */
const SLOTS_PER_LOOK = 64
/** Peers that are asked; a cluster may have more. */
const MAX_PEERS = 64
/** Longest wait for peers. */
const LOOK_WAIT_MS = 2000
const MAX_TEXT = 255

const entrySchema = z.object({
  cache: z.string().max(MAX_TEXT),
  /** The beginning of the session ID, as in the log. */
  id: z.string().max(MAX_TEXT),
  state: z.enum(['session', 'removed']),
  ttl_ms: z.number(),
  /** By the clock of the node that made the change. */
  changed_at: z.string().max(MAX_TEXT),
  /** Boot that made the change: the first 12 hex digits of its boot ID. */
  origin: z.string().max(MAX_TEXT),
  context_hex: z.string().max(MAX_TEXT),
  server_name: z.string().max(MAX_TEXT),
  bytes: z.number(),
})
const eventSchema = z.object({
  /** Counts the events of a node since it follows this ID. */
  number: z.number(),
  age_ms: z.number(),
  cache: z.string().max(MAX_TEXT),
  what: z.string().max(MAX_TEXT),
  result: z.string().max(MAX_TEXT),
  by: z.string().max(MAX_TEXT),
  origin: z.string().max(MAX_TEXT).nullable(),
})
const traceSchema = z.object({
  node: z.string().max(MAX_TEXT),
  /** Origin of the changes that this node makes. */
  origin: z.string().max(MAX_TEXT),
  entries: z.array(entrySchema).max(MAX_ENTRIES),
  events: z.array(eventSchema).max(MAX_EVENTS),
})
export type Trace = z.infer<typeof traceSchema>

/** What is known of one node; `trace` is null where it gave no answer, or its release knows none. */
export const clusterTraceSchema = z.object({
  nodes: z.array(
    z.object({
      node: z.string().max(MAX_TEXT),
      state: z.enum(['told', 'no_answer', 'older', 'silent']),
      trace: traceSchema.nullable(),
    }),
  ),
})
export type ClusterTrace = z.infer<typeof clusterTraceSchema>

export interface TracedNode {
  readonly nodeName: string
  readonly origin: number
  readonly stores: ReadonlyMap<string, SessionStore>
  readonly followed: Followed
  readonly clock: Clock
}

/**
 * Looks for a session by its ID, or by MIN_PREFIX_BYTES of it or more, and follows it for `followMs`, 0 for not at all.
 * A beginning is looked for in all entries, in turns that other work comes between.
 */
export async function traceHere(node: TracedNode, id: Buffer, followMs: number): Promise<Trace> {
  const { nodeName, followed, stores, clock } = node
  if (followMs > 0 && id.length >= MIN_PREFIX_BYTES) followed.follow(id, followMs)
  const entries: Trace['entries'] = []
  for (const [cache, store] of stores) {
    for (const change of await changesOf(store, id, clock)) {
      if (entries.length < MAX_ENTRIES) entries.push(entryOf(cache, change))
    }
  }
  const nowMs = clock.monotonicMs()
  const events = followed.eventsOf(id).map(({ atMs, origin, ...event }) => ({
    age_ms: Math.round(nowMs - atMs),
    ...event,
    origin: origin === undefined ? null : originTextOf(origin),
  }))
  return { node: nodeName, origin: originTextOf(node.origin), entries, events }
}

async function changesOf({ entries }: SessionStore, id: Buffer, clock: Clock): Promise<Change[]> {
  const whole = entries.changeOf(id)
  if (whole !== undefined) return [whole]
  if (id.length < MIN_PREFIX_BYTES) return []
  const pacer = new Pacer(clock)
  const found: Change[] = []
  let walked = 0
  for (const slot of entries.slots()) {
    walked += 1
    if (walked % SLOTS_PER_LOOK === 0 && pacer.isOver) await pacer.pause()
    if (!isBegun(entries.idAt(slot) ?? Buffer.alloc(0), id)) continue
    const change = entries.changeAt(slot)
    if (change !== undefined) found.push(change)
    if (found.length === MAX_ENTRIES) break
  }
  return found
}

function entryOf(cache: string, change: Change): Trace['entries'][number] {
  const { id, ttlMs, version } = change
  const isSession = change.kind === 'put'
  return {
    cache,
    id: idPrefix(id),
    state: isSession ? 'session' : 'removed',
    ttl_ms: Math.round(ttlMs),
    changed_at: new Date(wallMsOf(version)).toISOString(),
    origin: originTextOf(version.origin),
    context_hex: isSession ? Buffer.from(change.context).toString('hex') : '',
    server_name: isSession ? change.serverName : '',
    bytes: isSession ? change.session.length : 0,
  }
}

/** A verified boot of a peer. */
export interface TracedPeer {
  readonly nodeName: string
  readonly isRepeater: boolean
  readonly version: number
}

/** Resolves with what all nodes know of a session; waits LOOK_WAIT_MS for peers. */
export async function traceEverywhere<Peer extends TracedPeer>(
  own: Promise<Trace>,
  peers: readonly Peer[],
  ask: (peer: Peer) => Promise<Buffer>,
  clock: Clock,
): Promise<ClusterTrace> {
  const nodes = peers.filter(({ isRepeater }) => !isRepeater).slice(0, MAX_PEERS)
  const told = await Promise.all(
    nodes.map(async (peer) => {
      if (peer.version < TRACE_VERSION) return of(peer, 'older', null)
      const trace = await within(clock, LOOK_WAIT_MS, ask(peer).then(decodeTrace))
      return trace === undefined ? of(peer, 'no_answer', null) : of(peer, 'told', trace)
    }),
  )
  const here = await own
  return { nodes: [{ node: here.node, state: 'told', trace: here }, ...told] }
}

function of(peer: TracedPeer, state: 'told' | 'older' | 'no_answer', trace: Trace | null) {
  return { node: peer.nodeName, state, trace }
}

/** Encodes a trace for a peer; its bounds keep it below MAX_SUMMARY_BYTES. */
export function encodeTrace(trace: Trace): Buffer {
  const bytes = Buffer.from(JSON.stringify(trace))
  return bytes.length <= MAX_SUMMARY_BYTES
    ? bytes
    : Buffer.from(JSON.stringify({ ...trace, events: [] }))
}

/** Decodes a peer's trace; undefined when it is malformed. Unknown fields are skipped. */
function decodeTrace(bytes: Buffer): Trace | undefined {
  try {
    return traceSchema.safeParse(JSON.parse(bytes.toString('utf8'))).data
  } catch {
    return undefined
  }
}
