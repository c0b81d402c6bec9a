// The HTTPS router of a uWSGI file: what the reference terminator is started with in its place.

import { messageOf } from '../base/errors.ts'
import { toContext } from '../session/context.ts'
import type { ConversionDraft } from './conversion.ts'
import type { ConvertedCaches } from './converted-caches.ts'
import type { IniOption } from './ini.ts'
import { toAddressText } from './socket-name.ts'

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
  const https = draft.one('https')
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
  const [address = '', cert = '', key = '', ...rest] = https.value.split(',')
  if (address === '' || cert === '' || key === '') draft.report(https, 'must be address,cert,key')
  if (rest.some((part) => part !== '')) {
    draft.report(
      https,
      'has ciphers or client certificates, which are given to `tlscached terminate` itself',
    )
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
    // In an order of their own: they are asked in turn.
    backends: [...new Set(backends)].toSorted(),
    sessionTimeoutSec: sslTimeoutSec,
  }
}

/** What uWSGI makes of it: another one on every node, so that no session resumes elsewhere. */
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
