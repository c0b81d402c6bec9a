// Says what is wrong with a node: each problem in one sentence, with what mends it. The page, /v1/cluster and commands
// that ask it all show this list.

import type { PeerStatus } from '../replication/peers/presence.ts'
import type { SyncStatus } from '../replication/sync/synchronizer.ts'
import { isRefusal, PUT_RESULTS, type RefusalReason } from '../store/stats.ts'
import { aloneReason, namedNodes, silentText } from './readiness.ts'
import type { RecentCache, RecentCounts } from './watch.ts'

/** What can be wrong. Codes are never reused; a node of a later release may have more. */
export const PROBLEM_CODES = [
  'alone',
  'join_failed',
  'not_compared',
  'peer_silent',
  'peer_unanswered',
  'peer_sync_failed',
  'puts_refused',
  'evicting',
  'never_asked',
  'other_context',
  'datagrams_lost',
  'other_keys',
  'queue_full',
  'old_peer',
  'unknown_cache',
  'no_ticket_key',
  'ticket_keys_late',
  'target_failing',
  'target_behind',
] as const
export type ProblemCode = (typeof PROBLEM_CODES)[number]

export interface Problem {
  readonly code: ProblemCode
  /** `error`: sessions are not kept or not shared. `warning`: that may come, or some are concerned. */
  readonly severity: 'error' | 'warning'
  /** What is concerned: the name of a cache or peer, an address, or nothing. */
  readonly subject: string
  /** What is wrong, and what it costs; without a full stop. */
  readonly sentence: string
  /** What to do about it; without a full stop. */
  readonly remedy: string
  /** Page of the documentation and section in it. */
  readonly link: string
}

export interface ProblemFacts {
  /** Undefined when no replication is configured. */
  readonly sync: SyncStatus | undefined
  readonly peers: readonly PeerStatus[]
  readonly recent: RecentCounts
}

/** Puts without a single get after which a cache counts as never asked. */
const PUTS_TO_ASK = 100
/** Gets under another context that make a problem, when they are also a tenth of all. */
const OTHER_CONTEXT_GETS = 10
const RECENTLY = 'in the last 10 minutes'
const PAGE = 'deploy/troubleshooting.md#'
const LINKS = {
  alone: `${PAGE}readyz-says-that-a-node-serves-alone`,
  loss: `${PAGE}sessions-resume-on-one-node-only`,
  refused: `${PAGE}puts-are-refused`,
  misses: `${PAGE}every-get-misses`,
  tickets: `${PAGE}tickets-are-on`,
  keys: `${PAGE}datagrams-are-dropped-as-unauthenticated`,
} as const

/** Returns what is wrong with caches and replication, errors first. */
export function problemsOf({ sync, peers, recent }: ProblemFacts): Problem[] {
  const problems = [
    ...(sync === undefined ? [] : peerProblems(sync, peers)),
    ...recent.caches.flatMap(cacheProblems),
    ...replicationProblems(recent),
  ]
  return errorsFirst(problems)
}

export function errorsFirst(problems: readonly Problem[]): Problem[] {
  const severities = ['error', 'warning'] as const
  return severities.flatMap((severity) => problems.filter((one) => one.severity === severity))
}

function peerProblems(sync: SyncStatus, peers: readonly PeerStatus[]): Problem[] {
  // A node that has only just started is about to find its peers.
  if (sync.state === 'joining' || sync.state === 'syncing') return []
  const nodes = namedNodes(peers)
  const heard = new Set(nodes.filter(({ isUp }) => isUp).map(({ name }) => name))
  if (heard.size === 0) return [aloneProblem(peers)]
  const silent = new Map(nodes.filter(({ name }) => !heard.has(name)).map((one) => [one.name, one]))
  return [
    ...joinProblems(sync),
    ...[...silent.values()].map(silentProblem),
    ...peers.filter(({ name }) => name === '').map(unansweredProblem),
    ...nodes.filter((one) => one.isUp && one.sync?.hasFailed === true).map(syncProblem),
  ]
}

