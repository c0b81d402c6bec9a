// The settings of `tlscached terminate`: how people write them, and the configuration of a process that they make with
// the certificates, keys and revocation lists that they name.

import { availableParallelism } from 'node:os'
import { z } from 'zod'
import { formatAddress, isLoopback, parseHostAddress, parseSubnet } from '../base/address.ts'
import { messageOf } from '../base/errors.ts'
import { readRegularFile } from '../base/regular-file.ts'
import { silentLogger, systemClock } from '../base/world.ts'
import { settingError } from '../settings/errors.ts'
import {
  address,
  duration,
  flag,
  hostAddress,
  integer,
  label,
  list,
  logSection,
  notes,
  PEER_ADDRESS,
  parsed,
  text,
  watchdog,
  writtenForms,
} from '../settings/forms.ts'
import { parseTree, readSources, type SettingSources, withPlaces } from '../settings/read.ts'
import { COMMAND_PREFIXES, settingsOf } from '../settings/schema.ts'
import type { ConfigTree } from '../settings/sources.ts'
import { CACHE_NAME_PATTERN } from '../store/limits.ts'
import { PROXY_VERSIONS } from './proxy-protocol.ts'
import { Revocations } from './revocation.ts'
import { TLS_VERSIONS } from './stats.ts'
import { createTerminatorProcess, type TerminatorConfig } from './terminator.ts'
import { createVirtualHosts } from './virtual-hosts.ts'

const MAX_PROCESSES = 256
/** Largest PEM file that is read; a large revocation list has some megabytes. */
const MAX_PEM_BYTES = 64 * 1024 * 1024
const MAX_CONNECTIONS = 1_000_000
const MAX_LISTEN = 64
const MAX_CERTIFICATES = 4096
const MAX_BACKENDS = 1024
const MAX_PROTOCOLS = 64
const MAX_BALANCERS = 1024
const DAY_MS = 86_400_000
const MINUTE_MS = 60_000
/** Longest name of an application protocol: RFC 7301 has one byte for its length. */
const MAX_PROTOCOL_BYTES = 255

