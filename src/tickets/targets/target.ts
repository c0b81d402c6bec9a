// What a kind of terminator is to the runner that keeps it up to date: which keys it needs, the files and pushes that
// give them to it, and its own habits. Everything that holds secrets is laid out in one turn of the event loop.

import { by, type CountsOf, counter, one } from '../../base/counters.ts'
import type { RingView } from '../rule.ts'
import type { TerminatorLimits } from '../times.ts'
import type { Command } from './command.ts'
import type { SecretFileOptions } from './secret-file.ts'

export const TARGET_COUNTERS = {
  failures: by(
    'reason',
    {
      write: 'a file could not be written, or has not the bytes that were written',
      permission: 'this process may not write there, or the server does not allow it',
      space: 'the file system is full',
      disk: 'the folder is not on tmpfs or ramfs, and `allow_disk` is not set',
      check: 'the command `check` failed or took too long',
      reload: 'the command `reload` failed or took too long',
      refused: 'the terminator or the server did not take the keys',
      probe: 'a ticket of the terminator could not be had, or was made with another key',
    },
    counter(
      'ticket_target_failures_total',
      'Attempts to give a terminator its ticket keys that failed, by reason.',
      'target',
    ),
  ),
  reloads: one(counter('ticket_target_reloads_total', 'Reloads of the terminator.', 'target')),
}

export type TargetStats = CountsOf<typeof TARGET_COUNTERS>
/** Why a target could not be given its keys, or does not use them. */
export type TargetFailureReason = keyof TargetStats['failures']

export interface TargetFailure {
  readonly reason: TargetFailureReason
  /** Names the file, command or address and what to do; never a secret. */
  readonly message: string
}

/** The two clocks of this host at one moment. */
export interface Moment {
  readonly monotonicMs: number
  readonly wallMs: number
}

/** One file of a target. The runner erases `bytes`. */
export interface TargetFile {
  readonly path: string
  readonly bytes: Buffer
  /** A file that is named after its content is not written again while it is as it was written. */
  readonly isConstant?: boolean
  /** When the file is to say that it was changed, in ms since 1970; absent: when it is. */
  readonly changedMs?: number
}

/** What gives a terminator the keys of one view. */
export interface Delivery {
  /** In the order in which they are written: one that names others comes last. */
  readonly files: readonly TargetFile[]
  /** Gives the keys to the terminator itself, after the files are in place. */
  push?(): Promise<TargetFailure | undefined>
  /** Called when everything was done. */
  done?(): void
  /** Fills what `push` holds with zeros. */
  erase?(): void
}

export interface Target {
  /** Identifies the target in metrics and messages; unique in a node. */
  readonly name: string
  readonly kind: string
  readonly group: string
  readonly limits: TerminatorLimits
  readonly fileOptions: SecretFileOptions
  /** Command that says whether the terminator would take the files. */
  readonly check?: Command | undefined
  /**
   * Whether the terminator reads its files at a reload only: by `reload`, or by somebody who watches the files. Then they
   * change as seldom as it may be reloaded.
   */
  readonly isReloaded: boolean
  /** Command that makes the terminator read the files; absent when it needs none, and when another one does that. */
  readonly reload?: Command | undefined
  /** The keys are given again after this time, although they are the same; a poll that must not be missed. */
  readonly repeatMs?: number
  /** Whether the files name times of day, so that they are written again after the clock of the host has jumped. */
  readonly hasTimes?: boolean
  /** Files of retired keys: those in the folder that match and were not delivered are removed after a success. */
  readonly leftovers?: { readonly folder: string; readonly pattern: RegExp }
  /** Text without secrets that differs when the terminator has to be given something else; '' for nothing to give. */
  shown(view: RingView): string
  /** Lays the keys out. It reads the secrets at once, since they may be erased in the next turn. */
  deliver(view: RingView, moment: Moment): Delivery
  /** Earliest monotonic moment at which the terminator takes keys; absent when it always does. */
  readyMs?(moment: Moment, view: RingView): number
}
