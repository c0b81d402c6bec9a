// The ticket keys of a node: the rings of its groups and the terminators that get them.

import type { Registry } from 'prom-client'
import type { World } from '../base/world.ts'
import { TicketAuthority, type TicketKeySource } from '../tickets/authority.ts'
import { type RingReport, reportRing } from '../tickets/report.ts'
import type { TicketsConfig } from '../tickets/settings.ts'
import type { TargetReport } from '../tickets/targets/runner.ts'
import { TicketTargets } from '../tickets/targets/targets.ts'
import { ringTimes } from '../tickets/times.ts'
import { collectTickets, type TicketsSource } from './metrics.ts'

export interface NodeTicketsOptions {
  readonly config: TicketsConfig
  /** Identifies this node among its peers. */
  readonly nodeId: Uint8Array
  readonly world: World
}

export class NodeTickets {
  readonly authority: TicketAuthority
  readonly #world: World
  readonly #targets: TicketTargets
  #given: Promise<void> | undefined
  #isGiven = false

  /** Throws ERR_CONFIG when the owner of a target's file does not exist on this host. */
  constructor({ config, nodeId, world }: NodeTicketsOptions) {
    const { clock, random } = world
    this.#world = world
    const groups = config.groups.map(({ terminators, ...settings }) => ({
      name: settings.name,
      times: ringTimes(settings, terminators),
    }))
    this.authority = new TicketAuthority({ groups, nodeId, clock, random })
    this.#targets = new TicketTargets({ targets: config.targets, authority: this.authority, world })
  }

  /** Reads the rings that an earlier process kept beside its terminators; to be called before peers are asked. */
  restore(): void {
    this.#targets.restore()
  }

  /** Follows the rings. Without peers to ask, `isAlone`, it makes the first keys at once. */
  start(isAlone: boolean): void {
    if (isAlone) this.authority.mayMake()
    this.#given = this.#targets.start().then(() => {
      this.#isGiven = true
    })
  }

  /** Ends the targets, whose terminators keep what they have, and erases all keys. Idempotent. */
  async stop(): Promise<void> {
    await this.#targets.stop()
    this.authority.stop()
  }

  /** Resolves when every target was given its first keys, or that failed for the first time. */
  async given(): Promise<void> {
    await this.#given
  }

  /** What this node waits for before it is ready, as a sentence; undefined for nothing. */
  waitingFor(): string | undefined {
    const empty = this.authority.rings.find(({ keys }) => keys.length === 0)
    if (empty !== undefined) return `waiting for the ticket keys of the group ${empty.group}`
    return this.#isGiven ? undefined : 'giving the first ticket keys to terminators'
  }

  /** Adds the metrics of rings and targets; `differing` returns which peers have other rings. */
  collect(registry: Registry, differing: TicketsSource['differing']): void {
    const { authority } = this
    collectTickets(registry, {
      rings: authority.rings,
      reports: () => this.reports(),
      targets: () => this.targets(),
      differing,
      unknownGroups: () => authority.unknownGroups,
    })
  }

  reports(): RingReport[] {
    const nowMs = this.#world.clock.monotonicMs()
    return this.authority.rings.map((ring) => reportRing(ring, nowMs))
  }

  targets(): readonly TargetReport[] {
    return this.#targets.reports()
  }

  /** Returns the keys of a group; undefined when there is no such group. */
  source(group: string): TicketKeySource | undefined {
    return this.authority.source(group)
  }

  /** Makes a key of a group, as `rotate` of its ring; false when there is no such group. */
  rotate(group: string, options: { isImmediate: boolean; isRevoking: boolean }): boolean {
    const isThere = this.authority.rotate(group, options)
    if (isThere) {
      this.#world.logger.warn(
        { group, ...options },
        options.isRevoking
          ? `all ticket keys of ${group} were revoked by an operator`
          : `a ticket key of ${group} was made by an operator`,
      )
    }
    return isThere
  }
}