function aloneProblem(peers: readonly PeerStatus[]): Problem {
  return {
    code: 'alone',
    severity: 'error',
    subject: '',
    sentence: `this node ${aloneReason(peers)}; no session reaches another node`,
    remedy:
      'start the other nodes, open UDP and TCP at the replication port between the nodes, and give all the same keys',
    link: LINKS.alone,
  }
}

function joinProblems({ state }: SyncStatus): Problem[] {
  if (state === 'failed') {
    return [
      {
        code: 'join_failed',
        severity: 'error',
        subject: '',
        sentence: 'copying the sessions of a peer broke off, so sessions may be missing here',
        remedy: 'open TCP at the replication port between the nodes; the log says why it broke off',
        link: LINKS.alone,
      },
    ]
  }
  if (state !== 'alone') return []
  return [
    {
      code: 'not_compared',
      severity: 'warning',
      subject: '',
      sentence: 'this node hears peers, but did not compare sessions with one yet',
      remedy: 'wait for half a minute; if this stays, open TCP at the replication port',
      link: LINKS.alone,
    },
  ]
}

function silentProblem(peer: PeerStatus): Problem {
  const { name, address } = peer
  return {
    code: 'peer_silent',
    severity: 'error',
    subject: name,
    sentence: `${silentText(peer)}: nothing is replicated to it`,
    remedy: `check that ${name} runs, and that UDP and TCP are open between the nodes at ${address}`,
    link: LINKS.alone,
  }
}

function unansweredProblem({ role, address }: PeerStatus): Problem {
  return {
    code: 'peer_unanswered',
    severity: 'warning',
    subject: address,
    sentence: `no ${role} has ever answered at ${address}`,
    remedy:
      'check the address, that a node runs there, that UDP and TCP are open, and that it has the same keys',
    link: LINKS.alone,
  }
}

function syncProblem({ name, address }: PeerStatus): Problem {
  return {
    code: 'peer_sync_failed',
    severity: 'warning',
    subject: name,
    sentence: `comparing sessions with ${name} failed: what UDP loses is not repaired`,
    remedy: `check that TCP is open at ${address}; the log says why it failed`,
    link: LINKS.alone,
  }
}

/** Says why a put was refused, and what to do. An error is what a wrong configuration does to all sessions. */
const REFUSALS: Record<RefusalReason, Pick<Problem, 'severity' | 'remedy'> & { why: string }> = {
  context: {
    severity: 'error',
    why: 'their session ID context is not listed in contexts, or is not that of the caller',
    remedy:
      'list the context in caches[].contexts or leave contexts out; tlscached check prints the context of Apache',
  },
  blocksize: {
    severity: 'error',
    why: 'the sessions are larger than blocksize',
    remedy: 'raise caches[].blocksize on all nodes',
  },
  keysize: {
    severity: 'error',
    why: 'the session IDs are longer than keysize',
    remedy: 'raise caches[].keysize on all nodes',
  },
  full: {
    severity: 'error',
    why: 'the cache is full and has full: refuse',
    remedy: 'raise caches[].items or caches[].memory, or set full: evict',
  },
  expired: {
    severity: 'warning',
    why: 'the sessions had no lifetime left',
    remedy: 'compare the clocks of the terminator and of this machine',
  },
  early_data: {
    severity: 'warning',
    why: 'the sessions allow early data, which a replicated cache cannot guard from replay',
    remedy: 'switch early data off in the terminator',
  },
  version: {
    severity: 'warning',
    why: 'a peer left the largest version under these session IDs',
    remedy: 'nothing: it ends with the lifetime of the sessions',
  },
  key_mismatch: {
    severity: 'warning',
    why: 'the sessions have other IDs than the keys they were to be stored under',
    remedy: 'look for the program that writes them',
  },
}

