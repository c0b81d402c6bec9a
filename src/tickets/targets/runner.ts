// Keeps one terminator up to date with the ring of its group: writes its files, checks, reloads, tries again. What fails
// leaves the terminator with the keys that it has, which are good for an hour or more.
//
// A reload closes idle connections, so changes wait for each other: a key that is still to come has a quarter of its
// wait, a key that comes into use waits for its successor, and one that is retired goes with the next reload. A key that
// others mint or have minted already, as after a partition, waits for nothing.

import { join } from 'node:path'
import { zeros } from '../../base/counters.ts'
import { messageOf } from '../../base/errors.ts'
import type { Clock, Logger, Timer, World } from '../../base/world.ts'
import type { TicketKeySource } from '../authority.ts'
import { type AgedKey, openedKeys, type RingView, turnMs } from '../rule.ts'
import type { RingTimes } from '../times.ts'
import { runCommand } from './command.ts'
import {
  keepOldFile,
  type SecretFileSystem,
  secretFileSystem,
  statFile,
  writeSecretFile,
} from './secret-file.ts'
import {
  type Delivery,
  TARGET_COUNTERS,
  type Target,
  type TargetFailure,
  type TargetFailureReason,
  type TargetFile,
} from './target.ts'

const FIRST_RETRY_MS = 1000
const LONGEST_RETRY_MS = 60_000
/** Least time between two reloads, unless a ring rotates so fast that this would be too late. */
const RELOAD_PAUSE_MS = 30_000
/** How often the files are looked at, whether somebody has cut, removed or given them away. */
const LOOK_MS = 30_000
/** A clock is set by more than this at once; a smaller error is none for keys that live for hours. */
const JUMP_MS = 2000

/** Least time between two reloads of a terminator whose ring has this interval. */
export function reloadPauseMs(rotateMs: number): number {
  return Math.min(RELOAD_PAUSE_MS, rotateMs / 4)
}

/** What is known of a target, without any secret. */
export interface TargetReport {
  readonly name: string
  readonly kind: string
  readonly group: string
  /** Whether a ticket of the terminator was made under the current key; undefined without a probe. */
  readonly isCurrent: boolean | undefined
  /** When the terminator was last given what it needs, in ms since 1970; undefined before the first time. */
  readonly lastSuccessMs: number | undefined
  /** Failures since the start of the process, by reason. */
  readonly failures: Readonly<Record<TargetFailureReason, number>>
  /** What is wrong now; undefined when nothing is. */
  readonly problem: TargetFailure | undefined
  readonly reloads: number
}

export interface TargetRunnerOptions {
  readonly target: Target
  readonly source: TicketKeySource
  readonly times: RingTimes
  readonly world: Pick<World, 'clock' | 'logger'>
  /** Called each time after the terminator was given keys. */
  readonly onGiven?: () => void
  readonly files?: SecretFileSystem
  readonly run?: typeof runCommand
}

/** What the terminator was last given. */
interface Given {
  readonly shown: string
  readonly currentName: string | undefined
  readonly names: ReadonlySet<string>
}

export class TargetRunner {
  readonly #target: Target
  readonly #source: TicketKeySource
  readonly #times: RingTimes
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #onGiven: () => void
  readonly #files: SecretFileSystem
  readonly #run: typeof runCommand
  readonly #stats = zeros(TARGET_COUNTERS)
  readonly #firstAttempt: Promise<void>
  #endFirstAttempt: () => void = () => {}
  #unsubscribe = () => {}
  #given: Given | undefined
  /** The files as they were written, with what tells them from others of their name. */
  #written: readonly { readonly path: string; readonly identity: string }[] = []
  #isDamaged = false
  #problem: TargetFailure | undefined
  #lastSuccessMs: number | undefined
  #givenMs = Number.NEGATIVE_INFINITY
  /** The time of day less the monotonic time, when keys were given. */
  #skewMs = 0
  #reloadedMs = Number.NEGATIVE_INFINITY
  #retryMs = Number.NEGATIVE_INFINITY
  #retryDelayMs = FIRST_RETRY_MS
  #lookedMs = Number.NEGATIVE_INFINITY
  #timer: Timer | undefined
  #running: Promise<void> | undefined
  #isStopped = false

