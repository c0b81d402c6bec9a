// The kinds of terminators: for each the files that give it the keys of a view, and what it asks of the runner.

import { dirname, join } from 'node:path'
import type { Clock } from '../../base/world.ts'
import { joinedKeys, keyBytes, nginxKey } from '../layouts/binary.ts'
import { caddyStek } from '../layouts/caddy-stek.ts'
import { linesOf } from '../layouts/haproxy-socket.ts'
import {
  base64Lines,
  envoySecret,
  HAPROXY_SLOTS,
  h2oFile,
  haproxyFile,
  haproxyKeys,
  jsonKeys,
  nghttpxKeys,
  nginxInclude,
  stunnelOptions,
} from '../layouts/key-files.ts'
import { ciliumSecret, genericSecret } from '../layouts/kubernetes.ts'
import { openedKeys, type RingView } from '../rule.ts'
import type { TicketKey } from '../ticket-key.ts'
import type { RingTimes, TerminatorLimits } from '../times.ts'
import type { Command } from './command.ts'
import { pushKeys } from './haproxy.ts'
import { applySecret, POD_API, POD_CREDENTIALS } from './kubernetes.ts'
import { lighttpdTarget } from './lighttpd.ts'
import { reloadPauseMs } from './runner.ts'
import { findOwner, type Owner, type SecretFileOptions } from './secret-file.ts'
import type { Moment, Target } from './target.ts'
import { type SettingsOf, type TargetSettings, targetName } from './target-schema.ts'

/** Keys of a terminator that takes as many as a ring has. */
const ANY_KEYS = 8
/** The files of nghttpx without their ends, in the order of `nghttpxKeys`. */
const NGHTTPX_FILES = ['current', 'next', 'previous', 'older']
const LIGHTTPD_POLL_MS = 70_000
const H2O_POLL_MS = 10_000
/** Caddy reads its file at a time that the file names; it is always so many writes ahead. */
const CADDY_WRITES_AHEAD = 3

export interface TargetContext {
  /** The times of the group of the target. */
  readonly times: RingTimes
  readonly clock: Clock
  /** Finds a user by name; a test gives its own. */
  readonly ownerOf?: (text: string) => Owner
}

/** What a target asks of the times of its ring, which change a key every `rotateMs`. */
export function terminatorLimits(target: TargetSettings, rotateMs: number): TerminatorLimits {
  const { kind } = target
  // A key waits for the reload pause at worst, as it would wait for a poll.
  const reloadMs = isReloaded(target) ? reloadPauseMs(rotateMs) : 0
  switch (kind) {
    case 'nginx':
    case 'envoy':
    case 'file':
    case 'kubernetes-secret':
      return { kind, pollMs: reloadMs, keysHeld: ANY_KEYS }
    case 'haproxy':
      return { kind, pollMs: reloadMs, keysHeld: HAPROXY_SLOTS }
    case 'nghttpx':
      return { kind, pollMs: reloadMs, keysHeld: NGHTTPX_FILES.length }
    case 'apache':
    case 'stunnel':
      return { kind, pollMs: reloadMs, keysHeld: 1 }
    case 'lighttpd':
      return { kind, pollMs: LIGHTTPD_POLL_MS, keysHeld: 3 }
    case 'caddy':
      return { kind, pollMs: CADDY_WRITES_AHEAD * target.poll, keysHeld: ANY_KEYS }
    case 'h2o':
      return { kind, pollMs: H2O_POLL_MS, keysHeld: ANY_KEYS }
  }
}

/** Whether the terminator reads its files at a reload only, whoever gives the command for that. */
function isReloaded(target: TargetSettings): boolean {
  switch (target.kind) {
    case 'nginx':
    case 'nghttpx':
    case 'stunnel':
    case 'apache':
      return true
    case 'haproxy':
      return target.socket === undefined
    case 'file':
      return target.reload !== undefined
    default:
      return false
  }
}

