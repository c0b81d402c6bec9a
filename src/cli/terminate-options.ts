// The options of `tlscached terminate`: their forms, bounds and defaults, and the configuration that they make.

import { availableParallelism } from 'node:os'
import { type Command, InvalidArgumentError, Option } from 'commander'
import {
  type Address,
  type HostAddress,
  isLoopback,
  parseAddress,
  parseHostAddress,
  parseSubnet,
  type Subnet,
} from '../base/address.ts'
import { formatDurationMs, parseDurationMs } from '../base/bytes.ts'
import { messageOf, TlscachedError } from '../base/errors.ts'
import { LOG_FORMATS, type LoggerOptions } from '../base/logger.ts'
import { readRegularFile } from '../base/regular-file.ts'
import { LOG_LEVELS } from '../base/world.ts'
import { PROXY_VERSIONS, type ProxyVersion } from '../terminator/proxy-protocol.ts'
import { Revocations } from '../terminator/revocation.ts'
import { TLS_VERSIONS, type TlsVersion } from '../terminator/stats.ts'
import type { TerminatorConfig } from '../terminator/terminator.ts'
import { createVirtualHosts } from '../terminator/virtual-hosts.ts'
import { watchdogOption } from './service.ts'

const MAX_PROCESSES = 256
/** Largest PEM file that is read; a large revocation list has some megabytes. */
const MAX_PEM_BYTES = 64 * 1024 * 1024
const MAX_CONNECTIONS = 1_000_000
const DAY_MS = 86_400_000
const MINUTE_MS = 60_000
/** Longest name of an application protocol: RFC 7301 has one byte for its length. */
const MAX_PROTOCOL_BYTES = 255

export interface TerminateOptions {
  readonly listen: readonly HostAddress[]
  readonly cert: readonly string[]
  readonly key: readonly string[]
  readonly context?: readonly string[]
  readonly backend: readonly Address[]
  /** Address of the node in the form that connectHooks takes. */
  readonly node: string
  readonly insecure?: boolean
  readonly cache: string
  readonly processes: number
  readonly minVersion: TlsVersion
  readonly alpn?: readonly string[]
  readonly clientCa?: string
  readonly clientCrl?: string
  readonly proxyProtocol?: ProxyVersion
  readonly acceptProxyProtocol?: readonly Subnet[]
  readonly metrics?: HostAddress
  readonly deadline: number
  readonly sessionTimeout: number
  readonly handshakeTimeout: number
  readonly connectTimeout: number
  readonly idleTimeout: number
  readonly checkInterval: number
  readonly maxConnections: number
  readonly drain: number
  readonly logLevel: LoggerOptions['level']
  readonly logFormat: LoggerOptions['format']
  readonly watchdog: number
  readonly json?: boolean
}

export function addTerminateOptions(command: Command): Command {
  return command
    .addOption(
      repeatable('--listen <address>', 'where TLS clients connect: host:port', listenAddress),
    )
    .addOption(
      repeatable(
        '--cert <file>',
        'certificate with its chain, PEM; the first is the default',
        text,
      ),
    )
    .addOption(repeatable('--key <file>', 'its key, PEM; in the order of the certificates', text))
    .addOption(
      repeatable(
        '--backend <address>',
        'gets plain TCP: host:port or unix:/path',
        parse(parseAddress),
      ),
    )
    .requiredOption(
      '--node <address>',
      'rpc frontend of the node: host:port or unix:/path',
      parse(nodeAddress),
    )
    .option(
      '--insecure',
      'let sessions cross the network in clear to a node that is not on this machine',
    )
    .option('--cache <name>', 'name of the cache', 'ssl')
    .addOption(
      optionalRepeatable(
        '--context <text>',
        'session ID context, one for each virtual host; default: derived from the names in its certificate',
      ),
    )
    .option(
      '--processes <count>',
      'processes that share the node',
      between(1, MAX_PROCESSES),
      availableParallelism(),
    )
    .addOption(
      new Option('--min-version <version>', 'oldest version of TLS')
        .choices(TLS_VERSIONS)
        .default('1.2'),
    )
    .option('--alpn <names>', 'application protocols, best first, with commas between', protocols)
    .option('--client-ca <file>', 'PEM; clients must show a certificate signed by one of these')
    .option(
      '--client-crl <file>',
      'PEM; certificates that are revoked, one list for each authority in --client-ca',
    )
    .addOption(
      new Option('--proxy-protocol <version>', 'tell backends who the client is').choices(
        PROXY_VERSIONS,
      ),
    )
    .addOption(
      repeatable(
        '--accept-proxy-protocol <cidr>',
        'addresses of balancers, whose connections must begin with a PROXY header, v1 or v2',
        parse(parseSubnet),
      ).makeOptionMandatory(false),
    )
    .option('--metrics <address>', 'serve /metrics here: host:port', parse(parseHostAddress))
    .addOption(
      duration('--deadline', 'longest wait for the node in a step of a handshake', 50, MINUTE_MS),
    )
    .addOption(duration('--session-timeout', 'lifetime of sessions', 300_000, 7 * DAY_MS))
    .addOption(duration('--handshake-timeout', 'longest handshake', 10_000, 10 * MINUTE_MS))
    .addOption(
      duration('--connect-timeout', 'longest wait for a backend to accept', 2000, 10 * MINUTE_MS),
    )
    .addOption(
      duration(
        '--idle-timeout',
        'longest time without a byte in either direction',
        300_000,
        7 * DAY_MS,
      ),
    )
    .addOption(duration('--check-interval', 'between two looks at each backend', 2000, DAY_MS))
    .option(
      '--max-connections <count>',
      'client connections open at once in each process',
      between(1, MAX_CONNECTIONS),
      10_000,
    )
    .addOption(
      duration('--drain', 'what open connections are given to end when it stops', 10_000, DAY_MS),
    )
    .addOption(
      new Option('--log-level <level>', 'least level that is logged')
        .choices(LOG_LEVELS)
        .default('info'),
    )
    .addOption(
      new Option('--log-format <format>', 'of log lines').choices(LOG_FORMATS).default('json'),
    )
    .addOption(watchdogOption())
    .option('--json', 'print where it listens as one JSON object a line')
}