export const terminatorSchema = z
  .strictObject({
    listen: list(listenAddress(), 1, MAX_LISTEN).register(notes, {
      description: 'where TLS clients connect',
      form: 'list of host:port',
      fallback: 'required',
      listFlag: 'repeated',
    }),
    cert: list(text(), 1, MAX_CERTIFICATES).register(notes, {
      description: 'certificates with their chains, PEM; the first one answers for unknown names',
      form: 'list of paths',
      fallback: 'required',
      listFlag: 'repeated',
    }),
    key: list(text(), 1, MAX_CERTIFICATES).register(notes, {
      description: 'their keys, PEM, in the order of the certificates',
      form: 'list of paths',
      fallback: 'required',
      listFlag: 'repeated',
    }),
    context: list(text(), 1, MAX_CERTIFICATES).optional().register(notes, {
      description: 'session ID contexts, one for each virtual host',
      form: 'list of text',
      fallback: 'derived from the names in each certificate',
      listFlag: 'repeated',
    }),
    backend: list(address(), 1, MAX_BACKENDS).register(notes, {
      description: 'who gets plain TCP',
      form: 'list of host:port or unix:/path',
      fallback: 'required',
      listFlag: 'repeated',
    }),
    node: address().register(notes, {
      description: 'the node: its rpc frontend',
      form: 'host:port or unix:/path',
      fallback: 'required',
    }),
    insecure: flag().prefault(false).register(notes, {
      description: 'let sessions cross the network in clear to a node that is not on this machine',
      form: 'true or false',
    }),
    cache: label(CACHE_NAME_PATTERN).prefault('ssl').register(notes, {
      description: 'name of the cache on the node',
      form: 'text',
    }),
    processes: integer(1, MAX_PROCESSES)
      .optional()
      .register(notes, {
        description: 'processes that share the node',
        form: `1..${MAX_PROCESSES}`,
        fallback: 'the number of processors',
      }),
    min_version: tlsVersion()
      .prefault('1.2')
      .register(notes, {
        description: 'oldest version of TLS',
        form: TLS_VERSIONS.join(' or '),
      }),
    alpn: list(protocol(), 1, MAX_PROTOCOLS).optional().register(notes, {
      description: 'application protocols, best first',
      form: 'list of names',
      fallback: 'none',
      listFlag: 'commas',
    }),
    client_ca: text().optional().register(notes, {
      description: 'authorities, PEM: clients must show a certificate that one of them signed',
      form: 'path',
      fallback: 'clients need no certificate',
    }),
    client_crl: text().optional().register(notes, {
      description: 'revoked certificates, PEM: one list for each authority in `client_ca`',
      form: 'path',
      fallback: 'none',
    }),
    proxy_protocol: z
      .enum(PROXY_VERSIONS, { error: `must be ${PROXY_VERSIONS.join(' or ')}` })
      .optional()
      .register(notes, {
        description: 'tells backends who the client is',
        form: PROXY_VERSIONS.join(' or '),
        fallback: 'backends are not told',
      }),
    accept_proxy_protocol: list(subnet(), 1, MAX_BALANCERS).optional().register(notes, {
      description:
        'addresses of balancers, whose connections must begin with a PROXY header, v1 or v2',
      form: 'list of address/bits',
      fallback: 'nobody',
      listFlag: 'repeated',
    }),
    metrics: hostAddress().optional().register(notes, {
      description: 'where `/metrics` is served',
      form: 'host:port',
      fallback: 'none',
    }),
    deadline: duration(MINUTE_MS).prefault('50ms').register(notes, {
      description: 'longest wait for the node in a step of a handshake',
      form: 'duration, at most 1m',
    }),
    session_timeout: duration(7 * DAY_MS)
      .prefault('5m')
      .register(notes, {
        description: 'lifetime of sessions, in whole seconds',
        form: 'duration, at most 7d',
      }),
    handshake_timeout: duration(10 * MINUTE_MS)
      .prefault('10s')
      .register(notes, {
        description: 'longest handshake',
        form: 'duration, at most 10m',
      }),
    connect_timeout: duration(10 * MINUTE_MS)
      .prefault('2s')
      .register(notes, {
        description: 'longest wait for a backend to accept',
        form: 'duration, at most 10m',
      }),
    idle_timeout: duration(7 * DAY_MS)
      .prefault('5m')
      .register(notes, {
        description: 'longest time without a byte in either direction',
        form: 'duration, at most 7d',
      }),
    check_interval: duration(DAY_MS).prefault('2s').register(notes, {
      description: 'time between two checks of each backend',
      form: 'duration, at most 1d',
    }),
    max_connections: integer(1, MAX_CONNECTIONS)
      .prefault(10_000)
      .register(notes, {
        description: 'client connections open at once in each process',
        form: `1..${MAX_CONNECTIONS}`,
      }),
    drain: duration(DAY_MS).prefault('10s').register(notes, {
      description: 'how long open connections may go on when it stops',
      form: 'duration, at most 1d',
    }),
    watchdog: watchdog('terminate'),
    log: logSection(),
  })
  .superRefine(({ node, insecure, cert, key, client_ca, client_crl }, context) => {
    const report = (name: string, message: string) =>
      context.addIssue({ code: 'custom', path: [name], message })
    if ('port' in node && node.port === 0) report('node', 'the port must be 1..65535')
    if (!insecure && !isLoopback(node)) {
      report(
        'node',
        `sessions would cross the network in clear to ${formatAddress(node)}: ` +
          'run a node on this machine, or set insecure',
      )
    }
    if (cert.length !== key.length) {
      report(
        'key',
        `must have one for each certificate: there are ${cert.length} certificates and ${key.length} keys`,
      )
    }
    if (client_crl !== undefined && client_ca === undefined) report('client_crl', 'needs client_ca')
  })

/** Every setting of a terminator, in the order of the reference. */
export const terminatorSettings = settingsOf(terminatorSchema, COMMAND_PREFIXES.terminate)

/** The settings with their forms read: durations in milliseconds, addresses parsed, defaults filled in. */
export type TerminatorSettings = Readonly<z.output<typeof terminatorSchema>>

/** Settings, and as what and where they were written. */
export interface WrittenSettings {
  readonly settings: TerminatorSettings
  readonly tree: ConfigTree
}

/** Reads and checks the settings, but not the files that they name. Throws a ConfigError with every mistake. */
export function readTerminatorSettings(sources: SettingSources): WrittenSettings {
  const tree = readSources(sources, terminatorSettings, COMMAND_PREFIXES.terminate)
  return { settings: parseTree(tree, terminatorSchema, terminatorSettings), tree }
}

