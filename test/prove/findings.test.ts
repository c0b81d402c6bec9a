// Why sessions do not resume: one row for each cause, from what a run has seen to what is said of it.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { FINDING_CODES, type FindingCode, textOf } from '../../src/prove/finding-texts.ts'
import { findingsOf, isAllResumed } from '../../src/prove/findings.ts'
import {
  type Kind,
  type NodeCounts,
  newSource,
  type Observations,
  type Source,
  type Tally,
} from '../../src/prove/observations.ts'
import { linesOf } from '../../src/prove/report.ts'
import type { Mechanism } from '../../src/tls-client/client-session.ts'
import type { Failure } from '../../src/tls-client/handshake.ts'

const USUAL: Kind = { version: '1.3', client: 'usual' }
const OLDER: Kind = { version: '1.2', client: 'usual' }
const KEY_A = 'aa'.repeat(16)
const KEY_B = 'bb'.repeat(16)
const NOTHING: NodeCounts = { puts: {}, gets: {}, applied: 0, peerRefusals: {} }
const STORED: NodeCounts = { ...NOTHING, puts: { stored: 2 }, applied: 2 }

interface Made {
  readonly by?: Mechanism
  readonly keys?: readonly string[]
  readonly certificate?: string
  readonly failure?: Failure
  readonly more?: Partial<Source>
}

type Shares = readonly [soon: number, later: number]

interface Case {
  readonly a?: Made
  readonly b?: Made
  /** How many of 3 resumed at once and later, where A's were offered to B, and B's to A; all without. */
  readonly aToB?: Shares
  readonly bToA?: Shares
  readonly aToA?: Shares
  readonly failed?: boolean
  readonly kind?: Kind
  /** What the nodes counted for A's session, while it was made and while B met it. */
  readonly counted?: readonly [made: NodeCounts, offered: NodeCounts]
  readonly nodes?: number
  readonly away?: string
  readonly balancer?: Made & { readonly resumed: number }
  /** Both servers also made sessions of TLS 1.2, which resumed everywhere, or only where they were made. */
  readonly tls12?: 'shared' | 'kept'
}

function sourceFrom(
  kind: Kind,
  { by = 'stateful_ticket', keys = [], certificate = 'cc', failure, more }: Made,
): Source {
  const source = newSource(kind)
  if (failure !== undefined) {
    source.failure = { reason: failure, message: `said ${failure}` }
    return source
  }
  source.mechanisms.set(by, 3)
  for (const key of keys) source.keyNames.add(key)
  source.certificates.add(certificate)
  return Object.assign(source, more)
}

function tally(resumed: number, failed = 0): Tally {
  return { offered: 3, resumed, failed }
}

function observe(one: Case): Observations {
  const { kind = USUAL, a = {}, b = {}, aToB = [3, 3], bToA = [3, 3], aToA = [3, 3] } = one
  const shares = [aToA, aToB, bToA, [3, 3] as Shares]
  const cells = shares.flatMap(([soon, later], at) => {
    const [madeOn, offeredTo] = [at >> 1, at & 1]
    const isThere = [a, b].every(({ failure }, index) => {
      return failure === undefined || (madeOn !== index && offeredTo !== index)
    })
    const failed = one.failed === true && at === 1 ? 1 : 0
    return isThere
      ? [{ kind, madeOn, offeredTo, soon: tally(soon, failed), later: tally(later) }]
      : []
  })
  if (one.tls12 !== undefined) {
    for (const [madeOn, offeredTo] of [
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ] as const) {
      const share = tally(one.tls12 === 'shared' || madeOn === offeredTo ? 3 : 0)
      cells.push({ kind: OLDER, madeOn, offeredTo, soon: share, later: share })
    }
  }
  const olderSources = one.tls12 !== undefined ? [sourceFrom(OLDER, { by: 'session_id' })] : []
  const { balancer, counted, nodes = counted === undefined ? 0 : 2 } = one
  return {
    servers: ['A', 'B'],
    laterMs: 5000,
    sources: [
      [sourceFrom(kind, a), ...olderSources],
      [sourceFrom(kind, b), ...olderSources],
    ],
    cells,
    balancer: balancer && {
      name: 'L',
      rows: [{ source: sourceFrom(kind, balancer), tally: tally(balancer.resumed) }],
    },
    nodes,
    nodesAway: one.away === undefined ? [] : [one.away],
    questions: counted
      ? [
          {
            kind,
            madeOn: 0,
            offeredTo: 1,
            whileMade: counted[0],
            whileOffered: counted[1],
            isResumed: false,
          },
        ]
      : [],
    fullMs: [],
    resumedMs: [],
  }
}

