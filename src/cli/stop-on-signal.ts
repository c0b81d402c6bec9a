// Ends a command that runs until it is told to stop: cleanly, and at once when told twice.

import { systemClock } from '../base/clock.ts'
import type { Logger } from '../base/logger.ts'
import { FAILED } from './exit-codes.ts'

/** For what a clean stop still has to do; sending and closing take milliseconds. */
const STOP_TIMEOUT_MS = 5000

export function stopOnSignal(running: { stop(): Promise<void> }, logger: Logger): void {
  let isStopping = false
  const stop = (signal: NodeJS.Signals) => {
    if (isStopping) process.exit(FAILED)
    isStopping = true
    logger.info({ signal }, 'stopping')
    const timer = systemClock.after(STOP_TIMEOUT_MS, () => process.exit(FAILED))
    void running.stop().finally(() => {
      timer.cancel()
      process.exit(0)
    })
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
}
