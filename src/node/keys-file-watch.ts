// Reads the file of keys again when it was changed or replaced: Kubernetes swaps a link, an operator edits in place,
// and neither sends a signal. It polls every two seconds, because not every file system reports changes.

import { stat } from 'node:fs/promises'
import { messageOf } from '../base/errors.ts'
import { type Clock, every, type Logger, type Timer } from '../base/world.ts'
import { type Keyring, type KeysFileMode, loadKeyring } from '../wire/keyring.ts'

/**
 * Time between two polls. A changed file is read when two polls in a row found the same state: then nobody is writing
 * it.
 */
export const LOOK_PERIOD_MS = 2000

/** How files of keys are read. */
export interface KeysFiles {
  /** Throws ERR_NO_KEYS or ERR_KEYRING. */
  load(path: string, mode?: KeysFileMode): Keyring
  /** Resolves with a text that differs when another file is at this path or it was written. Never rejects. */
  stateOf(path: string): Promise<string>
}

export const systemKeysFiles: KeysFiles = {
  load: (path, mode) => loadKeyring(path, mode),
  stateOf,
}

export interface KeysFile {
  readonly path: string
  readonly mode: KeysFileMode
}

export interface KeysFileWatchOptions {
  readonly clock: Clock
  readonly logger: Logger
  /** Default: those of the system. */
  readonly files?: KeysFiles | undefined
  /** Called with the keys of the file each time it was read, also when they are the same as before. */
  readonly onKeyring: (keyring: Keyring) => void
}

export class KeysFileWatch {
  readonly #options: KeysFileWatchOptions
  #file: KeysFile | undefined
  #timer: Timer | undefined
  /** State of the file at the last poll, as `stateOf` returns it. */
  #lastSeen = ''
  /** State of the file that was last read, with or without success. */
  #lastTried = ''
  /** The poll in progress; it never rejects. A file system that hangs delays this one and nothing else. */
  #looking: Promise<void> | undefined

  constructor(options: KeysFileWatchOptions) {
    this.#options = options
  }

  /** Watches this file from now on, or none. It is read once more, because it may have changed since it was loaded. */
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

  /** Resolves when no poll is in progress. */
  async settled(): Promise<void> {
    await this.#looking
  }

  async #look(file: KeysFile): Promise<void> {
    const { files = systemKeysFiles } = this.#options
    const seen = await files.stateOf(file.path)
    if (file !== this.#file) return
    const isStable = seen === this.#lastSeen
    this.#lastSeen = seen
    if (!isStable || seen === this.#lastTried) return
    this.#lastTried = seen
    this.#read(file)
  }

  #read({ path, mode }: KeysFile): void {
    const { logger, onKeyring, files = systemKeysFiles } = this.#options
    try {
      onKeyring(files.load(path, mode))
    } catch (error) {
      logger.error(
        { reason: messageOf(error) },
        'the file of keys cannot be used, the keys stay as they were',
      )
    }
  }
}

/**
 * Returns a text that differs when another file is at this path or it was written; the reason when there is no file.
 */
async function stateOf(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true })
    return [dev, ino, size, mtimeNs, ctimeNs].join(' ')
  } catch (error) {
    return messageOf(error)
  }
}
