// Which HTTP requests a browser sends because a page of somebody else makes it: they are refused, as a browser reaches
// what its user's machine reaches, loopback included.
//
// A page can send a request to any address, but not choose its Host, Origin and Sec-Fetch-Site. Host tells a page whose
// own name was made to lead here (DNS rebinding), which the browser takes for a page of this server. Origin and
// Sec-Fetch-Site tell every other page; `same-site` is foreign too, as each port of localhost is of one site. Programs
// that are no browsers send neither of the two. RFC 9110 7.2, RFC 6454, W3C Fetch Metadata.

import { isIP } from 'node:net'
import { type Address, isLoopback } from './address.ts'

/** Headers of every answer: no page may use it as a script, style sheet or image. */
export const ANSWER_HEADERS = {
  'x-content-type-options': 'nosniff',
  'cross-origin-resource-policy': 'same-origin',
} as const
/** These headers as they stand in an answer, for servers that write it themselves. */
export const ANSWER_HEADER_LINES: string = Object.entries(ANSWER_HEADERS)
  .map(([name, value]) => `${name}: ${value}\r\n`)
  .join('')

/** What told that a request is a foreign page's. */
export const FOREIGN_REASONS = ['host', 'origin', 'fetch_site'] as const
export type ForeignReason = (typeof FOREIGN_REASONS)[number]

export interface BrowserHeaders {
  readonly host?: string | undefined
  readonly origin?: string | string[] | undefined
  readonly 'sec-fetch-site'?: string | string[] | undefined
}

const HOST_PATTERN = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::\d{1,5})?$/

export class BrowserGuard {
  readonly #isExempt: boolean
  /** undefined: any name will do. */
  readonly #hosts: ReadonlySet<string> | undefined

  /**
   * `hosts`: names by which the server is known beside `localhost` and IP addresses. On loopback no other name is
   * accepted. Elsewhere the names are checked when there are any, since a scraper may use whatever name leads there.
   * No browser reaches a unix socket.
   */
  constructor(listen: Address, hosts: readonly string[]) {
    this.#isExempt = 'path' in listen
    const isAnyHost = hosts.length === 0 && !isLoopback(listen)
    this.#hosts = isAnyHost ? undefined : new Set(hosts.map((host) => host.toLowerCase()))
  }

  /** Why this request is refused, or undefined when it is not. */
  reasonOf(headers: BrowserHeaders): ForeignReason | undefined {
    if (this.#isExempt) return undefined
    const { host, origin, 'sec-fetch-site': site } = headers
    if (host !== undefined && !this.#isOwnHost(host)) return 'host'
    if (origin !== undefined && !isOwnOrigin(origin, host)) return 'origin'
    if (site !== undefined && site !== 'same-origin' && site !== 'none') return 'fetch_site'
    return undefined
  }

  #isOwnHost(host: string): boolean {
    if (this.#hosts === undefined) return true
    const [, bracketed, plain = ''] = HOST_PATTERN.exec(host) ?? []
    if (bracketed !== undefined) return isIP(bracketed) === 6
    const name = plain.toLowerCase().replace(/\.$/, '')
    return name === 'localhost' || isIP(name) === 4 || this.#hosts.has(name)
  }
}

/** Whether a page of this very server asks; a proxy in front may have ended its TLS. */
function isOwnOrigin(origin: string | string[], host = ''): boolean {
  return origin === `http://${host}` || origin === `https://${host}`
}
