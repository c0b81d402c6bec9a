// The keys of replication: loads them by the configuration, says whether it may do without, and reads the file of keys
// again when it was changed or replaced: Kubernetes swaps a link, an operator edits in place, and neither sends a
// signal. It polls every two seconds, because not every file system reports changes.

import { existsSync, statSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { type HostAddress, isLoopback } from '../base/address.ts'
import { messageOf, TlscachedError } from '../base/errors.ts'
import { every, type Timer, type World } from '../base/world.ts'
import { formatPeerSource, type PeerSource } from '../replication/peers/discovery.ts'
import {
  type Keyring,
  type KeySource,
  type KeysFileMode,
  loadKeyring,
  publicKeyring,
} from '../wire/keyring.ts'

/**
 * Time between two polls. A changed file is read when two polls in a row found the same state: then nobody is writing
 * it.
 */
export const LOOK_PERIOD_MS = 2000

/** What the configuration of a node or of a repeater says about keys. */
export interface KeySettings {
  readonly listen: HostAddress
  readonly peers?: readonly PeerSource[]
  readonly repeaters?: readonly PeerSource[]
  readonly keysFile: string | undefined
  readonly keysFileMode?: KeysFileMode
  readonly keys?: Keyring | undefined
  readonly isInsecure: boolean
}

/** Where files of keys are read: the file system, or a test. */
export interface KeysFiles {
  /** Loads a keyring. Throws ERR_NO_KEYS or ERR_KEYRING. */
  load(path: string, mode?: KeysFileMode): Keyring
  /** Returns a text that differs when another file is at this path or it was written. Rejects when there is none. */
  stateOf(path: string): Promise<string>
}

export const systemKeysFiles: KeysFiles = {
  load: (path, mode) => loadKeyring(path, mode),
  async stateOf(path) {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true })
    return [dev, ino, size, mtimeNs, ctimeNs].join(' ')
  },
}

/** Where systemd puts what LoadCredential= names, while the unit runs. */
export const CREDENTIALS_FOLDER = '/run/credentials/'

/** Whether a file is a credential of systemd that is not there, or that this user may not see. */
export function isHiddenCredential(path: string): boolean {
  return path.startsWith(CREDENTIALS_FOLDER) && !existsSync(path)
}

/**
 * Files of keys as a check reads them that is not the service itself. Root checks in the place of a user that is not
 * known: the service is taken to run as the owner and the group of the file. Of a credential that cannot be seen nothing
 * is checked.
 */
export const foreignKeysFiles: KeysFiles = {
  ...systemKeysFiles,
  load(path, mode) {
    if (isHiddenCredential(path)) return publicKeyring()
    const status = process.geteuid?.() === 0 ? statSync(path, { throwIfNoEntry: false }) : undefined
    return loadKeyring(path, mode, status && { uid: status.uid, groups: [status.gid] })
  },
}

/**
 * Returns the configured keyring, or the public one when there are no keys. Throws ERR_NO_KEYS or ERR_KEYRING when the
 * keys cannot be used, and ERR_INSECURE when the configured address, or `bound`, where this node listens already,
 * requires keys.
 */
export function keyringOf(
  settings: KeySettings,
  bound = settings.listen,
  files = systemKeysFiles,
): Keyring {
  const { listen, peers = [], repeaters = [], keysFile, keysFileMode, isInsecure } = settings
  const keyring = keysFile === undefined ? settings.keys : files.load(keysFile, keysFileMode)
  for (const address of [listen, bound]) {
    requireKeys(address, [...peers, ...repeaters], keyring !== undefined, isInsecure)
  }
  return keyring ?? publicKeyring()
}

/**
 * Throws ERR_INSECURE when session secrets would cross the network in clear: no keys, and an address
 * that is not loopback. Names other than `localhost` may lead anywhere, and a multicast group does.
 */
export function requireKeys(
  listen: HostAddress,
  peers: readonly PeerSource[],
  hasKeys: boolean,
  isInsecure: boolean,
): void {
  if (hasKeys || isInsecure) return
  const exposed = [listen, ...peers].find((source) => 'service' in source || !isLoopback(source))
  if (exposed === undefined) return
  throw new TlscachedError(
    'ERR_INSECURE',
    `replication with ${formatPeerSource(exposed)} needs keys, because it is not a loopback address: ` +
      'make some with "tlscached keygen", or set insecure: true to send sessions in clear',
  )
}

/** The keys of one node or repeater, which follow the file of keys between `start` and `stop`. */
export class ConfiguredKeys implements KeySource {
  readonly #world: World
  readonly #files: KeysFiles
  readonly #bound: HostAddress
  #settings: KeySettings
  #current: Keyring
  #isStarted = false
  #timer: Timer | undefined
  /** State of the file at the last poll, or the reason why it has none. */
  #lastSeen = ''
  /** State of the file that was last read, with or without success. */
  #lastTried = ''
  /** The poll in progress; it never rejects. A file system that hangs delays this one and nothing else. */
  #looking: Promise<void> | undefined

  /** Throws ERR_NO_KEYS, ERR_KEYRING or ERR_INSECURE. */
  constructor(settings: KeySettings, world: World, files = systemKeysFiles) {
    this.#world = world
    this.#files = files
    this.#bound = settings.listen
    this.#settings = settings
    this.#current = keyringOf(settings, settings.listen, files)
  }

  get current(): Keyring {
    return this.#current
  }

  get isEncrypted(): boolean {
    return this.#settings.keysFile !== undefined || this.#settings.keys !== undefined
  }

  /** Seconds since the file of keys was written; undefined without a file. */
  ageSec(): number | undefined {
    const { writtenWallMs } = this.#current
    if (writtenWallMs === undefined) return undefined
    return (this.#world.clock.wallMs() - writtenWallMs) / 1000
  }

  /** Follows the file from now on. It is read once more, because it may have changed since it was loaded. Idempotent. */
  start(): void {
    const { keysFile, keysFileMode } = this.#settings
    this.stop()
    this.#isStarted = true
    if (keysFile === undefined) return
    this.#lastSeen = ''
    this.#lastTried = ''
    const timer = every(this.#world.clock, LOOK_PERIOD_MS, () => {
      this.#looking ??= this.#look(keysFile, keysFileMode, timer).finally(() => {
        this.#looking = undefined
      })
    })
    this.#timer = timer
  }

  stop(): void {
    this.#isStarted = false
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** Resolves when no poll is in progress. */
  async settled(): Promise<void> {
    await this.#looking
  }

  /**
   * Uses other settings. The socket stays bound as it is, whatever they
   * say. Throws ERR_NO_KEYS, ERR_KEYRING or ERR_INSECURE, and then nothing has changed.
   */
  reload(settings: KeySettings): void {
    this.#current = keyringOf(settings, this.#bound, this.#files)
    this.#settings = settings
    if (this.#isStarted) this.start()
  }

  async #look(path: string, mode: KeysFileMode | undefined, timer: Timer): Promise<void> {
    const seen = await this.#files.stateOf(path).catch(messageOf)
    if (timer !== this.#timer) return
    const isStable = seen === this.#lastSeen
    this.#lastSeen = seen
    if (!isStable || seen === this.#lastTried) return
    this.#lastTried = seen
    const { logger } = this.#world
    try {
      const keyring = this.#files.load(path, mode)
      const isSame = keyring.hasSameKeys(this.#current)
      this.#current = keyring
      if (isSame) return
      logger.info({ keys: keyring.size }, 'the file of keys was changed and read again')
    } catch (error) {
      logger.error(
        { reason: messageOf(error) },
        'the file of keys cannot be used, the keys stay as they were',
      )
    }
  }
}
