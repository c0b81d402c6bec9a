// The keys of a cluster and the file that they are in: the first one seals, all of them open. A keyring holds secrets
// and never shows them.

import { createHash, createSecretKey, hkdfSync, type KeyObject } from 'node:crypto'
import type { Stats } from 'node:fs'
import { inspect } from 'node:util'
import { codeOf, messageOf, TlscachedError } from '../base/errors.ts'
import { hideKeys } from '../base/hidden-keys.ts'
import { readRegularFile } from '../base/regular-file.ts'
import type { RandomSource } from '../base/world.ts'
import type { Form } from './datagram.ts'

export const KEY_BYTES = 32
const NO_SALT = Buffer.alloc(0)
/** Most keys in a keyring; a rotation needs two at a time. */
const MAX_KEYS = 64

const SENDER_KEY_INFO = { 1: 'tlscached replication 1', 2: 'tlscached replication 2' } as const
const NONCE_KEY_INFO = 'tlscached replication 2 nonce'
const SYNC_KEY_INFO = 'tlscached sync 1'
const RINGS_KEY_INFO = 'tlscached rings 1'
/** A key of 32 bytes in base64: 43 digits and one padding character. */
const KEY_PATTERN = /^[A-Za-z0-9+/]{43}=$/

export interface KeyringSource {
  /** When the file of keys was last written, in ms since 1970; undefined when there is no file. */
  readonly writtenWallMs?: number
}

export class Keyring {
  /** ID of the key that seals. */
  readonly primaryKeyId: number
  readonly writtenWallMs: number | undefined
  readonly #keys: ReadonlyMap<number, KeyObject>
  #ringsKeys: readonly Buffer[] | undefined

  /** Makes a keyring of 1..64 different keys of KEY_BYTES each, the primary one first. Throws ERR_KEYRING. */
  constructor(keys: readonly Uint8Array[], source: KeyringSource = {}) {
    const byId = new Map<number, KeyObject>()
    for (const [index, key] of keys.entries()) {
      if (key.length !== KEY_BYTES) {
        throw keyringError(`key ${index + 1} has ${key.length} bytes, not ${KEY_BYTES}`)
      }
      const keyId = keyIdOf(key)
      if (byId.has(keyId)) throw keyringError(`key ${index + 1} is there twice`)
      byId.set(keyId, createSecretKey(key))
    }
    const [primaryKeyId] = byId.keys()
    if (primaryKeyId === undefined) throw keyringError('there is no key')
    if (byId.size > MAX_KEYS) throw keyringError(`there are more than ${MAX_KEYS} keys`)
    this.primaryKeyId = primaryKeyId
    this.writtenWallMs = source.writtenWallMs
    this.#keys = byId
  }

  get size(): number {
    return this.#keys.size
  }

  /** IDs of the keys in their order, the primary one first; an ID tells nothing about its key. */
  get keyIds(): readonly number[] {
    return [...this.#keys.keys()]
  }

  /** Whether both keyrings have the same keys, by their IDs, in the same order. */
  hasSameKeys(other: Keyring): boolean {
    return this.keyIds.join() === other.keyIds.join()
  }

  has(keyId: number): boolean {
    return this.#keys.has(keyId)
  }

  /** The key under which one boot of one sender seals in a form; undefined when the key ID is not in the ring. */
  senderKey(
    keyId: number,
    senderId: Uint8Array,
    bootId: Uint8Array,
    form: Form = 1,
  ): KeyObject | undefined {
    const key = this.#derive(keyId, Buffer.concat([senderId, bootId]), SENDER_KEY_INFO[form])
    return key && createSecretKey(key)
  }

  /** The key of the hash that makes the nonces of form 2; undefined when the key ID is not in the ring. */
  nonceKey(keyId: number, senderId: Uint8Array, bootId: Uint8Array): Buffer | undefined {
    return this.#derive(keyId, Buffer.concat([senderId, bootId]), NONCE_KEY_INFO)
  }

  /** The pre-shared key of TLS connections between nodes; undefined when the key ID is not in the ring. */
  syncKey(keyId: number): Buffer | undefined {
    return this.#derive(keyId, NO_SALT, SYNC_KEY_INFO)
  }

  /** Keys of the hash over rings of ticket keys that greetings have, one for each key, the primary one first. */
  get ringsKeys(): readonly Buffer[] {
    this.#ringsKeys ??= [...this.#keys.values()].map((key) => derive(key, NO_SALT, RINGS_KEY_INFO))
    return this.#ringsKeys
  }

  #derive(keyId: number, salt: Uint8Array, info: string): Buffer | undefined {
    const key = this.#keys.get(keyId)
    return key && derive(key, salt, info)
  }

  toString(): string {
    return `Keyring(${this.size} keys)`
  }

  toJSON(): { keys: number } {
    return { keys: this.size }
  }

  [inspect.custom](): string {
    return this.toString()
  }
}

/**
 * Parses keys as text: one a line in base64, blank lines and lines that start with `#` left out.
 * Throws ERR_KEYRING with the number of the line, never with its text.
 */
export function parseKeyring(text: string, source: KeyringSource = {}): Keyring {
  const keys: Buffer[] = []
  const lineOfKey = new Map<string, number>()
  for (const [index, rawLine] of text.split('\n').entries()) {
    const lineNumber = index + 1
    const line = rawLine.trim()
    if (line === '' || line.startsWith('#')) continue
    const key = parseKey(line)
    if (key === undefined) {
      throw keyringError(`line ${lineNumber} is not ${KEY_BYTES} bytes in base64`)
    }
    const firstLine = lineOfKey.get(line)
    if (firstLine !== undefined) {
      throw keyringError(`line ${lineNumber} repeats the key of line ${firstLine}`)
    }
    lineOfKey.set(line, lineNumber)
    keys.push(key)
  }
  return new Keyring(keys, source)
}