function cacheProblems(cache: RecentCache): Problem[] {
  const problems = PUT_RESULTS.filter(isRefusal).flatMap((reason) =>
    cache.refused[reason] === 0 ? [] : [refusalProblem(cache, reason)],
  )
  const { name: subject, evicted, stored, gets, contextMismatches } = cache
  if (evicted > 0) {
    problems.push({
      code: 'evicting',
      severity: 'warning',
      subject,
      sentence: `the cache ${subject} is full and evicted ${countOf(evicted, 'session')} ${RECENTLY}, before the end of their lifetime`,
      remedy: 'raise caches[].items or caches[].memory, or lower caches[].timeout',
      link: LINKS.misses,
    })
  }
  if (stored >= PUTS_TO_ASK && gets === 0) {
    problems.push({
      code: 'never_asked',
      severity: 'warning',
      subject,
      sentence: `${countOf(stored, 'session')} were put into the cache ${subject} ${RECENTLY}, and none was asked for`,
      remedy: 'switch session tickets off in the terminator; tlscached prove says what it does',
      link: LINKS.tickets,
    })
  }
  if (contextMismatches >= OTHER_CONTEXT_GETS && contextMismatches * 10 >= gets) {
    problems.push({
      code: 'other_context',
      severity: 'warning',
      subject,
      sentence: `${contextMismatches} of ${countOf(gets, 'get')} of the cache ${subject} ${RECENTLY} asked under another context or server name than the session was made under`,
      remedy: 'give the same virtual host the same context on all terminators',
      link: LINKS.misses,
    })
  }
  return problems
}

function refusalProblem({ name, refused }: RecentCache, reason: RefusalReason): Problem {
  const { severity, why, remedy } = REFUSALS[reason]
  return {
    code: 'puts_refused',
    severity,
    subject: name,
    sentence: `the cache ${name} refused ${countOf(refused[reason], 'put')} ${RECENTLY} (${reason}): ${why}`,
    remedy,
    link: LINKS.refused,
  }
}

function replicationProblems({ lost, unknownCaches, dropped }: RecentCounts): Problem[] {
  const problems: Problem[] = []
  const warn = (
    count: number,
    code: ProblemCode,
    texts: Pick<Problem, 'sentence' | 'remedy' | 'link'>,
  ) => {
    if (count > 0) problems.push({ code, severity: 'warning', subject: '', ...texts })
  }
  warn(lost, 'datagrams_lost', {
    sentence: `${countOf(lost, 'datagram')} with sessions never arrived ${RECENTLY}; comparing with the peers brings the sessions later`,
    remedy: 'look for a link that drops UDP, and raise net.core.rmem_max',
    link: LINKS.loss,
  })
  warn(dropped.unauthenticated + dropped.throttled, 'other_keys', {
    sentence: `${countOf(dropped.unauthenticated + dropped.throttled, 'datagram')} came ${RECENTLY} that no key of this node opens`,
    remedy: 'give all nodes the same keys file; the log names the address they come from',
    link: LINKS.keys,
  })
  warn(dropped.queue_full, 'queue_full', {
    sentence: `${countOf(dropped.queue_full, 'datagram')} found no room in a queue ${RECENTLY}; comparing with the peers brings the sessions later`,
    remedy: 'raise net.core.rmem_max, and see whether this machine is short of processor time',
    link: LINKS.loss,
  })
  warn(dropped.version, 'old_peer', {
    sentence: 'a peer is older than replication.minimum_version: nothing is taken from it',
    remedy: 'upgrade it, or lower replication.minimum_version',
    link: LINKS.loss,
  })
  warn(unknownCaches, 'unknown_cache', {
    sentence: `${countOf(unknownCaches, 'session')} came ${RECENTLY} for caches that are not configured here`,
    remedy: 'give the caches the same names on all nodes; the log names the cache',
    link: LINKS.loss,
  })
  return problems
}

function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