const NOT_ON_B = { aToB: [0, 0] } as const
const NEITHER = { aToB: [0, 0], bToA: [0, 0] } as const
const TICKET_A: Made = { by: 'ticket', keys: [KEY_A] }
const TICKET_B: Made = { by: 'ticket', keys: [KEY_B] }

const CASES: Readonly<Record<FindingCode, Case & { readonly says: RegExp }>> = {
  node_away: {
    ...NOT_ON_B,
    away: 'cannot reach the node at B: ECONNREFUSED',
    counted: [STORED, NOTHING],
    nodes: 1,
    says: /^a node is away: cannot reach the node at B: ECONNREFUSED$/,
  },
  unreachable: { b: { failure: 'unreachable' }, says: /^B cannot be reached/ },
  no_answer: { b: { failure: 'timeout' }, says: /^B does not answer in time/ },
  not_tls: { b: { failure: 'not_tls' }, says: /^B does not speak TLS/ },
  starttls: { b: { failure: 'starttls' }, says: /^B does not start TLS: said starttls/ },
  handshake: { b: { failure: 'refused' }, says: /^B refuses the handshake: said refused/ },
  version_missing: { b: { failure: 'version' }, says: /^B does not speak this version/ },
  version_unspoken: {
    a: { failure: 'version' },
    b: { failure: 'version' },
    says: /^no server speaks/,
  },
  offer_refused: { ...NOT_ON_B, failed: true, says: /^B breaks .* session of A is offered/ },
  no_sessions: { b: { by: 'none' }, says: /^B gives out neither/ },
  tickets_on: { b: TICKET_B, ...NEITHER, says: /^B hands out tickets, so it never asks a cache/ },
  no_shared_keys: {
    ...{ a: TICKET_A, b: TICKET_B },
    ...NEITHER,
    says: /^tickets of A under key aaaaaaaa\.\., of B under key bbbbbbbb\.\.: there are no shared ticket keys$/,
  },
  key_missing: {
    ...{ a: TICKET_A, b: TICKET_B },
    ...NOT_ON_B,
    says: /^B does not have the ticket key of A \(aaaaaaaa\.\.\), which takes its tickets/,
  },
  keys_within: {
    a: { by: 'ticket', keys: [KEY_A, KEY_B] },
    b: { by: 'ticket', keys: [KEY_B, KEY_A] },
    aToA: [1, 2],
    says: /^behind A are several servers.*aaaaaaaa\.\., bbbbbbbb\.\./,
  },
  ticket_refused: {
    ...{ a: TICKET_A, b: TICKET_A },
    ...NOT_ON_B,
    says: /^B has the ticket key of A \(aaaaaaaa\.\.\)/,
  },
  other_certificate: {
    b: { certificate: 'dd' },
    ...NOT_ON_B,
    says: /^B has another certificate than A/,
  },
  own_not_resumed: {
    ...NOT_ON_B,
    aToA: [1, 0],
    says: /^A does not resume its own sessions \(1 of 3\)/,
  },
  not_shared: { ...NOT_ON_B, says: /^sessions of A resume there, but not on B$/ },
  sometimes: {
    aToB: [1, 2],
    counted: [STORED, { ...NOTHING, gets: { hit: 1 } }],
    says: /^sessions of A resume on B only sometimes \(1 of 3\)$/,
  },
  put_refused: {
    ...NOT_ON_B,
    counted: [{ ...NOTHING, puts: { context: 2, stored: 0 } }, NOTHING],
    says: /^sessions of A are not in the cluster: put refused \(context\)$/,
  },
  no_put: { ...NOT_ON_B, counted: [NOTHING, NOTHING], says: /^sessions of A .* stored none/ },
  not_asked: {
    ...NOT_ON_B,
    // Only the node of B was asked: the session came there from another.
    counted: [{ ...NOTHING, applied: 2 }, NOTHING],
    nodes: 1,
    says: /^sessions of A are in the cluster, but B did not ask for them$/,
  },
  peer_refused: {
    ...NOT_ON_B,
    counted: [
      { ...STORED, applied: 0, peerRefusals: { blocksize: 2 } },
      { ...NOTHING, gets: { miss: 1 } },
    ],
    says: /^the node of B refuses sessions of A that other nodes take \(blocksize\)$/,
  },
  not_replicated: {
    ...NOT_ON_B,
    counted: [
      { ...STORED, applied: 0 },
      { ...NOTHING, gets: { miss: 1 } },
    ],
    says: /^B asked .* the nodes do not replicate$/,
  },
  missed: {
    ...NOT_ON_B,
    counted: [STORED, { ...NOTHING, gets: { miss: 1 } }],
    says: /^B asked for sessions of A, and its node did not find them$/,
  },
  expired: {
    ...NOT_ON_B,
    counted: [STORED, { ...NOTHING, gets: { expired: 1 } }],
    says: /^B asked .* their lifetime was over$/,
  },
  other_context: {
    ...NOT_ON_B,
    counted: [STORED, { ...NOTHING, gets: { context_mismatch: 1 } }],
    says: /^B asked .* under another session ID context/,
  },
  not_accepted: {
    ...NOT_ON_B,
    counted: [STORED, { ...NOTHING, gets: { hit: 1 } }],
    says: /^B got sessions of A .* did not accept them/,
  },
  lifetime: { aToB: [3, 0], says: /^sessions of A .* at once, and not after 5 s$/ },
  late: { aToB: [0, 3], says: /^sessions of A resume on B after 5 s, but not at once$/ },
  zero_mac: {
    a: { ...TICKET_A, more: { hasZeroMac: true } },
    b: TICKET_A,
    says: /^tickets of A .* zeros/,
  },
  early_data: { a: { more: { takesEarlyData: true } }, says: /^sessions of A allow early data/ },
  distrusted: { b: { more: { distrust: 'EXPIRED' } }, says: /of B is not trusted: EXPIRED$/ },
  without_tickets: {
    ...NOT_ON_B,
    kind: { version: '1.2', client: 'no_tickets' },
    says: /know no tickets do not resume sessions of A on B$/,
  },
  balancer_unlisted: {
    ...{ a: TICKET_A, b: TICKET_A },
    balancer: { ...TICKET_B, resumed: 1 },
    says: /^behind L is a server that is not listed: its tickets are under key bbbbbbbb/,
  },
  balancer_misses: { balancer: { resumed: 1 }, says: /^through L 1 of 3 sessions resumed$/ },
  large_hello: {
    ...NOT_ON_B,
    tls12: 'shared',
    counted: [STORED, NOTHING],
    says: /^B resumes sessions of A in TLS 1\.2, and does not ask .* more than 1,024 bytes/,
  },
  tls12_only: {
    ...NOT_ON_B,
    aToA: [0, 0],
    tls12: 'shared',
    counted: [NOTHING, NOTHING],
    says: /^A shares sessions of TLS 1\.2 and none of TLS 1\.3/,
  },
  balancer_sticks: { ...NOT_ON_B, balancer: { resumed: 3 }, says: /^everything resumed through L/ },
}

