// What a node tells about its rings and targets: names, ages, uses, never a secret.

import type { TicketRing } from './ring.ts'
import { type AgedKey, turnMs } from './rule.ts'
import type { TargetReport } from './targets/runner.ts'
import type { KeyOrigin } from './ticket-key.ts'

export const KEY_STATES = ['next', 'current', 'previous'] as const
export type KeyState = (typeof KEY_STATES)[number]

export interface KeyReport {
  /** In hex; every ticket begins with it. */
  readonly name: string
  readonly state: KeyState
  /** Time since the key was made, as this node reckons. */
  readonly ageMs: number
  readonly origin: KeyOrigin
}

export interface RingReport {
  readonly group: string
  readonly rotateMs: number
  readonly lifetimeMs: number
  readonly waitMs: number
  /** In the order of their use: next, current, previous. */
  readonly keys: readonly KeyReport[]
  /** Time until this node makes the next key, unless another one does; undefined for an empty ring. */
  readonly nextKeyMs: number | undefined
  /** Time until tickets are made with another key; undefined while none waits for it. */
  readonly nextCurrentMs: number | undefined
}

/** Describes a ring at one moment. */
export function reportRing(ring: TicketRing, nowMs: number): RingReport {
  const { group, times } = ring
  const { next, current, previous } = ring.view(nowMs)
  const describe = (state: KeyState) => (one: AgedKey) => ({
    name: one.key.hexName,
    state,
    ageMs: Math.max(0, Math.round(nowMs - one.bornMs)),
    origin: one.key.origin,
  })
  const { rotateMs, lifetimeMs, waitMs } = times
  const [first] = next
  return {
    ...{ group, rotateMs, lifetimeMs, waitMs },
    keys: [
      ...next.map(describe('next')),
      ...(current === undefined ? [] : [current]).map(describe('current')),
      ...previous.map(describe('previous')),
    ],
    nextKeyMs: leftMs(ring.keyDueMs, nowMs),
    nextCurrentMs: leftMs(first && turnMs(first, times), nowMs),
  }
}

function leftMs(momentMs: number | undefined, nowMs: number): number | undefined {
  return momentMs === undefined ? undefined : Math.max(0, Math.round(momentMs - nowMs))
}

/** What a node tells about its ticket keys. */
export interface TicketsStatus {
  reports(): readonly RingReport[]
  targets(): readonly TargetReport[]
}

/** Describes the rings of a node with their targets for JSON; `group` chooses one. */
export function describeTickets(status: TicketsStatus, group?: string) {
  const targets = status.targets()
  return status
    .reports()
    .filter((report) => group === undefined || report.group === group)
    .map((report) => ({
      name: report.group,
      rotate_ms: report.rotateMs,
      lifetime_ms: report.lifetimeMs,
      wait_ms: report.waitMs,
      next_key_ms: report.nextKeyMs ?? null,
      next_current_ms: report.nextCurrentMs ?? null,
      keys: report.keys.map(({ name, state, ageMs, origin }) => ({
        ...{ name, state, origin },
        age_ms: ageMs,
      })),
      targets: targets.filter((target) => target.group === report.group).map(describeTarget),
    }))
}

function describeTarget({ name, kind, isCurrent, lastSuccessMs, ...rest }: TargetReport) {
  const { reloads, failures, problem } = rest
  return {
    ...{ name, kind, reloads, failures },
    current: isCurrent ?? null,
    last_success_ms: lastSuccessMs ?? null,
    problem: problem ?? null,
  }
}
