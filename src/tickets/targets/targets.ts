// The targets of a node: one runner for each terminator that gets keys from the rings of this node, and for each ring
// what keeps it beside their files.

import type { World } from '../../base/world.ts'
import type { TicketAuthority } from '../authority.ts'
import type { BootClock } from '../kept-ring.ts'
import type { RingTimes } from '../times.ts'
import { createTarget, type TargetContext } from './kinds.ts'
import { TargetProbe } from './probe.ts'
import { keptPlace, RingKeeper } from './ring-keeper.ts'
import { reloadPauseMs, type TargetReport, TargetRunner } from './runner.ts'
import type { Target, TargetFailure } from './target.ts'
import { type TargetSettings, targetName } from './target-schema.ts'

/** Time for a command to take effect, and for the next probe. */
const GRACE_MS = 5000

export interface TicketTargetsOptions {
  readonly targets: readonly TargetSettings[]
  readonly authority: TicketAuthority
  readonly world: Pick<World, 'clock' | 'logger'>
  readonly ownerOf?: TargetContext['ownerOf']
  /** The clock of the machine, by which a ring outlives a restart; a test gives its own. */
  readonly boot?: BootClock
}

export class TicketTargets {
  readonly #members: readonly { readonly runner: TargetRunner; readonly probe?: TargetProbe }[]
  /** By group. */
  readonly #keepers = new Map<string, RingKeeper>()

  /** Throws ERR_CONFIG when the owner of a file does not exist on this host. */
  constructor({ targets, authority, world, ownerOf, boot }: TicketTargetsOptions) {
    const timesOf = new Map(
      authority.rings.map(({ group, times }): [string, RingTimes] => [group, times]),
    )
    this.#members = targets.flatMap((settings) => {
      const source = authority.source(settings.group)
      const times = timesOf.get(settings.group)
      if (source === undefined || times === undefined) return []
      const context = { times, clock: world.clock, ...(ownerOf !== undefined && { ownerOf }) }
      const target = createTarget(settings, context)
      const { probe: asked, kind, group } = settings
      const runner: TargetRunner = new TargetRunner({
        ...{ target, source, times, world },
        onGiven: () => probe?.soon(),
      })
      const onFailure = (failure: TargetFailure) => runner.count(failure)
      const place = this.#keepers.has(group) ? undefined : keptPlace(settings)
      if (place !== undefined) {
        const keeper = new RingKeeper({ group, authority, place, world, onFailure, boot })
        this.#keepers.set(group, keeper)
      }
      const probe =
        asked &&
        new TargetProbe({
          address: asked.address,
          serverName: asked.server_name,
          source,
          graceMs: graceMs(target, times),
          trustsName: kind === 'apache',
          clock: world.clock,
          onFailure,
        })
      return [{ runner, ...(probe !== undefined && { probe }) }]
    })
  }

  /** Gives the authority the rings that an earlier process kept; to be called before it takes or makes keys. */
  restore(): void {
    for (const keeper of this.#keepers.values()) keeper.restore()
  }

  /** Follows the rings. Resolves when each target was given its first keys, or that failed for the first time. */
  async start(): Promise<void> {
    for (const keeper of this.#keepers.values()) keeper.start()
    await Promise.all(this.#members.map(({ runner }) => runner.start()))
    for (const { probe } of this.#members) probe?.start()
  }

  /** Ends the work before the rings are erased; files and keys stay with the terminators. */
  async stop(): Promise<void> {
    await Promise.all([
      ...this.#members.flatMap(({ runner, probe }) => [runner.stop(), probe?.stop()]),
      ...[...this.#keepers.values()].map((keeper) => keeper.stop()),
    ])
  }

  reports(): TargetReport[] {
    return this.#members.map(({ runner, probe }) => {
      const report = runner.report()
      const problem = report.problem ?? probe?.problem
      return { ...report, isCurrent: probe?.isCurrent, problem }
    })
  }
}

/** How long a terminator may take to use a key whose turn has come. */
function graceMs({ isReloaded, limits }: Target, { rotateMs, jitterMs }: RingTimes): number {
  const reloadMs = isReloaded ? reloadPauseMs(rotateMs) + jitterMs : 0
  return limits.pollMs + reloadMs + GRACE_MS
}

/** A mistake between targets, or between a target and the groups, with the place of the setting. */
export interface TargetProblem {
  readonly index: number
  readonly setting: string
  readonly message: string
}

/** Returns every contradiction that the schema of one target cannot see. */
export function findTargetProblems(
  targets: readonly TargetSettings[],
  groups: readonly string[],
): TargetProblem[] {
  const names = targets.map(targetName)
  return targets.flatMap((target, index) => {
    const problems: TargetProblem[] = []
    const report = (setting: string, message: string) => problems.push({ index, setting, message })
    if (!groups.includes(target.group))
      report('group', `there is no group "${target.group}" in tickets.groups`)
    const first = names.indexOf(targetName(target))
    if (first !== index)
      report('name', `"${names[index]}" is the name of targets[${first}] already: give a name`)
    if (target.kind === 'apache' && !target.insecure)
      report('insecure', 'must be true: Apache signs its tickets with a key of zeros')
    if (target.kind === 'kubernetes-secret' && !target.allow_disk)
      report('allow_disk', 'must be true: Kubernetes keeps Secrets on the disks of etcd')
    if (target.kind === 'kubernetes-secret' && isClearBeyondLoopback(target.api))
      report('api', 'must be https: keys would cross the network in clear')
    if (target.kind === 'haproxy' && target.socket !== undefined && target.reload !== undefined)
      report('reload', 'excludes socket: over its socket HAProxy gets keys without a reload')
    return problems
  })
}

function isClearBeyondLoopback(url: string | undefined): boolean {
  if (url === undefined) return false
  const { protocol, hostname } = new URL(url)
  const isLoopback = hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname)
  return protocol === 'http:' && !isLoopback
}
