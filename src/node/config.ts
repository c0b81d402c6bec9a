// The configuration of a node, complete and checked: the only form the rest of the program sees.

import type { LoggerOptions } from '../base/logger.ts'
import { NONE } from '../settings/forms.ts'
import { deepFreeze, parseTree, readSources, type SettingSources } from '../settings/read.ts'
import { addObject, ConfigTree, type ConvertedConfig } from '../settings/sources.ts'
import { type CacheLimits, itemsWithin } from '../store/limits.ts'
import { type TicketsConfig, toTicketsConfig } from '../tickets/settings.ts'
import { checkRules } from './config-rules.ts'
import {
  type ConfigInput,
  cacheSchema,
  configSchema,
  DEFAULT_CACHE_NAME,
  type ParsedConfig,
  settings,
} from './config-schema.ts'

export interface CacheConfig {
  readonly limits: CacheLimits
  /** Whether a get of a TLS 1.3 session removes it. */
  readonly singleUse: boolean
  /** Whether sessions made by resumed TLS 1.3 handshakes get a whole lifetime again. */
  readonly renew: boolean
  /** Whether changes of this cache are sent to our own nodes. */
  readonly isReplicated: boolean
}

/** Replication with nodes of this program; a multicast address in `listen` is a group to join. */
export type ReplicationConfig = Readonly<NonNullable<ReturnType<typeof toReplicationConfig>>>

/** A listener for uWSGI's own datagrams; a multicast address in `listen` is a group to join. */
export type UwsgiListenerConfig = Readonly<ReturnType<typeof toListenerConfig>>

/** Where each frontend listens, undefined for one that does not exist. */
export type FrontendsConfig = Readonly<ReturnType<typeof toFrontendsConfig>>

/**
 * The configuration of a node, complete and checked: times in milliseconds, addresses parsed, defaults filled in,
 * frozen.
 */
export interface NodeConfig {
  /** Name of this node, different on every node. */
  readonly nodeName: string
  /** The caches; the first one is the default of frontends that name none. Only a node with tickets may have none. */
  readonly caches: readonly CacheConfig[]
  /** Replication with nodes of this program; undefined for none. */
  readonly replication: ReplicationConfig | undefined
  /** Listeners for nodes of uWSGI, in its own datagrams. */
  readonly uwsgiListeners: readonly UwsgiListenerConfig[]
  /** Groups and targets of ticket keys; undefined for a node that makes none. */
  readonly tickets: TicketsConfig | undefined
  /** Where frontends listen; undefined for one that does not exist. */
  readonly frontends: FrontendsConfig
  /** Level and format of log lines. */
  readonly log: Pick<LoggerOptions, 'level' | 'format'>
  /** Longest time in milliseconds without a turn of the event loop of `serve`, which is then killed; 0 is off. */
  readonly watchdogMs: number
}

/** Returns the name and the path of each unix socket that a frontend listens on. */
export function unixSocketsOf(frontends: FrontendsConfig): [name: string, path: string][] {
  const { http, memcached, rpc, stats, uwsgi } = frontends
  return Object.entries({ http, memcached, rpc, stats, uwsgi }).flatMap(([name, address]) =>
    address !== undefined && 'path' in address ? [[name, address.path]] : [],
  )
}

export interface ConfigSources extends SettingSources {
  /** Name of the node when no source names it. */
  readonly hostName: string
}

/** Reads and checks a configuration. Throws a ConfigError with every mistake. */
export function readConfig(sources: ConfigSources): NodeConfig {
  return checkTree(readSources(sources, settings), sources.hostName)
}

/** Checks a configuration given as an object. Throws a ConfigError with every mistake. */
export function checkConfig(input: ConfigInput, hostName: string): NodeConfig {
  const tree = new ConfigTree()
  addObject(tree, { ...input })
  return checkTree(tree, hostName)
}

/**
 * Checks the converted file of another program, without environment and flags. Throws a ConfigError with every
 * mistake.
 */
export function checkConverted(converted: ConvertedConfig): NodeConfig {
  return readConfig({ converted, hostName: 'localhost' })
}

function checkTree(tree: ConfigTree, hostName: string): NodeConfig {
  checkRules(tree)
  return deepFreeze(toNodeConfig(parseTree(tree, configSchema, settings), hostName))
}

