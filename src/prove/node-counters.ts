// Reads what nodes counted, over GET /v1/caches of their HTTP frontends: so prove can tell whether a terminator stored a
// session, asked for it, and got it.

import { z } from 'zod'
import { type Address, formatAddress, parseAddress } from '../base/address.ts'
import { messageOf, TlscachedError } from '../base/errors.ts'
import { askNodeJson } from '../base/node-client.ts'
import type { NodeCounts } from './observations.ts'

/** Reads the counters of all nodes, each added up over its caches; undefined for a node that did not answer. */
export type ReadNodes = () => Promise<ReadCounts>
export type ReadCounts = readonly (NodeCounts | undefined)[]

const NO_COUNTS: NodeCounts = { puts: {}, gets: {}, applied: 0, peerRefusals: {} }

const counts = z.record(z.string(), z.number())
const answerSchema = z.object({
  caches: z.array(
    z.object({
      gets: counts,
      puts: counts,
      applied: counts,
      /** Older nodes leave it out. */
      peer_refusals: counts.prefault({}),
    }),
  ),
})
type CacheCounts = z.output<typeof answerSchema>['caches'][number]

/** Parses `host:port`, `unix:/path` or `http://host:port`. Throws ERR_ADDRESS. */
export function parseNode(text: string): Address {
  return parseAddress(text.replace(/^http:\/\/([^/]+)\/?$/, '$1'))
}

/** The reader calls `onAway` with a sentence for each node that does not answer, or not as a node does. */
export function createNodeReader(
  nodes: readonly Address[],
  onAway: (message: string) => void,
): ReadNodes {
  return () =>
    Promise.all(
      nodes.map(async (node) => {
        try {
          return sumOf(await readCaches(node))
        } catch (error) {
          onAway(messageOf(error))
          return undefined
        }
      }),
    )
}

/**
 * How the counters changed, added up over nodes. A node that was started again in between, or did not answer one of
 * both times, counts as one that did nothing.
 */
export function changeOf(before: ReadCounts, after: ReadCounts): NodeCounts {
  return after.reduce<NodeCounts>((sum, to, index) => {
    const from = before[index]
    if (from === undefined || to === undefined) return sum
    return combine(
      sum,
      combine(from, to, (a, b) => Math.max(0, b - a)),
      add,
    )
  }, NO_COUNTS)
}

/** The smaller of each two counters: what other clients do at the same time adds to some measurements, not to all. */
export function leastOf(a: NodeCounts, b: NodeCounts): NodeCounts {
  return combine(a, b, Math.min)
}

/** Results of a put that leave the session in the cache. */
export const TAKEN: readonly string[] = ['stored', 'replaced']

/**
 * Whether a session was put on a node that took it. When fewer nodes are asked than there are servers, a change from a peer
 * counts as well; otherwise such a change may be the removal of a session.
 */
export function isStored(counts: NodeCounts, nodes: number, servers: number): boolean {
  return storedIn(counts.puts) > 0 || (nodes < servers && offeredIn(counts) > 0)
}

/** Whether a put was counted, whatever became of it. */
export function isPut(counts: NodeCounts): boolean {
  return offeredIn(counts) > 0 || Object.values(counts.puts).some((count) => count > 0)
}

/** Whether a put was counted, and all other nodes took or refused what one of them stored. */
export function isSettled(change: NodeCounts, nodes: number): boolean {
  return isPut(change) && isOnEveryNode({ ...change, applied: offeredIn(change) }, nodes)
}

/** Whether all `nodes` but the one where sessions were put took them. */
export function isOnEveryNode({ puts, applied }: NodeCounts, nodes: number): boolean {
  return applied >= storedIn(puts) * (nodes - 1)
}

/** Sessions that came from peers, taken or refused. */
function offeredIn({ applied, peerRefusals }: NodeCounts): number {
  return Object.values(peerRefusals).reduce(add, applied)
}

function storedIn(puts: NodeCounts['puts']): number {
  return TAKEN.reduce((sum, result) => sum + (puts[result] ?? 0), 0)
}

function combine(
  a: NodeCounts,
  b: NodeCounts,
  operation: (a: number, b: number) => number,
): NodeCounts {
  const each = (group: 'puts' | 'gets' | 'peerRefusals') =>
    Object.fromEntries(
      Object.keys({ ...a[group], ...b[group] }).map((name) => [
        name,
        operation(a[group][name] ?? 0, b[group][name] ?? 0),
      ]),
    )
  return {
    puts: each('puts'),
    gets: each('gets'),
    applied: operation(a.applied, b.applied),
    peerRefusals: each('peerRefusals'),
  }
}

function add(a: number, b: number): number {
  return a + b
}

function sumOf(caches: readonly CacheCounts[]): NodeCounts {
  return caches.reduce<NodeCounts>(
    (sum, { puts, gets, applied, peer_refusals: peerRefusals }) =>
      combine(sum, { puts, gets, applied: applied['applied'] ?? 0, peerRefusals }, add),
    NO_COUNTS,
  )
}

async function readCaches(node: Address): Promise<readonly CacheCounts[]> {
  try {
    return answerSchema.parse(await askNodeJson(node, '/v1/caches')).caches
  } catch (error) {
    if (error instanceof TlscachedError) throw error
    const message = `the node at ${formatAddress(node)} does not answer as a node: give the address of its frontends.http`
    throw new TlscachedError('ERR_UNREACHABLE', message, { cause: error })
  }
}