describe('the finding', () => {
  for (const code of FINDING_CODES) {
    test(code, () => {
      const { says, ...one } = CASES[code]
      const seen = observe(one)
      const findings = findingsOf(seen)
      const finding = findings.find((found) => found.code === code)
      assert.ok(finding !== undefined, `found only ${findings.map((found) => found.cause)}`)
      assert.match(finding.cause, says)
      assert.doesNotMatch(finding.cause + finding.change, /undefined| {2}/)
      assert.equal(finding.versions, seen.sources[0]?.[0]?.kind.version)
      // Nothing is said besides, except what follows from the same fault.
      const errors = findings.filter(({ level }) => level === 'error')
      const isBalanced = one.balancer !== undefined
      const most = one.away === undefined ? 1 : 2
      if (!isBalanced) assert.ok(errors.length <= most, errors.map(({ cause }) => cause).join('\n'))
      if (finding.level === 'error') assert.equal(isAllResumed(seen), false)
    })
  }
})

test('a server that only resumes its own sessions of TLS 1.2 is not said to share them', () => {
  const seen = observe({
    ...{ aToA: [0, 0], aToB: [0, 0], bToA: [0, 0], tls12: 'kept' },
    counted: [NOTHING, NOTHING],
  })
  const codes = findingsOf(seen).flatMap(({ level, code }) => (level === 'error' ? [code] : []))
  assert.ok(codes.includes('no_put'))
  assert.ok(!codes.includes('tls12_only') && !codes.includes('large_hello'), codes.join())
})

