// What a node tells about its rings and targets: names, ages, uses, never a secret.

import type { TicketRing } from './ring.ts'
import { type AgedKey, turnMs } from './rule.ts'
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
