// Replaces all workers when asked to, and once more when asked meanwhile: the workers that were replaced by
// then have read what was there before.

import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'

export interface WorkerReplacementOptions {
  /** Throws when fresh workers could not start with what is in files now. */
  readonly check: () => void
  readonly replace: () => Promise<void>
  readonly logger: Logger
}

export class WorkerReplacement {
  readonly #options: WorkerReplacementOptions
  #isRunning = false
  #isAskedAgain = false

  constructor(options: WorkerReplacementOptions) {
    this.#options = options
  }

  /** Resolves when nobody asks for more; at once for who asks meanwhile. Never rejects. */
  async ask(): Promise<void> {
    this.#isAskedAgain = this.#isRunning
    if (this.#isRunning) return
    this.#isRunning = true
    do {
      this.#isAskedAgain = false
      await this.#run()
    } while (this.#isAskedAgain)
    this.#isRunning = false
  }

  /** Certificates and keys are read again. An error keeps the processes that run. */
  async #run(): Promise<void> {
    const { check, replace, logger } = this.#options
    try {
      check()
      await replace()
      if (!this.#isAskedAgain) logger.info({}, 'all processes were replaced')
    } catch (error) {
      logger.error({ reason: messageOf(error) }, 'reload failed, the processes stay as they were')
    }
  }
}