test('without a fault there is no finding, and all resumed', () => {
  const seen = observe({ balancer: { resumed: 3 } })
  assert.deepEqual(findingsOf(seen), [])
  assert.equal(isAllResumed(seen), true)
})

test('what the nodes counted says more than that TLS 1.2 resumes', () => {
  const counted = [STORED, { ...NOTHING, gets: { context_mismatch: 1 } }] as const
  const [finding] = findingsOf(observe({ ...NOT_ON_B, tls12: 'shared', counted }))
  assert.equal(finding?.code, 'other_context')
})

test('one session that does not come back later is no short lifetime', () => {
  const findings = findingsOf(observe({ aToA: [3, 2], aToB: [3, 1] }))
  assert.deepEqual(
    findings.map(({ cause }) => cause),
    [
      'sessions of A resume on A only sometimes (after 5 s 2 of 3)',
      'sessions of A resume on B only sometimes (after 5 s 1 of 3)',
    ],
  )
})

test('names of keys are no count of servers where all sessions resume', () => {
  const two: Made = { by: 'ticket', keys: [KEY_A, KEY_B] }
  const behind = (seen: Observations) =>
    linesOf({ isAllResumed: isAllResumed(seen), findings: findingsOf(seen), observations: seen })
      .filter((line) => line.startsWith('Behind'))
      .join()
  assert.equal(behind(observe({ a: two, b: TICKET_A })), '')
  const apart = observe({ a: two, b: TICKET_A, aToA: [1, 1] })
  assert.equal(behind(apart), 'Behind A are at least 2 servers or processes.')
})

test('a promised lifetime of four seconds is said as such, once', () => {
  const more = { lifetimeSec: 4 }
  const findings = findingsOf(observe({ a: { more }, aToA: [3, 0], aToB: [3, 0] }))
  assert.deepEqual(
    findings.map(({ cause }) => cause),
    ['sessions of A do not live long: lifetime 4 s'],
  )
})

test('with the node of B alone, a session that it refused is not one that A did not store', () => {
  const counted = [
    { ...NOTHING, peerRefusals: { context: 2 } },
    { ...NOTHING, gets: { miss: 1 } },
  ] as const
  const [finding] = findingsOf(observe({ ...NOT_ON_B, counted, nodes: 1 }))
  assert.equal(finding?.code, 'peer_refused')
})

test('each put that a node can refuse has an advice of its own', () => {
  const { change } = textOf('put_refused')
  const advice = (detail: string) => change({ subject: 'A', others: '', detail })
  const reasons = [
    'keysize',
    'blocksize',
    'context',
    'full',
    'expired',
    'early_data',
    'version',
    'key_mismatch',
  ]
  assert.equal(new Set([...reasons, 'a new one'].map(advice)).size, reasons.length + 1)
})

test('every finding points to a section of the troubleshooting page', () => {
  const page = readFileSync(new URL('../../deploy/troubleshooting.md', import.meta.url), 'utf8')
  const anchors = [...page.matchAll(/^## (.*)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replaceAll(/[^a-z0-9 -]/g, '')
      .replaceAll(' ', '-'),
  )
  for (const code of FINDING_CODES) assert.ok(anchors.includes(textOf(code).see), code)
})
