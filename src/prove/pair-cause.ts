// Why sessions that one server made do not resume on another, or where they were made: by the mechanism of both, their
// keys and certificates, and by what the nodes counted.

import type { FindingCode } from './finding-texts.ts'
import { isOnEveryNode, isStored, TAKEN } from './node-counters.ts'
import {
  between,
  type Cell,
  type Kind,
  keyNamesOf,
  mechanismOf,
  type Observations,
  type Question,
  type Source,
  shownKey,
  sourceOf,
} from './observations.ts'

/** What a server looks like that has no connection to its node, if one does not see that it shares other sessions. */
const NEVER_CAME: readonly FindingCode[] = ['no_put', 'not_asked']

export interface PairCause {
  readonly code: FindingCode
  /** Which of both servers, or their nodes, has to be changed: the one that made the session, or the one it met. */
  readonly subject: 'maker' | 'taker'
  readonly detail: string
}

export function pairCauseOf(seen: Observations, cell: Cell): PairCause {
  const maker = sourceOf(seen.sources[cell.madeOn] ?? [], cell.kind)
  const taker = sourceOf(seen.sources[cell.offeredTo] ?? [], cell.kind)
  if (maker === undefined || taker === undefined) return by('taker', 'not_shared')
  const isOwn = cell.madeOn === cell.offeredTo
  if (mechanismOf(maker) === 'ticket') return ticketCause(seen, cell, maker, taker)
  // It has a cache, perhaps, but its clients never offer what could be found there.
  if (mechanismOf(taker) === 'ticket') return by('taker', 'tickets_on')
  const question = between(seen.questions, cell.kind, cell.madeOn, cell.offeredTo)
  const olderOnly = isTls13Alone(seen, cell) ? olderOnlyCause(seen, cell) : undefined
  if (question !== undefined) {
    const cause = countedCause(seen, cell, question, hasOtherCertificate(maker, taker))
    return olderOnly !== undefined && NEVER_CAME.includes(cause.code) ? olderOnly : cause
  }
  if (olderOnly !== undefined) return olderOnly
  if (isOwn) return by('maker', 'own_not_resumed', shareOf(cell))
  if (!isMadeToResume(seen, cell)) return by('maker', 'own_not_resumed', shareOf(ownOf(seen, cell)))
  if (cell.soon.resumed > 0) return by('taker', 'sometimes', shareOf(cell))
  return hasOtherCertificate(maker, taker)
    ? by('taker', 'other_certificate')
    : by('taker', 'not_shared')
}

function ticketCause(seen: Observations, cell: Cell, maker: Source, taker: Source): PairCause {
  const keys = keyNamesOf(maker)
  if (cell.madeOn === cell.offeredTo) {
    return keys.length > 1
      ? by('maker', 'keys_within', keys.map(shownKey).join(', '))
      : by('maker', 'own_not_resumed', shareOf(cell))
  }
  const others = mechanismOf(taker)
  if (others !== 'ticket') return by('maker', 'tickets_on')
  const shared = keys.filter((key) => taker.keyNames.has(key))
  if (shared.length > 0) {
    if (hasOtherCertificate(maker, taker)) return by('taker', 'other_certificate')
    return by('taker', 'ticket_refused', shared.map(shownKey).join(', '))
  }
  if (keys.length > 1 && !isMadeToResume(seen, cell)) {
    return by('maker', 'keys_within', keys.map(shownKey).join(', '))
  }
  if (keys.length === 0) return by('maker', 'ticket_refused')
  // Where the tickets of the other one do resume, only a newer key did not come to it.
  return isResumedBack(seen, cell)
    ? by('taker', 'key_missing', keys.map(shownKey).join(', '))
    : by('maker', 'no_shared_keys')
}