/** Returns what the runner needs to know of a target. Throws ERR_CONFIG when there is no such owner. */
export function createTarget(settings: TargetSettings, context: TargetContext): Target {
  switch (settings.kind) {
    case 'nginx':
      return nginx(settings, context)
    case 'haproxy':
      return haproxy(settings, context)
    case 'caddy':
      return caddy(settings, context)
    case 'nghttpx':
      return nghttpx(settings, context)
    case 'h2o':
      return h2o(settings, context)
    case 'envoy': {
      const secret = settings.secret ?? settings.group
      return oneFile(settings, context, (view) => envoySecret(secret, openedOf(view)))
    }
    case 'file': {
      const target = oneFile(settings, context, (view) => programFile(settings, view))
      return settings.format === 'json' ? { ...target, shown: shownUses } : target
    }
    case 'apache':
      return oneKey(settings, context, settings.file, (key) => keyBytes(key, 'hmac_aes', 48))
    case 'stunnel': {
      const target = oneKey(settings, context, join(settings.dir, 'ticket.conf'), stunnelOptions)
      // stunnel reads every file of the folder.
      const fileOptions = { ...target.fileOptions, temporaryFolder: dirname(settings.dir) }
      return { ...target, fileOptions }
    }
    case 'lighttpd':
      return lighttpdTarget(basicsOf(settings, context), settings.file, context.times)
    case 'kubernetes-secret':
      return kubernetesSecret(settings, context)
  }
}

function nginx(settings: SettingsOf<'nginx'>, context: TargetContext): Target {
  const { dir } = settings
  return {
    ...basicsOf(settings, context),
    leftovers: { folder: dir, pattern: /^[0-9a-f]{32}\.key$/ },
    shown: shownNames,
    deliver(view) {
      const keys = openedOf(view)
      const files = keys.map((key) => ({
        path: join(dir, `${key.hexName}.key`),
        bytes: nginxKey(key, 80),
        isConstant: true,
      }))
      const include = { path: join(dir, 'tickets.conf'), bytes: nginxInclude(dir, keys) }
      return { files: [...files, include] }
    },
  }
}

function haproxy(settings: SettingsOf<'haproxy'>, context: TargetContext): Target {
  const { file, socket } = settings
  const { times } = context
  const target: Target = {
    ...basicsOf(settings, context),
    shown: (view) => namesOf(haproxyKeys(view, times)),
    deliver: (view) => ({ files: [{ path: file, bytes: haproxyFile(view, times, 80) }] }),
  }
  if (socket === undefined) return target
  return {
    ...target,
    reload: undefined,
    deliver(view, moment) {
      const lines = haproxyFile(view, times, 80)
      const wanted = [...linesOf(lines)]
      const { clock } = context
      return {
        ...target.deliver(view, moment),
        push: () => pushKeys({ path: socket, file, clock }, wanted),
        erase: () => lines.fill(0),
      }
    },
  }
}

function caddy(settings: SettingsOf<'caddy'>, context: TargetContext): Target {
  const { poll: pollMs } = settings
  const layout = (view: RingView, { wallMs }: Moment) =>
    caddyStek(openedOf(view), {
      lastRotationMs: wallMs,
      nextRotationMs: wallMs + CADDY_WRITES_AHEAD * pollMs,
    })
  const target = oneFile(settings, context, layout)
  const fileOptions = { ...target.fileOptions, ...folderOwner(settings, context.ownerOf) }
  return { ...target, fileOptions, repeatMs: pollMs }
}

/**
 * The owner of the folders that are made for a target. Caddy makes locks, and keys of its own while the node is silent, in
 * the storage that the file is in. Other terminators only read.
 */
export function folderOwner(
  settings: TargetSettings,
  ownerOf = findOwner,
): Pick<SecretFileOptions, 'folderOwner'> {
  if (settings.kind !== 'caddy' || settings.owner === undefined) return {}
  return { folderOwner: ownerOf(settings.owner) }
}

function h2o(settings: SettingsOf<'h2o'>, context: TargetContext): Target {
  const { times } = context
  let changedSec = 0
  return {
    ...basicsOf(settings, context),
    shown: shownUses,
    hasTimes: true,
    deliver(view, now) {
      // h2o looks whether the second of the change is another one: of two changes in a second it may miss the later one.
      changedSec = Math.max(Math.floor(now.wallMs / 1000), changedSec + 1)
      const bytes = h2oFile(view, times, now)
      return { files: [{ path: settings.file, bytes, changedMs: 1000 * changedSec }] }
    },
  }
}

