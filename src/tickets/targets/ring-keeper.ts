// Keeps the ring of a group beside the files of its first target, in memory as those are, so that a node that is started
// again has the keys that its terminators hold, also when no peer answers. A write that fails leaves no file: an old one
// would bring revoked keys back.

import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { codeOf } from '../../base/errors.ts'
import type { Clock, Logger, Timer, World } from '../../base/world.ts'
import type { TicketAuthority } from '../authority.ts'
import {
  type BootClock,
  decodeKeptRing,
  encodeKeptRing,
  MAX_KEPT_BYTES,
  type MachineTime,
  systemBootClock,
} from '../kept-ring.ts'
import { folderOwner } from './kinds.ts'
import {
  type SecretFileOptions,
  type SecretFileSystem,
  secretFileSystem,
  writeSecretFile,
} from './secret-file.ts'
import type { TargetFailure } from './target.ts'
import type { TargetSettings } from './target-schema.ts'

const RETRY_MS = 30_000
const KEPT_MODE = 0o600

export interface RingKeeperOptions {
  readonly group: string
  readonly authority: TicketAuthority
  readonly place: KeptPlace
  readonly world: Pick<World, 'clock' | 'logger'>
  readonly onFailure: (failure: TargetFailure) => void
  readonly boot?: BootClock | undefined
  readonly files?: SecretFileSystem
}

/** Where a ring is kept. */
export interface KeptPlace {
  readonly path: string
  readonly fileOptions: SecretFileOptions
}

/** The place beside the files of a target; undefined for a target without files. */
export function keptPlace(target: TargetSettings): KeptPlace | undefined {
  if (target.kind === 'kubernetes-secret') return undefined
  // A folder is made for the ring or for the keys, whichever is written first.
  const fileOptions = { mode: KEPT_MODE, allowDisk: target.allow_disk, ...folderOwner(target) }
  if ('file' in target) {
    const path = join(dirname(target.file), `.${basename(target.file)}.ring`)
    return { path, fileOptions }
  }
  // stunnel reads every file of its folder.
  const isBeside = target.kind === 'stunnel'
  const path = isBeside
    ? join(dirname(target.dir), `.${basename(target.dir)}.ring`)
    : join(target.dir, '.tlscached.ring')
  return { path, fileOptions }
}

export class RingKeeper {
  readonly #group: string
  readonly #authority: TicketAuthority
  readonly #place: KeptPlace
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #onFailure: (failure: TargetFailure) => void
  readonly #boot: BootClock
  readonly #files: SecretFileSystem
  #unsubscribe: (() => void) | undefined
  #retry: Timer | undefined
  #saving: Promise<void> | undefined
  #isChanged = false

  constructor(options: RingKeeperOptions) {
    const { group, authority, place, world, onFailure, boot, files } = options
    this.#group = group
    this.#authority = authority
    this.#place = place
    this.#clock = world.clock
    this.#logger = world.logger
    this.#onFailure = onFailure
    this.#boot = boot ?? systemBootClock
    this.#files = files ?? secretFileSystem
  }

  /** Gives the authority what an earlier process kept, if it did since the machine was started. */
  restore(): void {
    const { path } = this.#place
    const { bootId } = this.#boot
    if (bootId === undefined) return
    let bytes: Buffer | undefined
    try {
      bytes = readOwnFile(path)
      const kept = decodeKeptRing(bytes, this.#time(bootId))
      if (kept !== undefined) this.#authority.restore(this.#group, kept)
      else this.#logger.warn({ group: this.#group }, `${path} has no ticket keys of this boot`)
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return
      this.#logger.warn({ group: this.#group, reason: codeOf(error) }, `${path} cannot be read`)
    } finally {
      bytes?.fill(0)
    }
  }

  /** Keeps the ring from here on. */
  start(): void {
    this.#unsubscribe ??= this.#authority.source(this.#group)?.onChange(() => this.#save())
    this.#save()
  }

  /** Writes the ring a last time, with the ages that are known now. */
  async stop(): Promise<void> {
    if (this.#unsubscribe === undefined) return
    this.#unsubscribe()
    this.#unsubscribe = undefined
    this.#save()
    while (this.#saving !== undefined) await this.#saving
    this.#retry?.cancel()
  }

  #time(bootId: string): MachineTime {
    const bootedMs = this.#boot.monotonicMs()
    return {
      bootId,
      skewMs: bootedMs - this.#clock.monotonicMs(),
      aheadMs: this.#clock.wallMs() - bootedMs,
    }
  }

  #save(): void {
    this.#isChanged = true
    this.#saving ??= this.#write().finally(() => {
      this.#saving = undefined
      if (this.#isChanged) this.#save()
    })
  }

  async #write(): Promise<void> {
    this.#isChanged = false
    this.#retry?.cancel()
    const { bootId } = this.#boot
    const ring = this.#authority.kept(this.#group)
    if (bootId === undefined || ring === undefined || ring.keys.length === 0) return
    const { path, fileOptions } = this.#place
    const bytes = encodeKeptRing(ring, this.#time(bootId))
    const failure = await writeSecretFile(path, bytes, fileOptions, this.#files)
    bytes.fill(0)
    if (failure === undefined) return
    await this.#files.unlink(path).catch(() => {})
    this.#onFailure(failure)
    this.#retry = this.#clock.after(RETRY_MS, () => this.#save())
  }
}

/** Reads a file of this user that is no longer than a ring; throws when it is none. */
function readOwnFile(path: string): Buffer {
  const descriptor = openSync(
    path,
    constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
  )
  try {
    const status = fstatSync(descriptor)
    const isOwn = status.isFile() && status.uid === process.geteuid?.()
    if (!isOwn || status.size > MAX_KEPT_BYTES) throw new Error('not a file of this user')
    const bytes = Buffer.alloc(status.size)
    readSync(descriptor, bytes)
    return bytes
  } finally {
    closeSync(descriptor)
  }
}
