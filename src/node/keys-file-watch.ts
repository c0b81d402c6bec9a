// Notices that the file of keys was changed or exchanged: Kubernetes swaps a link, an operator edits in place, and
// neither sends a signal. Asks every two seconds, as notices of the file system do not come from every file system.

import { stat } from 'node:fs/promises'
import { type Clock, every, type Timer } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { Keyring } from '../wire/keyring.ts'
import { type KeysFileMode, loadKeyring } from '../wire/keyring-file.ts'

/** A changed file is read when two looks, this far apart, found it the same: then nobody is writing it. */
export const LOOK_PERIOD_MS = 2000

export interface KeysFile {
  readonly path: string
  readonly mode: KeysFileMode
}

export interface KeysFileWatchOptions {
  readonly clock: Clock
  readonly logger: Logger
  /** Called with what is in the file now, whether or not the keys are others than before. */
  readonly onKeyring: (keyring: Keyring) => void
}

export class KeysFileWatch {
  readonly #options: KeysFileWatchOptions
  #file: KeysFile | undefined
  #timer: Timer | undefined
  /** What the last look found, and what was read or refused last; each names one state of one file. */
  #lastSeen = ''
  #lastTried = ''
  /** The look under way; never rejects. A file system that hangs holds this one up and nothing else. */
  #looking: Promise<void> | undefined

  constructor(options: KeysFileWatchOptions) {
    this.#options = options
  }

  /** Watches this file from now on, or none. It is read once more, as it may have changed since it was. */
  watch(file: KeysFile | undefined): void {
    this.stop()
    this.#file = file
    this.#lastSeen = ''
    this.#lastTried = ''
    if (file === undefined) return
    this.#timer = every(this.#options.clock, LOOK_PERIOD_MS, () => {
      this.#looking ??= this.#look(file).finally(() => {
        this.#looking = undefined
      })
    })
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#file = undefined
  }

  /** Resolves when no look is under way. */
  async settled(): Promise<void> {
    await this.#looking
  }

  async #look(file: KeysFile): Promise<void> {
    const seen = await stateOf(file.path)
    if (file !== this.#file) return
    const isStable = seen === this.#lastSeen
    this.#lastSeen = seen
    if (!isStable || seen === this.#lastTried) return
    this.#lastTried = seen
    this.#read(file)
  }

  #read({ path, mode }: KeysFile): void {
    const { logger, onKeyring } = this.#options
    try {
      onKeyring(loadKeyring(path, mode))
    } catch (error) {
      logger.error(
        { reason: messageOf(error) },
        'the file of keys cannot be used, the keys stay as they were',
      )
    }
  }
}

/** Which file is there and when it was last written; why none can be asked for when there is none. */
async function stateOf(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true })
    return [dev, ino, size, mtimeNs, ctimeNs].join(' ')
  } catch (error) {
    return messageOf(error)
  }
}
