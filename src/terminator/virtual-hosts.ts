// The virtual hosts of a terminator: which certificate answers for a server name, and the session ID context
// under which its sessions are kept apart from those of the others.

import { createHash, createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { messageOf } from '../base/errors.ts'
import { settingError } from '../settings/errors.ts'

/** A certificate (with its chain) and its key, both PEM; `name` is what errors call it. */
export interface CertificatePair {
  readonly name: string
  readonly cert: string
  readonly key: string
}

export interface VirtualHost {
  /** Server names in lower case; a leading `*.` stands for exactly one label. */
  readonly names: readonly string[]
  /** Session ID context, 1..32 bytes in UTF-8. */
  readonly context: string
  /** PEM texts for tls.createServer, one certificate for each type of key. */
  readonly cert: string[]
  readonly key: string[]
}

export interface VirtualHostsOptions {
  /** PEM text of the authorities for client certificates; it is part of the derived contexts. */
  readonly clientCa?: string
  /** Session ID contexts in place of the derived ones: none, or one for each virtual host. */
  readonly contexts?: readonly string[]
}

const MAX_CONTEXT_BYTES = 32
/** Length of a derived session ID context: hexadecimal digits, one byte each. */
const DERIVED_CONTEXT_DIGITS = 32

/** Finds the host for a server name: by the whole name, by a wildcard, or else the first one. */
export class VirtualHosts {
  readonly all: readonly VirtualHost[]
  readonly #fallback: VirtualHost
  readonly #byName = new Map<string, VirtualHost>()

  /** Throws ERR_CONFIG when `all` is empty. */
  constructor(all: readonly VirtualHost[]) {
    const [fallback] = all
    if (fallback === undefined) throw settingError('cert', 'none was given')
    this.all = all
    this.#fallback = fallback
    for (const host of all) {
      for (const name of host.names) if (!this.#byName.has(name)) this.#byName.set(name, host)
    }
  }

  /** Returns the host for the server name that a client sent, '' when it sent none. */
  find(serverName: string): VirtualHost {
    const name = serverName.toLowerCase().replace(/\.$/, '')
    const wildcard = name.replace(/^[^.]+/, '*')
    return this.#byName.get(name) ?? this.#byName.get(wildcard) ?? this.#fallback
  }
}

/**
 * Creates the virtual hosts; certificates for the same names with different types of key share one. Throws
 * ERR_CONFIG for a key that does not belong to its certificate, a certificate that would never be used, and wrong
 * contexts.
 */
export function createVirtualHosts(
  pairs: readonly CertificatePair[],
  { clientCa = '', contexts = [] }: VirtualHostsOptions = {},
): VirtualHosts {
  const groups = new Map<string, Certificate[]>()
  for (const certificate of pairs.map(readCertificate)) {
    const group = groups.get(certificate.identity) ?? []
    const rival = group.find((other) => other.keyType === certificate.keyType)
    if (rival !== undefined) {
      const names = `${certificate.name} is for the same names as ${rival.name}`
      throw settingError('cert', `${names} and would never be used`)
    }
    groups.set(certificate.identity, [...group, certificate])
  }
  checkNames([...groups.values()])
  checkContexts(contexts, groups.size)
  return new VirtualHosts(
    [...groups].map(([identity, group], index) => ({
      names: group[0]?.names ?? [],
      context: contexts[index] ?? deriveContext(identity, clientCa),
      cert: group.map(({ cert }) => cert),
      key: group.map(({ key }) => key),
    })),
  )
}

interface Certificate extends CertificatePair {
  readonly names: readonly string[]
  /**
   * Equal for certificates with the same names (or, without names, the same subject); it survives their renewal.
   */
  readonly identity: string
  readonly keyType: string
}

function readCertificate(pair: CertificatePair): Certificate {
  const certificate = read('cert', pair.name, () => new X509Certificate(pair.cert))
  const key: KeyObject = read('key', `key of ${pair.name}`, () => createPrivateKey(pair.key))
  if (!certificate.checkPrivateKey(key)) {
    throw settingError('key', `not the key of the certificate in ${pair.name}`)
  }
  const alternatives = (certificate.subjectAltName ?? '').split(', ').filter((one) => one !== '')
  const names = alternatives
    .filter((one) => one.startsWith('DNS:'))
    .map((one) => one.slice('DNS:'.length).toLowerCase())
  const subject = alternatives.length > 0 ? alternatives.toSorted().join('\n') : certificate.subject
  const keyType = key.asymmetricKeyType ?? 'unknown'
  return { ...pair, names, identity: subject.toLowerCase(), keyType }
}

function read<T>(setting: string, what: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    throw settingError(setting, `${what}: ${messageOf(error)}`)
  }
}

/**
 * Throws ERR_CONFIG for a host that would never be chosen: the first one answers every unknown name, and any other
 * one needs a name that no earlier one has.
 */
function checkNames(groups: readonly (readonly Certificate[])[]): void {
  const taken = new Set<string>()
  for (const [index, [first]] of groups.entries()) {
    if (first === undefined) continue
    const isReachable = first.names.some((name) => !taken.has(name))
    if (index > 0 && !isReachable) {
      throw settingError(
        'cert',
        `${first.name} has no DNS name that an earlier one does not have, and would never be used`,
      )
    }
    for (const name of first.names) taken.add(name)
  }
}

function checkContexts(contexts: readonly string[], hosts: number): void {
  if (contexts.length > 0 && contexts.length !== hosts) {
    const counts = `${contexts.length} for ${hosts} virtual hosts`
    throw settingError('context', `one for each virtual host, not ${counts}`)
  }
  for (const context of contexts) {
    const bytes = Buffer.byteLength(context)
    if (bytes >= 1 && bytes <= MAX_CONTEXT_BYTES) continue
    const limit = `has 1..${MAX_CONTEXT_BYTES} bytes, this one has ${bytes}`
    throw settingError('context', `a session ID context ${limit}`)
  }
  if (new Set(contexts).size !== contexts.length) {
    throw settingError('context', 'the same for two virtual hosts')
  }
}

/** Returns a context that is equal on all terminators with the same names and the same authorities for clients. */
function deriveContext(identity: string, clientCa: string): string {
  const hash = createHash('sha256').update(JSON.stringify([identity, clientCa]))
  return hash.digest('hex').slice(0, DERIVED_CONTEXT_DIGITS)
}