/**
 * Reads the options and their files: certificates, keys and revocation lists. Throws ERR_USAGE or ERR_INSECURE with
 * the flag that is wrong.
 */
export function readTerminatorConfig(options: TerminateOptions): TerminatorConfig {
  const { cert, key, node, insecure: isInsecure = false } = options
  if (!isInsecure && !isLoopback(parseAddress(node))) {
    throw new TlscachedError(
      'ERR_INSECURE',
      `--node: sessions would cross the network in clear to ${node}; ` +
        'run a node on this machine, or add --insecure',
    )
  }
  if (cert.length !== key.length) {
    const counts = `${cert.length} certificates and ${key.length} keys`
    throw new TlscachedError('ERR_USAGE', `--cert and --key go in pairs, here are ${counts}`)
  }
  const clientCa =
    options.clientCa === undefined ? undefined : readPem('--client-ca', options.clientCa)
  if (options.clientCrl !== undefined && clientCa === undefined) {
    throw new TlscachedError('ERR_USAGE', '--client-crl: needs --client-ca')
  }
  const revocations =
    options.clientCrl === undefined || clientCa === undefined
      ? undefined
      : new Revocations(readPem('--client-crl', options.clientCrl), clientCa)
  const hosts = createVirtualHosts(
    cert.map((file, index) => ({
      name: file,
      cert: readPem('--cert', file),
      key: readPem('--key', key[index] ?? ''),
    })),
    {
      ...(clientCa !== undefined && { clientCa }),
      ...(options.context !== undefined && { contexts: options.context }),
    },
  )
  return {
    listen: options.listen,
    hosts,
    minVersion: options.minVersion,
    ...(options.alpn !== undefined && { alpn: options.alpn }),
    ...(clientCa !== undefined && { clientCa }),
    ...(revocations !== undefined && { revocations }),
    node: { address: node, cache: options.cache, isInsecure },
    sessionTimeoutSec: Math.ceil(options.sessionTimeout / 1000),
    deadlineMs: options.deadline,
    handshakeTimeoutMs: options.handshakeTimeout,
    backends: options.backend,
    ...(options.proxyProtocol !== undefined && { proxyProtocol: options.proxyProtocol }),
    ...(options.acceptProxyProtocol !== undefined && { balancers: options.acceptProxyProtocol }),
    connectTimeoutMs: options.connectTimeout,
    checkPeriodMs: options.checkInterval,
    idleTimeoutMs: options.idleTimeout,
    maxConnections: options.maxConnections,
  }
}

function readPem(flag: string, file: string): string {
  try {
    return readRegularFile(file, MAX_PEM_BYTES).text
  } catch (error) {
    throw new TlscachedError('ERR_USAGE', `${flag}: ${messageOf(error)}`, { cause: error })
  }
}

function repeatable<T>(flags: string, description: string, read: (value: string) => T): Option {
  const option = new Option(flags, `${description}; may be repeated`).makeOptionMandatory()
  return option.argParser((value, previous: readonly T[] | undefined) => [
    ...(previous ?? []),
    read(value),
  ])
}

function optionalRepeatable(flags: string, description: string): Option {
  return repeatable(flags, description, text).makeOptionMandatory(false)
}

function duration(flag: string, description: string, defaultMs: number, maxMs: number): Option {
  return new Option(`${flag} <duration>`, description)
    .default(defaultMs, formatDurationMs(defaultMs))
    .argParser((value) => {
      const durationMs = parseDurationMs(value)
      if (durationMs !== undefined && durationMs >= 1 && durationMs <= maxMs) return durationMs
      throw new InvalidArgumentError(
        `must be a duration, 1ms..${formatDurationMs(maxMs)}, as in 250ms or 5m`,
      )
    })
}

function between(min: number, max: number): (value: string) => number {
  return (value) => {
    const count = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN
    if (count >= min && count <= max) return count
    throw new InvalidArgumentError(`must be a whole number, ${min}..${max}`)
  }
}

function text(value: string): string {
  return value
}

function protocols(value: string): readonly string[] {
  const names = value.split(',')
  for (const name of names) {
    const bytes = Buffer.byteLength(name)
    if (bytes >= 1 && bytes <= MAX_PROTOCOL_BYTES) continue
    throw new InvalidArgumentError(
      `each name has 1..${MAX_PROTOCOL_BYTES} bytes, as in h2,http/1.1`,
    )
  }
  return names
}

/** Turns an error of `read` into one of commander, which names the flag. */
function parse<T>(read: (value: string) => T): (value: string) => T {
  return (value) => {
    try {
      return read(value)
    } catch (error) {
      throw new InvalidArgumentError(messageOf(error))
    }
  }
}

function listenAddress(value: string): HostAddress {
  const address = parse(parseHostAddress)(value)
  // With port 0, a process that starts later would get another port.
  if (address.port > 0) return address
  throw new InvalidArgumentError('the port must be 1..65535')
}

function nodeAddress(value: string): string {
  const address = parseAddress(value)
  if ('path' in address || address.port > 0) return value
  throw new InvalidArgumentError('the port must be 1..65535')
}