/**
 * Reads certificates, keys and revocation lists, and checks that a process could use them now. Nothing is opened.
 * Throws a ConfigError, or Node's own error for a certificate that it cannot use.
 */
export function checkTerminatorFiles(written: WrittenSettings): TerminatorConfig {
  const config = readTerminatorFiles(written)
  withPlaces(written.tree, () => config.revocations?.checkTimes(systemClock.wallMs()))
  createTerminatorProcess(config, { clock: systemClock, logger: silentLogger })
  return config
}

/** Returns the configuration of a process, with certificates, keys and revocation lists read. Throws a ConfigError. */
export function readTerminatorFiles({ settings, tree }: WrittenSettings): TerminatorConfig {
  return withPlaces(tree, () => toTerminatorConfig(settings))
}

/** Returns the number of processes. */
export function processesOf({ processes }: TerminatorSettings): number {
  return processes ?? availableParallelism()
}

/** Returns everything that needs a restart when it changes, as text to compare. */
export function fixedPartsOf(settings: TerminatorSettings): string {
  const { cert, key, context, client_ca, client_crl, ...fixed } = settings
  return JSON.stringify(fixed)
}

function toTerminatorConfig(settings: TerminatorSettings): TerminatorConfig {
  const { cert, key, context, alpn, proxy_protocol: proxyProtocol } = settings
  const clientCa = readOptionalPem('client_ca', settings.client_ca)
  const lists = readOptionalPem('client_crl', settings.client_crl)
  const pairs = cert.map((file, index) => ({
    name: file,
    cert: readPem('cert', file),
    key: readPem('key', key[index] ?? ''),
  }))
  return {
    listen: settings.listen,
    hosts: createVirtualHosts(pairs, {
      ...(clientCa !== undefined && { clientCa }),
      ...(context !== undefined && { contexts: context }),
    }),
    minVersion: settings.min_version,
    ...(alpn !== undefined && { alpn }),
    ...(clientCa !== undefined && { clientCa }),
    ...(lists !== undefined && { revocations: new Revocations(lists, clientCa ?? '') }),
    node: {
      address: formatAddress(settings.node),
      cache: settings.cache,
      isInsecure: settings.insecure,
    },
    sessionTimeoutSec: Math.ceil(settings.session_timeout / 1000),
    deadlineMs: settings.deadline,
    handshakeTimeoutMs: settings.handshake_timeout,
    backends: settings.backend,
    ...(proxyProtocol !== undefined && { proxyProtocol }),
    balancers: settings.accept_proxy_protocol ?? [],
    connectTimeoutMs: settings.connect_timeout,
    checkPeriodMs: settings.check_interval,
    idleTimeoutMs: settings.idle_timeout,
    maxConnections: settings.max_connections,
  }
}

function readOptionalPem(setting: string, file: string | undefined): string | undefined {
  return file === undefined ? undefined : readPem(setting, file)
}

function readPem(setting: string, file: string): string {
  try {
    return readRegularFile(file, MAX_PEM_BYTES).text
  } catch (error) {
    throw settingError(setting, messageOf(error))
  }
}

/** Returns the form of an address with a fixed port: with port 0, a process that starts later would get another one. */
function listenAddress() {
  return parsed({ ...PEER_ADDRESS, examples: ['*:443', '[::]:443'] }, (value) => {
    const listen = parseHostAddress(value)
    if (listen.port === 0) throw new Error('the port must be 1..65535')
    return listen
  })
}

function subnet() {
  return parsed({ examples: ['10.0.0.0/8', 'fd00::/8'] }, parseSubnet)
}

function protocol() {
  return text().refine((name) => Buffer.byteLength(name) <= MAX_PROTOCOL_BYTES, {
    error: `must have at most ${MAX_PROTOCOL_BYTES} bytes, as in h2 or http/1.1`,
  })
}

/** Returns the form of a version of TLS. YAML reads one without quotes as a number. */
function tlsVersion() {
  const error = `must be ${TLS_VERSIONS.join(' or ')}`
  return z
    .union([z.string(), z.number()], { error })
    .transform((value, context) => {
      const version = TLS_VERSIONS.find((one) => one === String(value))
      if (version !== undefined) return version
      context.addIssue({ code: 'custom', message: error })
      return z.NEVER
    })
    .register(writtenForms, {
      anyOf: [
        { type: 'string', enum: [...TLS_VERSIONS] },
        { type: 'number', enum: TLS_VERSIONS.map(Number) },
      ],
    })
}
