// The section `tickets` of the configuration: the groups of terminators with the times of their rings, and the targets.

import { z } from 'zod'
import { duration, label, list, notes } from '../settings/forms.ts'
import { GROUP_NAME_PATTERN, MAX_RING_KEYS, MAX_RINGS } from '../wire/ring-message.ts'
import { terminatorLimits } from './targets/kinds.ts'
import { type TargetSettings, targetSchema } from './targets/target-schema.ts'
import { findTargetProblems } from './targets/targets.ts'
import {
  findTimeProblem,
  LONGEST_TICKET_MS,
  SHORTEST_ROTATE_MS,
  type TerminatorLimits,
  type TicketGroupSettings,
} from './times.ts'

const MAX_TARGETS = 64
/** How nghttpx and h2o take keys over memcached: nghttpx as the documentation says, h2o always. */
const MEMCACHED_READERS: TerminatorLimits = {
  kind: 'nghttpx or h2o over memcached',
  pollMs: 60_000,
  keysHeld: MAX_RING_KEYS,
}

const group = z.strictObject({
  name: label(GROUP_NAME_PATTERN).register(notes, {
    description: 'name of the group, the same on all nodes; tickets of one never open in another',
    form: 'text',
    fallback: 'required',
  }),
  rotate: duration(LONGEST_TICKET_MS, SHORTEST_ROTATE_MS).prefault('1h').register(notes, {
    description: 'time between two new keys',
    form: 'duration, 10s..7d',
  }),
  lifetime: duration(LONGEST_TICKET_MS, 1000).optional().register(notes, {
    description: 'how long a ticket is accepted; the timeout of the terminators must be no longer',
    form: 'duration, 1s..7d',
    fallback: 'as `rotate`',
  }),
  wait: duration(LONGEST_TICKET_MS, 1000).optional().register(notes, {
    description: 'how long all nodes have a new key before tickets are made with it',
    form: 'duration, at most `rotate`',
    fallback: 'as `rotate`',
  }),
})

export const ticketsSchema = z.strictObject({
  groups: list(group, 1, MAX_RINGS).register(notes, {
    description: "groups of terminators that accept each other's tickets",
    form: 'list of groups',
    fallback: 'required',
  }),
  targets: list(targetSchema, 1, MAX_TARGETS).optional().register(notes, {
    description: 'terminators beside this node that get the keys of a group',
    form: 'list of targets',
    fallback: 'none',
  }),
})

/** The section as it was written, with its forms read. */
export type ParsedTickets = z.output<typeof ticketsSchema>

/** A group with its settings and what its terminators beside this node ask of the times. */
export interface GroupConfig extends TicketGroupSettings {
  readonly terminators: readonly TerminatorLimits[]
}

export interface TicketsConfig {
  readonly groups: readonly GroupConfig[]
  readonly targets: readonly TargetSettings[]
}

/** Fills in the defaults. `memcachedGroup` is the group whose keys memcached serves, undefined for none. */
export function toTicketsConfig(
  { groups, targets = [] }: ParsedTickets,
  memcachedGroup?: string,
): TicketsConfig {
  return {
    groups: groups.map(({ name, rotate: rotateMs, lifetime, wait }) => ({
      name,
      rotateMs,
      lifetimeMs: lifetime ?? rotateMs,
      waitMs: wait ?? rotateMs,
      terminators: [
        ...targets
          .filter((target) => target.group === name)
          .map((target) => terminatorLimits(target, rotateMs)),
        ...(name === memcachedGroup ? [MEMCACHED_READERS] : []),
      ],
    })),
    targets,
  }
}

/** A mistake between settings, with the place within the section. */
export interface TicketsProblem {
  readonly path: readonly (string | number)[]
  readonly message: string
}

/** Returns every contradiction between settings of the section. */
export function findTicketsProblems({ groups, targets }: TicketsConfig): TicketsProblem[] {
  const names = groups.map(({ name }) => name)
  const inGroups = groups.flatMap(({ terminators, ...settings }, index) => {
    const problem = findTimeProblem(settings, terminators)
    const found: TicketsProblem[] =
      problem === undefined
        ? []
        : [{ path: ['groups', index, problem.setting], message: problem.message }]
    const first = names.indexOf(settings.name)
    const message = `"${settings.name}" is the name of groups[${first}] already`
    return first === index ? found : [{ path: ['groups', index, 'name'], message }, ...found]
  })
  const inTargets = findTargetProblems(targets, names).map(({ index, setting, message }) => ({
    path: ['targets', index, setting],
    message,
  }))
  return [...inGroups, ...inTargets]
}