function nghttpx(settings: SettingsOf<'nghttpx'>, context: TargetContext): Target {
  const { times } = context
  return {
    ...basicsOf(settings, context),
    shown: (view) => namesOf(nghttpxKeys(view, times)),
    deliver(view) {
      const files = nghttpxKeys(view, times).map((key, index) => ({
        path: join(settings.dir, `${NGHTTPX_FILES[index]}.key`),
        bytes: keyBytes(key, 'aes_hmac', 80),
      }))
      return { files }
    },
  }
}

function programFile(settings: SettingsOf<'file'>, view: RingView): Buffer {
  const { format, order, bits, group } = settings
  const size = bits === '128' ? 48 : 80
  switch (format) {
    case 'raw':
      return joinedKeys(openedOf(view), order, size)
    case 'base64':
      return base64Lines(openedOf(view), order, size)
    case 'json':
      return jsonKeys(group, view)
  }
}

function kubernetesSecret(
  settings: SettingsOf<'kubernetes-secret'>,
  { times, clock }: TargetContext,
): Target {
  const { kind, group, namespace, secret: name, format, api = POD_API } = settings
  const { credentials = POD_CREDENTIALS } = settings
  const place = { namespace, name }
  return {
    ...{ name: targetName(settings), kind, group, isReloaded: false },
    limits: terminatorLimits(settings, times.rotateMs),
    fileOptions: { mode: 0o400, allowDisk: settings.allow_disk },
    shown: format === 'generic' ? shownUses : shownNames,
    deliver(view) {
      const body =
        format === 'cilium' ? ciliumSecret(place, view) : genericSecret(place, group, view)
      const secretApi = { url: api, credentials, place, clock }
      return {
        files: [],
        push: () => applySecret(secretApi, body),
        erase: () => body.fill(0),
      }
    },
  }
}

type FileSettings = Exclude<TargetSettings, { kind: 'kubernetes-secret' }>

/** A terminator that reads all keys from one file. */
function oneFile(
  settings: Extract<FileSettings, { file: string }>,
  context: TargetContext,
  layout: (view: RingView, moment: Moment) => Buffer,
): Target {
  return {
    ...basicsOf(settings, context),
    shown: shownNames,
    deliver: (view, moment) => ({
      files: [{ path: settings.file, bytes: layout(view, moment) }],
    }),
  }
}

/** A terminator that holds one key: the one that is minted. */
function oneKey(
  settings: FileSettings,
  context: TargetContext,
  path: string,
  layout: (key: TicketKey) => Buffer,
): Target {
  return {
    ...basicsOf(settings, context),
    shown: ({ current }) => current?.key.hexName ?? '',
    deliver: ({ current }) => ({
      files: current === undefined ? [] : [{ path, bytes: layout(current.key) }],
    }),
  }
}

function basicsOf(
  settings: FileSettings,
  { times, ownerOf = findOwner }: TargetContext,
): Omit<Target, 'shown' | 'deliver'> {
  const { kind, group, owner, mode } = settings
  const fileOptions: SecretFileOptions = {
    mode: Number.parseInt(mode, 8),
    allowDisk: settings.allow_disk,
    ...(owner !== undefined && { owner: ownerOf(owner) }),
  }
  return {
    ...{ name: targetName(settings), kind, group, fileOptions, isReloaded: isReloaded(settings) },
    limits: terminatorLimits(settings, times.rotateMs),
    check: 'check' in settings ? commandOf(settings.check) : undefined,
    reload: 'reload' in settings ? commandOf(settings.reload) : undefined,
  }
}

function commandOf(words: readonly string[] | undefined): Command | undefined {
  const [program, ...args] = words ?? []
  return program === undefined ? undefined : [program, ...args]
}

function openedOf(view: RingView): TicketKey[] {
  return openedKeys(view).map(({ key }) => key)
}

function shownNames(view: RingView): string {
  return namesOf(openedOf(view))
}

/** Names, and which of the keys are still to come. */
function shownUses(view: RingView): string {
  const names = shownNames(view)
  return names === '' ? '' : `${view.next.length},${names}`
}

function namesOf(keys: readonly TicketKey[]): string {
  return keys.map(({ hexName }) => hexName).join()
}
