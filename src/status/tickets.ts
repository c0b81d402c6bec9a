// The ticket keys of a node and the terminators that get them, as its summary tells them: names, ages and states, which
// every ticket shows anyway, and never a secret.

import { z } from 'zod'
import type { RingReport } from '../tickets/report.ts'
import type { TargetReport } from '../tickets/targets/runner.ts'
import type { Problem } from './problems.ts'

/** Most groups, keys of a group, and targets in a summary. */
const MAX_GROUPS = 16
const MAX_KEYS = 32
const MAX_TARGETS = 64
const MAX_TEXT = 512
/** Bytes of a key's name that are told, in hexadecimal digits twice as many. */
const SHOWN_NAME_DIGITS = 8
/** A key that is due is made within a tenth of the interval; beyond that and this it is late. */
const LATE_MS = 60_000
/** Time after the start within which a node gets its first keys. */
const FIRST_KEYS_MS = 30_000

const count = z.number().nonnegative()
const text = z.string().max(MAX_TEXT)

const groupSchema = z.object({
  group: text,
  rotate_ms: count,
  lifetime_ms: count,
  wait_ms: count,
  keys: z.array(z.object({ name: text, state: text, age_ms: count })).max(MAX_KEYS),
  next_key_ms: count.nullable(),
  next_current_ms: count.nullable(),
})

const targetSchema = z.object({
  name: text,
  kind: text,
  group: text,
  /** Whether its tickets were made with the current key; null without a probe. */
  current: z.boolean().nullable(),
  /** Time since it was last given its keys; null before the first time. */
  given_ms: count.nullable(),
  problem: text.nullable(),
})

export const ticketsSchema = z.object({
  groups: z.array(groupSchema).max(MAX_GROUPS),
  targets: z.array(targetSchema).max(MAX_TARGETS),
})

/** What a node says of ticket keys. */
export type TicketsSummary = z.infer<typeof ticketsSchema>

export interface TicketFacts {
  readonly rings: readonly RingReport[]
  readonly targets: readonly TargetReport[]
  /** The wall clock now, by which the reports say when a target was given its keys. */
  readonly wallMs: number
}

export function summarizeTickets({ rings, targets, wallMs }: TicketFacts): TicketsSummary {
  return {
    groups: rings.slice(0, MAX_GROUPS).map((ring) => ({
      group: ring.group,
      rotate_ms: ring.rotateMs,
      lifetime_ms: ring.lifetimeMs,
      wait_ms: ring.waitMs,
      keys: ring.keys.slice(0, MAX_KEYS).map(({ name, state, ageMs }) => ({
        name: name.slice(0, SHOWN_NAME_DIGITS),
        state,
        age_ms: ageMs,
      })),
      next_key_ms: ring.nextKeyMs ?? null,
      next_current_ms: ring.nextCurrentMs ?? null,
    })),
    targets: targets.slice(0, MAX_TARGETS).map((target) => ({
      name: target.name,
      kind: target.kind,
      group: target.group,
      current: target.isCurrent ?? null,
      given_ms:
        target.lastSuccessMs === undefined ? null : Math.max(0, wallMs - target.lastSuccessMs),
      problem: target.problem?.message.slice(0, MAX_TEXT) ?? null,
    })),
  }
}

const LINKS = {
  late: 'deploy/troubleshooting.md#ticket-keys-are-late-or-there-are-none',
  target: 'deploy/troubleshooting.md#a-terminator-does-not-get-its-ticket-keys',
} as const

/** Returns what is wrong with the keys and targets of a node that runs for `uptimeMs`. */
export function ticketProblems({ rings, targets }: TicketFacts, uptimeMs: number): Problem[] {
  return [
    ...rings.flatMap((ring) => ringProblems(ring, uptimeMs)),
    ...targets.flatMap(targetProblems),
  ]
}

function ringProblems({ group, keys, rotateMs }: RingReport, uptimeMs: number): Problem[] {
  const remedy = `see whether the node hears its peers; the log says which keys it refused, and why; tlscached tickets rotate ${group} makes one`
  if (keys.length === 0) {
    if (uptimeMs < FIRST_KEYS_MS) return []
    const sentence = `the group ${group} has no ticket key: its terminators get none`
    return [
      {
        code: 'no_ticket_key',
        severity: 'error',
        subject: group,
        sentence,
        remedy,
        link: LINKS.late,
      },
    ]
  }
  const youngestMs = Math.min(...keys.map(({ ageMs }) => ageMs))
  const overdueMs = youngestMs - rotateMs * 1.1
  if (overdueMs < LATE_MS) return []
  const late = `${Math.round(overdueMs / 60_000)} min`
  return [
    {
      code: 'ticket_keys_late',
      severity: 'error',
      subject: group,
      sentence: `the next ticket key of the group ${group} is late by ${late}: tickets go on under an old one`,
      remedy,
      link: LINKS.late,
    },
  ]
}

function targetProblems(target: TargetReport): Problem[] {
  const { name, kind, group, problem, isCurrent, lastSuccessMs } = target
  if (problem !== undefined) {
    const has = lastSuccessMs === undefined ? 'was never given any' : 'keeps its old ones'
    return [
      {
        code: 'target_failing',
        severity: 'error',
        subject: name,
        sentence: `${name} (${kind}) does not get the keys of the group ${group} and ${has}: ${problem.message}`,
        remedy: 'mend what the sentence names; the node tries again by itself',
        link: LINKS.target,
      },
    ]
  }
  if (isCurrent !== false) return []
  return [
    {
      code: 'target_behind',
      severity: 'warning',
      subject: name,
      sentence: `${name} (${kind}) makes tickets with another key than the current one of the group ${group}`,
      remedy: 'reload the terminator, and see that it reads the files that the target writes',
      link: LINKS.target,
    },
  ]
}
