// Recognises HTTP requests that a browser sends because a foreign web page makes it, so that servers can refuse them: a
// browser reaches everything that its user's machine reaches, loopback included.
//
// A page can send a request to any address, but it cannot choose the headers Host, Origin and Sec-Fetch-Site. Host
// reveals a page whose own name was made to resolve to this server (DNS rebinding), which the browser takes for a page
// of this server. Origin and Sec-Fetch-Site reveal every other page; `same-site` is foreign too, because all ports of
// localhost are one site. Programs that are not browsers send neither of the two. RFC 9110 7.2, RFC 6454, W3C Fetch
// Metadata.

import { isIP } from 'node:net'
import { type Address, isLoopback } from '../base/address.ts'

/** Headers of every answer. They keep pages of other origins from using it as a script, style sheet or image. */
export const ANSWER_HEADERS = {
  'x-content-type-options': 'nosniff',
  'cross-origin-resource-policy': 'same-origin',
} as const
/** ANSWER_HEADERS as lines of an HTTP answer, for servers that write their answers themselves. */
export const ANSWER_HEADER_LINES: string = Object.entries(ANSWER_HEADERS)
  .map(([name, value]) => `${name}: ${value}\r\n`)
  .join('')

/** The header by which a request of a foreign page was recognised. */
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
  /** Accepted host names in lower case; undefined accepts every name. */
  readonly #hosts: ReadonlySet<string> | undefined

  /**
   * `hosts` are names of the server besides `localhost` and IP addresses. On loopback no other name is accepted. On
   * other addresses names are checked only when `hosts` has some, since a scraper may use any name that resolves to the
   * server. On a unix socket nothing is refused: no browser can connect to one.
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

/** Whether the request is from a page of this server; `https` counts too, since a proxy in front may terminate TLS. */
function isOwnOrigin(origin: string | string[], host = ''): boolean {
  return origin === `http://${host}` || origin === `https://${host}`
}
