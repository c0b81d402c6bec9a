// Stops a running command on a signal: cleanly on the first one, at once on the second.

import { messageOf } from '../base/errors.ts'
import { type Clock, type Logger, systemClock } from '../base/world.ts'
import { FAILED } from './exit-codes.ts'

/** Longest clean stop; sending what is left and closing take milliseconds. */
export const STOP_TIMEOUT_MS = 5000

export interface Running {
  /** Stops cleanly. Rejects when something had to be cut off. */
  stop(): Promise<void>
  /** Kills other processes of this command at once. */
  kill?(): void
}

/**
 * Stops the command without a signal, unless it is stopping already. `why` is for the log; `exitCode` is that of the
 * process.
 */
export type Stop = (why: string, exitCode: number) => void

/**
 * Stops `running` on SIGTERM or SIGINT and then exits. `timeoutMs` is the longest time that its `stop` may take,
 * Infinity when that has a limit of its own.
 */
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
