// Converts the HTTPS router of a uWSGI file to the options of the reference terminator that replaces it.

import { messageOf } from '../base/errors.ts'
import { toContext } from '../session/encoded-session.ts'
import type { ConvertedCaches } from './converted-caches.ts'
import { type IniOption, toAddressText } from './ini.ts'
import type { ConversionDraft } from './options.ts'

export interface TerminatorPlan {
  readonly listen: string
  readonly cert: string
  readonly key: string
  readonly context: string
  readonly cache: string
  readonly processes: number
  readonly backends: readonly string[]
  readonly sessionTimeoutSec: number
}

export function convertTerminator(
  draft: ConversionDraft,
  { sslCache, sslTimeoutSec }: ConvertedCaches,
): TerminatorPlan | undefined {
  const https = draft.one('https') ?? draft.one('https2')
  const named = draft.one('https-session-context')
  if (named !== undefined) checkContext(draft, named, named.value)
  if (https === undefined) {
    for (const name of ['http-to', 'http-processes'] as const) {
      const idle = draft.one(name)
      if (idle !== undefined)
        draft.note(name, idle.where, 'without https there is nothing to pass on')
    }
    return undefined
  }
  if (draft.one('https') !== undefined && draft.one('https2') !== undefined) {
    draft.report(https, 'stands beside https2: one terminator has one of them')
  }
  const { address: written, cert, key, ciphers, clientCa } = partsOf(https)
  const address = sharedAddress(draft, https, written)
  if (written === '' || cert === '' || key === '') {
    const form = https.name === 'https' ? 'address,cert,key' : 'addr=..,cert=..,key=..'
    draft.report(https, `must be ${form}`)
  }
  if (ciphers !== '') {
    const why = 'the terminator takes the cipher suites of its Node.js'
    draft.note('ciphers of https', https.where, why)
  }
  if (clientCa !== '') {
    draft.report(https, 'has client certificates: give them to `tlscached terminate --client-ca`')
  }
  if (sslCache === undefined) {
    draft.report(https, 'without ssl-sessions-use-cache no session would be shared')
  }
  const backends = draft.all('http-to').map(({ value }) => toAddressText(value))
  if (backends.length === 0) draft.report(https, 'needs http-to: somebody to pass on to')
  else {
    const why = 'they get plain TCP, not the uwsgi protocol: let them listen with http-socket'
    draft.note('http-to', draft.one('http-to')?.where ?? '', why)
  }
  return {
    listen: toAddressText(address),
    cert,
    key,
    context: named?.value ?? defaultContext(draft, https, address),
    cache: sslCache ?? '',
    processes: draft.number('http-processes', 1),
    // Backends are used in turn. They are sorted so that the order of the options makes no difference.
    backends: [...new Set(backends)].toSorted(),
    sessionTimeoutSec: sslTimeoutSec,
  }
}

interface HttpsParts {
  readonly address: string
  readonly cert: string
  readonly key: string
  readonly ciphers: string
  readonly clientCa: string
}

/** Splits the value of the option: `https` has its parts in a fixed order, `https2` by name. */
function partsOf({ name, value }: IniOption): HttpsParts {
  if (name !== 'https2') {
    const [address = '', cert = '', key = '', ciphers = '', clientCa = ''] = value.split(',')
    return { address, cert, key, ciphers, clientCa }
  }
  const pairs = new Map(
    value.split(',').map((pair) => {
      const equals = pair.indexOf('=')
      return [pair.slice(0, equals).trim(), pair.slice(equals + 1).trim()] as const
    }),
  )
  const one = (...keys: string[]) => keys.map((key) => pairs.get(key) ?? '').join('')
  return {
    address: one('addr'),
    cert: one('cert', 'crt'),
    key: one('key'),
    ciphers: one('ciphers'),
    clientCa: one('clientca', 'client_ca'),
  }
}

/** Replaces an address such as `=0` by the shared-socket of the file with this index. */
function sharedAddress(draft: ConversionDraft, https: IniOption, address: string): string {
  if (!address.startsWith('=')) return address
  const shared = draft.all('shared-socket')[Number(address.slice(1))]
  if (shared === undefined) draft.report(https, `there is no shared-socket ${address.slice(1)}`)
  return shared?.value ?? ''
}

/**
 * Returns uWSGI's default session ID context, which contains the address of https. Where nodes have different
 * addresses, no session resumes on another node.
 */
function defaultContext(draft: ConversionDraft, https: IniOption, address: string): string {
  const context = `http-${address}`
  const why = `it is "${context}": sessions only resume on nodes where https has the same address; set https-session-context`
  draft.note('https-session-context', https.where, why)
  checkContext(draft, https, context)
  return context
}

function checkContext(draft: ConversionDraft, option: IniOption, context: string): void {
  try {
    toContext(context)
  } catch (error) {
    draft.report(option, messageOf(error))
  }
}
