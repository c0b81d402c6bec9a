// Ends a command that runs until it is told to stop: cleanly, and at once when told twice.

import { type Clock, systemClock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { FAILED } from './exit-codes.ts'

/** For what a clean stop still has to do; sending and closing take milliseconds. */
export const STOP_TIMEOUT_MS = 5000

export interface Running {
  /** Rejects when something had to be cut off. */
  stop(): Promise<void>
  /** Ends other processes of this command at once. */
  kill?(): void
}

/** Stops the command without a signal, unless it is about to stop; `exitCode` is its own reason to end. */
export type Stop = (why: string, exitCode: number) => void

/** `timeoutMs`: longest time that `stop` may take; Infinity when it has a limit of its own. */
export function stopOnSignal(
  running: Running,
  logger: Logger,
  timeoutMs: number = STOP_TIMEOUT_MS,
  clock: Clock = systemClock,
): Stop {
  let isStopping = false
  const endAtOnce = () => {
    running.kill?.()
    process.exit(FAILED)
  }
  const stop = (why: string, exitCode: number) => {
    if (isStopping) return
    isStopping = true
    logger.info({ signal: why }, 'stopping')
    if (Number.isFinite(timeoutMs)) {
      clock.after(timeoutMs, () => {
        logger.error({ timeoutMs }, 'stopping took too long, what was left is cut off')
        endAtOnce()
      })
    }
    void running.stop().then(
      () => process.exit(exitCode),
      (error) => {
        logger.error({ reason: messageOf(error) }, 'not everything stopped cleanly')
        process.exit(FAILED)
      },
    )
  }
  const heed = (signal: string) => {
    if (isStopping) endAtOnce()
    stop(signal, 0)
  }
  process.on('SIGTERM', heed)
  process.on('SIGINT', heed)
  return stop
}
