// Where peers are, as a person writes it: an address, a name with a port, or a service, whose records in the domain
// name system hold names and ports.

import { formatAddress, type HostAddress, parseHostAddress } from '../base/address.ts'
import { TlscachedError } from '../base/errors.ts'

/** A service: a name that has SRV records (RFC 2782). */
export interface ServiceName {
  readonly service: string
}

export type PeerSource = HostAddress | ServiceName

export const SERVICE_SCHEME = 'dns+srv://'
export const MAX_SERVICE_NAME_BYTES = 253
const LABEL = '[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?'
/** Source of a regular expression that matches the name of a service; not anchored. */
export const SERVICE_NAME_PATTERN = `${LABEL}(?:\\.${LABEL})*\\.?`
const WHOLE_SERVICE_NAME = new RegExp(`^${SERVICE_NAME_PATTERN}$`)

/** Parses `host:port`, `[v6]:port` or `dns+srv://name`. Throws ERR_ADDRESS. */
export function parsePeerSource(text: string): PeerSource {
  if (!text.startsWith(SERVICE_SCHEME)) {
    const address = parseHostAddress(text)
    if (address.port === 0) {
      throw new TlscachedError('ERR_ADDRESS', `"${text}" is a peer without a port`)
    }
    return address
  }
  const service = text.slice(SERVICE_SCHEME.length)
  if (service.length > MAX_SERVICE_NAME_BYTES || !WHOLE_SERVICE_NAME.test(service)) {
    const form = `${SERVICE_SCHEME}name, as in ${SERVICE_SCHEME}_tlscached._udp.example.com`
    throw new TlscachedError('ERR_ADDRESS', `"${text}" is not ${form}`)
  }
  return { service }
}

export function formatPeerSource(source: PeerSource): string {
  return 'service' in source ? SERVICE_SCHEME + source.service : formatAddress(source)
}
