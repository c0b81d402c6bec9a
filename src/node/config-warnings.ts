// Warns of settings that are valid but will hardly work as meant. It is for `tlscached check`, and examines files and
// folders as they are on this machine now.

import { createHash } from 'node:crypto'
import { statSync } from 'node:fs'
import { isIP } from 'node:net'
import { dirname } from 'node:path'
import { formatAddress, isLoopback } from '../base/address.ts'
import { type CacheConfig, type NodeConfig, unixSocketsOf } from './config.ts'
import { CREDENTIALS_FOLDER, isHiddenCredential } from './keys.ts'

export interface ConfigWarning {
  /** Dotted key of the setting, as in `caches[0].contexts`. */
  readonly key: string
  readonly message: string
}

/** A session ID context of Apache: an MD5 in lower-case hexadecimal digits. */
const APACHE_CONTEXT = /^[0-9a-f]{32}$/
/** The context of every session of nghttpx. */
const NGHTTPX_CONTEXT = 'shrpx'
const PRINTABLE = /^[\x20-\x7e]+$/
const GROUP_AND_OTHERS = 0o077
const DEFAULT_TLS_PORT = 443

/** Returns all warnings. `uid` is the user that runs the check, undefined on systems without user IDs. */
export function findWarnings(config: NodeConfig, uid = process.getuid?.()): ConfigWarning[] {
  const caches = config.caches.flatMap((cache, index) => [
    ...contextWarnings(config, cache, `caches[${index}].contexts`),
    ...reachWarnings(config, cache, `caches[${index}]`),
  ])
  return [
    ...caches,
    ...loopbackWarnings(config),
    ...folderWarnings(config),
    ...keysWarnings(config, uid),
  ]
}

/**
 * Warns of contexts that no session of Apache has. Over memcached the context is the one in the session's own bytes, where
 * the TLS server has put it. A text is right behind sessiond, where it is the name of a service of stunnel.
 */
function contextWarnings({ frontends }: NodeConfig, cache: CacheConfig, key: string) {
  const { name, contexts = [] } = cache.limits
  const { memcached, sessiond } = frontends
  if (frontends.cache !== name || memcached === undefined || sessiond !== undefined) return []
  const warnings: ConfigWarning[] = []
  for (const context of contexts) {
    const text = Buffer.from(context).toString('latin1')
    if (!PRINTABLE.test(text) || APACHE_CONTEXT.test(text) || text === NGHTTPX_CONTEXT) continue
    const example = `${text}:${DEFAULT_TLS_PORT}`
    const hash = createHash('md5').update(example).digest('hex')
    const message = `"${text}" is text, but the sessions of Apache, which come over frontends.memcached, carry the MD5 of "ServerName:port" in hex: for "${example}" that is ${hash}`
    warnings.push({ key, message })
  }
  return warnings
}

/**
 * Warns of a cache that nothing reaches. HTTP, rpc and uwsgi reach every cache, memcached and sessiond the one of
 * `frontends.cache`, and a listener for uWSGI nodes its own.
 */
function reachWarnings(
  { frontends, uwsgiListeners }: NodeConfig,
  { limits }: CacheConfig,
  key: string,
) {
  const { http, rpc, uwsgi, memcached, sessiond } = frontends
  const { name } = limits
  const isReached =
    [http, rpc, uwsgi].some((frontend) => frontend !== undefined) ||
    (frontends.cache === name && (memcached ?? sessiond) !== undefined) ||
    uwsgiListeners.some(({ cache }) => cache === name)
  if (isReached) return []
  const message = `no frontend reaches the cache "${name}": nobody can get or put a session here`
  return [{ key, message }]
}

/** Warns of peers elsewhere that a node on loopback cannot send to, nor they to it. */
function loopbackWarnings({ replication }: NodeConfig): ConfigWarning[] {
  if (replication === undefined || !isLoopback(replication.listen)) return []
  const { listen, peers, repeaters } = replication
  const elsewhere = [...peers, ...repeaters].find(
    (one) => 'host' in one && isIP(one.host) !== 0 && !isLoopback(one),
  )
  if (elsewhere === undefined || !('host' in elsewhere)) return []
  const message = `${formatAddress(listen)} is an address of loopback, from which nothing passes to ${formatAddress(elsewhere)}: take an address of this machine that the others reach`
  return [{ key: 'replication.listen', message }]
}

function folderWarnings({ frontends }: NodeConfig): ConfigWarning[] {
  const warnings: ConfigWarning[] = []
  for (const [name, path] of unixSocketsOf(frontends)) {
    const folder = dirname(path)
    if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() === true) continue
    const message = `there is no folder ${folder} on this machine: make it, or let RuntimeDirectory= of the unit make it`
    warnings.push({ key: `frontends.${name}`, message })
  }
  return warnings
}

/** Warns of a file of keys that is not there yet, and, when root runs the check, of one that the service may not take. */
function keysWarnings({ replication }: NodeConfig, uid: number | undefined): ConfigWarning[] {
  const file = replication?.keysFile
  if (file === undefined) return []
  const warn = (message: string) => [{ key: 'replication.keys_file', message }]
  if (isHiddenCredential(file)) {
    return warn(`${file} was not checked: systemd shows it to the unit alone, while that runs`)
  }
  if (uid !== 0 || file.startsWith(CREDENTIALS_FOLDER)) return []
  const status = statSync(file, { throwIfNoEntry: false })
  if (status === undefined) return []
  if (status.uid !== 0) {
    return warn(
      `${file} belongs to user ${status.uid}: only a node that runs as that user takes it`,
    )
  }
  if ((status.mode & GROUP_AND_OTHERS) !== 0) return []
  return warn(
    `only root can read ${file}: a unit with User= needs it as LoadCredential=, or owned by that user`,
  )
}