/** The key that this text spells, or undefined when it is no key. */
export function parseKey(text: string): Buffer | undefined {
  if (!KEY_PATTERN.test(text)) return undefined
  const key = Buffer.from(text, 'base64')
  // Two bits of the last digit belong to no byte: only the spelling with zeros in them is accepted.
  return key.toString('base64') === text ? key : undefined
}

/** A new key as a line of a keyring. */
export function generateKey(random: RandomSource): string {
  return random(KEY_BYTES).toString('base64')
}

/**
 * The keyring of nodes that run without keys, on loopback or with `insecure: true`. Everybody knows its key: it
 * protects nothing, but all nodes share one code path, and nodes with and without keys do not understand each other.
 */
export function publicKeyring(): Keyring {
  return new Keyring([
    createHash('sha256').update('tlscached public key, protects nothing').digest(),
  ])
}

/** The source of the current keyring. Code that seals, opens or shakes hands asks it each time, because keys rotate. */
export interface KeySource {
  readonly current: Keyring
}

/** ID of a key: the first bytes of a hash, which identify the key and reveal nothing about it. */
function keyIdOf(key: Uint8Array): number {
  return createHash('sha256').update('tlscached key id').update(key).digest().readUInt32BE(0)
}

/** A key ID as it is shown and as TLS between nodes names it: eight hex digits. */
export function formatKeyId(keyId: number): string {
  return keyId.toString(16).padStart(8, '0')
}

function derive(key: KeyObject, salt: Uint8Array, info: string): Buffer {
  return Buffer.from(hkdfSync('sha256', key, salt, info, KEY_BYTES))
}

function keyringError(message: string): TlscachedError {
  return new TlscachedError('ERR_KEYRING', `keyring: ${message}`)
}

// Loads a keyring from a file, if only root, this process and its groups have access to the file.

/** Which files are accepted. `private`: those that `whyNotPrivate` finds private. `any`: all, with any permissions. */
export const KEYS_FILE_MODES = ['private', 'any'] as const
export type KeysFileMode = (typeof KEYS_FILE_MODES)[number]

/** The end of an error about permissions: the setting with which the file is accepted nevertheless. */
const OVERRIDE = 'set replication.keys_file_mode: any (of repeat: --keys-file-mode any)'

const GROUP_BITS = 0o070
const OTHER_BITS = 0o007
const ROOT = 0
/** Largest file; 64 keys with comments take far less. */
const MAX_FILE_BYTES = 65_536

/** The effective user and the groups of this process, by which the kernel decides about its access. */
export interface ProcessOwner {
  readonly uid: number
  /** The effective group and all supplementary groups. */
  readonly groups: readonly number[]
}

/**
 * Loads a keyring. Throws ERR_NO_KEYS when there is no file, ERR_KEYRING when it is unreadable, not private or wrong.
 */
export function loadKeyring(
  path: string,
  mode: KeysFileMode = 'private',
  owner = ownerOfProcess(),
): Keyring {
  try {
    const { text, status } = readRegularFile(path, MAX_FILE_BYTES, (status) => {
      const reason = mode === 'any' ? undefined : whyNotPrivate(status, owner)
      if (reason !== undefined) throw new Error(`${reason}, or ${OVERRIDE}`)
    })
    return parseKeyring(text, { writtenWallMs: status.mtimeMs })
  } catch (error) {
    if (codeOf(error) === 'ENOENT') throw new TlscachedError('ERR_NO_KEYS', missing(hideKeys(path)))
    const message = `${path}: ${messageOf(error)}`
    // When somebody wrote a key in the place of the path, the cause would contain it, too.
    const isPath = hideKeys(path) === path
    throw new TlscachedError('ERR_KEYRING', message, isPath ? { cause: error } : {})
  }
}

function missing(path: string): string {
  return (
    `replication.keys_file (of repeat: --keys-file): there is no ${path}; ` +
    `make it with "tlscached keygen --out ${path}" and copy it to every node`
  )
}

/**
 * Says who else than root, this process and its groups has access to the file, and what to do about it; undefined when
 * nobody has. With an access control list the group's bits are its mask, so a list that gives access to others counts
 * as access of the group.
 */
export function whyNotPrivate(
  { mode, uid, gid }: Pick<Stats, 'mode' | 'uid' | 'gid'>,
  owner: ProcessOwner,
): string | undefined {
  if ((mode & OTHER_BITS) !== 0) return 'everybody has access to it: run chmod 600 on it'
  if (uid !== ROOT && uid !== owner.uid) {
    return `its owner, user ${uid}, is neither root nor the user of this process, ${owner.uid}: run chown on it`
  }
  const isOurGroup = gid === ROOT || owner.groups.includes(gid)
  if ((mode & GROUP_BITS) === 0 || isOurGroup) return undefined
  return `group ${gid}, which this process is not in, has access to it: run chmod 600 on it`
}

function ownerOfProcess(): ProcessOwner {
  const { geteuid, getegid, getgroups } = process
  return { uid: geteuid?.() ?? ROOT, groups: [getegid?.() ?? ROOT, ...(getgroups?.() ?? [])] }
}