function toNodeConfig(parsed: ParsedConfig, hostName: string): NodeConfig {
  const { tickets } = parsed
  const fallback = tickets === undefined ? [cacheSchema.parse({ name: DEFAULT_CACHE_NAME })] : []
  const caches = parsed.caches ?? fallback
  const firstCache = caches[0]?.name ?? ''
  return {
    nodeName: parsed.node.name ?? hostName,
    caches: caches.map(toCacheConfig),
    replication: toReplicationConfig(parsed.replication),
    uwsgiListeners: (parsed.replication?.listeners ?? []).map((listener) =>
      toListenerConfig(listener, firstCache),
    ),
    tickets: tickets && toTicketsConfig(tickets, parsed.frontends.memcached_tickets),
    frontends: toFrontendsConfig(parsed, firstCache),
    log: parsed.log,
    watchdogMs: parsed.node.watchdog,
  }
}

function toCacheConfig(parsed: NonNullable<ParsedConfig['caches']>[number]): CacheConfig {
  const { name, keysize, blocksize, memory, timeout: timeoutMs, contexts, full } = parsed
  const items = Math.min(parsed.items, memory === undefined ? parsed.items : itemsWithin(memory))
  const limits = { name, items, keysize, blocksize, timeoutMs, full }
  return {
    limits: {
      ...limits,
      ...(memory !== undefined && { memoryBytes: memory }),
      ...(contexts !== undefined && { contexts }),
    },
    singleUse: parsed.single_use,
    renew: parsed.renew,
    isReplicated: parsed.replicate,
  }
}

type ParsedReplication = NonNullable<ParsedConfig['replication']>

function toListenerConfig(
  parsed: NonNullable<ParsedReplication['listeners']>[number],
  firstCache: string,
) {
  return {
    listen: parsed.listen,
    peers: parsed.peers ?? [],
    cache: parsed.cache ?? firstCache,
    interface: parsed.interface,
    multicastTtl: parsed.multicast_ttl,
  }
}

function toFrontendsConfig({ frontends }: ParsedConfig, firstCache: string) {
  const { http, memcached, sessiond, rpc, stats, uwsgi } = frontends
  return {
    http: http === NONE ? undefined : http,
    /** Host names that a request may have besides localhost and IP addresses. */
    httpHosts: frontends.http_hosts ?? [],
    memcached: memcached === NONE ? undefined : memcached,
    /** The group whose ticket keys memcached serves; undefined for none. */
    memcachedTickets: frontends.memcached_tickets,
    sessiond,
    sessiondRemove: frontends.sessiond_remove,
    rpc: rpc === NONE ? undefined : rpc,
    stats,
    uwsgi: uwsgi === NONE ? undefined : uwsgi,
    /** Name of the cache for protocols and commands that name none. */
    cache: frontends.cache ?? firstCache,
    /** Whether sessions may cross the network in clear. */
    isInsecure: frontends.insecure,
  }
}

function toReplicationConfig(parsed: ParsedReplication | undefined) {
  if (parsed?.listen === undefined) return undefined
  return {
    listen: parsed.listen,
    peers: parsed.peers ?? [],
    /** Repeaters pass on what this node sends, and let it know where its peers are. */
    repeaters: parsed.repeaters ?? [],
    keysFile: parsed.keys_file,
    keysFileMode: parsed.keys_file_mode,
    keys: parsed.keys,
    isInsecure: parsed.insecure,
    interface: parsed.interface,
    multicastTtl: parsed.multicast_ttl,
    maxDatagramBytes: parsed.max_datagram,
    /** Time between two comparisons with a peer. */
    digestIntervalMs: parsed.digest_interval,
    /** Nothing is accepted from a node whose highest protocol version is below this one. */
    minimumVersion: parsed.minimum_version,
  }
}

/** Returns everything that a reload does not change, as text to compare. */
export function fixedPartsOf({ replication, ...config }: NodeConfig): string {
  const fixed = replication && {
    ...replication,
    peers: 0,
    repeaters: 0,
    keys: 0,
    keysFile: 0,
    isInsecure: 0,
  }
  return JSON.stringify({ ...config, replication: fixed })
}