/** The cause by what the nodes counted, in the order of a session's way. */
function countedCause(
  seen: Observations,
  cell: Cell,
  question: Question,
  isOtherCertificate: boolean,
): PairCause {
  const { whileMade, whileOffered } = question
  const isOwn = question.madeOn === question.offeredTo
  const refusal = firstOf(whileMade.puts, TAKEN)
  if (!isStored(whileMade, seen.nodes, seen.servers.length)) {
    return refusal === undefined ? by('maker', 'no_put') : by('maker', 'put_refused', refusal)
  }
  const { gets } = whileOffered
  if (has(gets, 'context_mismatch')) return by('taker', 'other_context')
  if (question.isResumed) {
    const { soon, later } = cell
    const isOver = later.offered > 0 && later.resumed === 0
    return soon.resumed > 0 && !isOver
      ? by('taker', 'sometimes', shareOf(cell))
      : by('maker', 'lifetime', 'they resume at once, and not a little later')
  }
  if (has(gets, 'hit')) {
    if (cell.soon.resumed > 0) return by('taker', 'sometimes', shareOf(cell))
    return by('taker', isOtherCertificate ? 'other_certificate' : 'not_accepted')
  }
  if (has(gets, 'expired')) return by('taker', 'expired')
  if (!has(gets, 'miss')) return by('taker', 'not_asked')
  const peerRefusal = firstOf(whileMade.peerRefusals, [])
  if (!isOwn && peerRefusal !== undefined) return by('taker', 'peer_refused', peerRefusal)
  if (isOwn || seen.nodes < 2) return by('taker', 'missed')
  return by('taker', isOnEveryNode(whileMade, seen.nodes) ? 'missed' : 'not_replicated')
}

function has(counts: Readonly<Record<string, number>>, name: string): boolean {
  return (counts[name] ?? 0) > 0
}

/** The first counter that is not 0, besides these. */
function firstOf(
  counts: Readonly<Record<string, number>>,
  besides: readonly string[],
): string | undefined {
  return Object.keys(counts).find((name) => has(counts, name) && !besides.includes(name))
}

function hasOtherCertificate(maker: Source, taker: Source): boolean {
  return ![...maker.certificates].some((one) => taker.certificates.has(one))
}

function ownOf(seen: Observations, { kind, madeOn }: Cell): Cell | undefined {
  return between(seen.cells, kind, madeOn, madeOn)
}

/** Whether the sessions of the server that these are offered to resume on the one that made them. */
function isResumedBack(seen: Observations, { kind, madeOn, offeredTo }: Cell): boolean {
  const back = between(seen.cells, kind, offeredTo, madeOn)
  return back !== undefined && back.soon.offered > 0 && back.soon.resumed === back.soon.offered
}

/** Why a server that shares its sessions of TLS 1.2 does not share those of TLS 1.3. */
function olderOnlyCause(seen: Observations, cell: Cell): PairCause {
  return isMadeToResume(seen, cell) ? by('taker', 'large_hello') : by('maker', 'tls12_only')
}

/**
 * Whether none of these sessions of TLS 1.3 resumes, and all of TLS 1.2 do between the same servers: the cache is joined.
 * That a server resumes its own ones says nothing, since it may have a memory of its own for them.
 */
function isTls13Alone(seen: Observations, { kind, madeOn, offeredTo, soon }: Cell): boolean {
  if (kind.version !== '1.3' || soon.resumed > 0) return false
  const older: Kind = { version: '1.2', client: kind.client }
  const source = sourceOf(seen.sources[madeOn] ?? [], older)
  if (source === undefined || mechanismOf(source) !== 'session_id') return false
  const takers = madeOn === offeredTo ? seen.servers.keys() : [offeredTo]
  return [...takers].some((taker) => {
    const cell = taker === madeOn ? undefined : between(seen.cells, older, madeOn, taker)
    return cell !== undefined && cell.soon.offered > 0 && cell.soon.resumed === cell.soon.offered
  })
}

/** Whether the sessions resume where they were made. */
function isMadeToResume(seen: Observations, cell: Cell): boolean {
  const own = ownOf(seen, cell)
  return own !== undefined && own.soon.resumed === own.soon.offered
}

/** How many of the sessions resumed, such as `1 of 3`. */
function shareOf(cell: Cell | undefined): string {
  return cell === undefined ? 'none' : `${cell.soon.resumed} of ${cell.soon.offered}`
}

function by(subject: PairCause['subject'], code: FindingCode, detail = ''): PairCause {
  return { code, subject, detail }
}