  constructor({ target, source, times, world, onGiven, files, run }: TargetRunnerOptions) {
    this.#target = target
    this.#source = source
    this.#times = times
    this.#clock = world.clock
    this.#logger = world.logger
    this.#onGiven = onGiven ?? (() => {})
    this.#files = files ?? secretFileSystem
    this.#run = run ?? runCommand
    this.#firstAttempt = new Promise((resolve) => {
      this.#endFirstAttempt = resolve
    })
  }

  /** Follows the ring from here on. Resolves when the first keys were given, or that failed for the first time. */
  start(): Promise<void> {
    this.#unsubscribe = this.#source.onChange(() => this.#plan())
    this.#plan()
    return this.#firstAttempt
  }

  /** Ends the work; files and keys stay with the terminator. Resolves when a command that runs has ended. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#unsubscribe()
    this.#timer?.cancel()
    this.#endFirstAttempt()
    await this.#running
  }

  report(): TargetReport {
    const { name, kind, group } = this.#target
    return {
      ...{ name, kind, group },
      isCurrent: undefined,
      lastSuccessMs: this.#lastSuccessMs,
      failures: { ...this.#stats.failures },
      problem: this.#problem,
      reloads: this.#stats.reloads,
    }
  }

  /** Starts what is due, or arms the timer for it. */
  #plan(): void {
    if (this.#isStopped || this.#running !== undefined) return
    this.#timer?.cancel()
    const nowMs = this.#clock.monotonicMs()
    const dueMs = this.#dueMs(nowMs)
    const lookMs = this.#written.length > 0 ? this.#lookedMs + LOOK_MS : Number.POSITIVE_INFINITY
    const nextMs = Math.min(dueMs, lookMs)
    if (nextMs > nowMs) {
      if (Number.isFinite(nextMs))
        this.#timer = this.#clock.after(nextMs - nowMs, () => this.#plan())
      return
    }
    const work = dueMs <= nowMs ? this.#give() : this.#look()
    this.#running = work
      .catch((error: unknown) => this.#fail({ reason: 'write', message: messageOf(error) }))
      .then(() => {
        this.#running = undefined
        this.#plan()
      })
  }

  /** The monotonic moment at which the terminator is to be given keys; Infinity when it has what it needs. */
  #dueMs(nowMs: number): number {
    const view = this.#source.view()
    const wantedMs = this.#wantedMs(view, nowMs)
    if (!Number.isFinite(wantedMs)) return wantedMs
    const moment = { monotonicMs: nowMs, wallMs: this.#clock.wallMs() }
    const readyMs = this.#target.readyMs?.(moment, view) ?? nowMs
    const pauseMs = reloadPauseMs(this.#times.rotateMs)
    const reloadMs = this.#needsReload(view) ? this.#reloadedMs + pauseMs : nowMs
    return Math.max(wantedMs, this.#retryMs, readyMs, reloadMs)
  }

  #wantedMs(view: RingView, nowMs: number): number {
    const shown = this.#target.shown(view)
    if (shown === '') return Number.POSITIVE_INFINITY
    if (this.#given === undefined || this.#isDamaged) return nowMs
    if (shown === this.#given.shown) {
      const { repeatMs } = this.#target
      return repeatMs === undefined ? Number.POSITIVE_INFINITY : this.#givenMs + repeatMs
    }
    const isCheap = !this.#target.isReloaded || this.#target.limits.keysHeld === 1
    return isCheap ? nowMs : reloadDueMs(this.#given, view, nowMs, this.#times)
  }

  #needsReload(view: RingView): boolean {
    return this.#target.isReloaded && this.#target.shown(view) !== this.#given?.shown
  }

  async #give(): Promise<void> {
    const view = this.#source.view()
    const given: Given = {
      shown: this.#target.shown(view),
      currentName: view.current?.key.hexName,
      names: new Set(openedKeys(view).map(({ key }) => key.hexName)),
    }
    const needsReload = this.#needsReload(view)
    const [startMs, wallMs] = [this.#clock.monotonicMs(), this.#clock.wallMs()]
    const delivery = this.#target.deliver(view, { monotonicMs: startMs, wallMs })
    const failure = await this.#apply(delivery, needsReload).finally(() => {
      for (const { bytes } of delivery.files) bytes.fill(0)
      delivery.erase?.()
    })
    if (failure === undefined) {
      this.#given = given
      this.#givenMs = startMs
      this.#skewMs = wallMs - startMs
      this.#succeed()
      this.#onGiven()
    } else this.#fail(failure)
    this.#endFirstAttempt()
  }

  async #apply(
    { files, push, done }: Delivery,
    needsReload: boolean,
  ): Promise<TargetFailure | undefined> {
    const { reload } = this.#target
    const failure = await this.#write(files)
    if (failure !== undefined) return failure
    const refusal = await push?.()
    if (refusal !== undefined) return refusal
    if (needsReload) {
      // A reload that fails counts as well: a terminator that cannot reload must not be asked again and again.
      this.#reloadedMs = this.#clock.monotonicMs()
      if (reload !== undefined) this.#stats.reloads += 1
      const problem = reload && (await this.#run(reload, 'reload', this.#clock))
      if (problem !== undefined) return problem
    }
    await this.#removeLeftovers(files)
    done?.()
    return undefined
  }

  /** Replaces the files and lets the terminator check them; when it does not take them the old ones come back. */
  async #write(files: readonly TargetFile[]): Promise<TargetFailure | undefined> {
    const { check, fileOptions } = this.#target
    const undo: Awaited<ReturnType<typeof keepOldFile>>[] = []
    let failure: TargetFailure | undefined
    for (const { path, bytes, isConstant = false, changedMs } of files) {
      const isThere = isConstant && (await this.#isAsWritten(path))
      if (isThere) continue
      const old = await keepOldFile(path, fileOptions, this.#files)
      failure = await writeSecretFile(path, bytes, { ...fileOptions, changedMs }, this.#files)
      if (failure !== undefined) {
        await old.forget()
        break
      }
      undo.push(old)
    }
    if (failure === undefined && check !== undefined)
      failure = await this.#run(check, 'check', this.#clock)
    failure ??= await this.#measure(files)
    for (const old of undo.reverse()) await (failure === undefined ? old.forget() : old.restore())
    return failure
  }

  async #isAsWritten(path: string): Promise<boolean> {
    const known = this.#written.find((one) => one.path === path)
    return known !== undefined && (await statFile(path, this.#files))?.identity === known.identity
  }

  /** Reads the files' lengths once more, since some terminators end when one is wrong, and remembers them. */
  async #measure(files: readonly TargetFile[]): Promise<TargetFailure | undefined> {
    const written: { path: string; identity: string }[] = []
    for (const { path, bytes } of files) {
      const { size = 0, identity = '' } = (await statFile(path, this.#files)) ?? {}
      if (size !== bytes.length) {
        const message = `${path} has ${size} bytes where ${bytes.length} were written`
        return { reason: 'write', message }
      }
      written.push({ path, identity })
    }
    this.#written = written
    this.#isDamaged = false
    this.#lookedMs = this.#clock.monotonicMs()
    return undefined
  }

  /**
   * Looks whether the files are as they were written, and the clock as it was. What was cut, removed or given away is
   * written again, and what names times of day after a jump of the clock.
   */
  async #look(): Promise<void> {
    this.#lookedMs = this.#clock.monotonicMs()
    if (this.#target.hasTimes === true) {
      const jumpMs = this.#clock.wallMs() - this.#lookedMs - this.#skewMs
      if (Math.abs(jumpMs) > JUMP_MS) {
        this.#isDamaged = true
        return
      }
    }
    for (const { path } of this.#written) {
      if (await this.#isAsWritten(path)) continue
      this.#isDamaged = true
      this.#logger.warn(
        { target: this.#target.name },
        `${path} was changed by somebody else: ticket keys are written there again`,
      )
      return
    }
  }

  async #removeLeftovers(files: readonly TargetFile[]): Promise<void> {
    const { leftovers } = this.#target
    if (leftovers === undefined) return
    const kept = new Set(files.map(({ path }) => path))
    for (const name of await this.#files.readdir(leftovers.folder)) {
      const path = join(leftovers.folder, name)
      if (leftovers.pattern.test(name) && !kept.has(path)) await this.#files.unlink(path)
    }
  }

  #succeed(): void {
    const { name } = this.#target
    if (this.#problem !== undefined)
      this.#logger.info({ target: name }, `target ${name} has its ticket keys again`)
    this.#problem = undefined
    this.#lastSuccessMs = this.#clock.wallMs()
    this.#retryMs = Number.NEGATIVE_INFINITY
    this.#retryDelayMs = FIRST_RETRY_MS
  }

  #fail(failure: TargetFailure): void {
    this.#problem = failure
    this.count(failure)
    this.#retryMs = this.#clock.monotonicMs() + this.#retryDelayMs
    this.#retryDelayMs = Math.min(2 * this.#retryDelayMs, LONGEST_RETRY_MS)
  }

  /** Counts and logs a failure, found here or by a probe. */
  count({ reason, message }: TargetFailure): void {
    const { name } = this.#target
    this.#stats.failures[reason] += 1
    this.#logger.warn({ target: name, reason }, `ticket keys of target ${name}: ${message}`)
  }
}

/** When a terminator that was given other keys is to be reloaded. */
function reloadDueMs(given: Given, view: RingView, nowMs: number, times: RingTimes): number {
  const { current, next, previous } = view
  if (current === undefined) return Number.POSITIVE_INFINITY
  // Revoked: the terminator still makes tickets that nobody opens.
  const opened = openedKeys(view)
  const isRevoked = !opened.some(({ key }) => key.hexName === given.currentName)
  if (isRevoked) return nowMs
  const isUnknown = ({ key }: AgedKey) => !given.names.has(key.hexName)
  // A key that has waited is minted elsewhere already, as after a partition; one that is still to come has time.
  const moments = next
    .filter(isUnknown)
    .map(({ bornMs, knownMs }) => Math.min(knownMs + times.waitMs / 4, bornMs + times.waitMs))
  // Clients have tickets of such keys, as after a partition.
  if ([current, ...previous].some(isUnknown)) moments.push(nowMs)
  if (current.key.hexName !== given.currentName) {
    moments.push(next.length > 0 ? nowMs : turnMs(current, times) + times.jitterMs)
  }
  return Math.min(...moments)
}
