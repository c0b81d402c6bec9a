// How a person says where peers are: an address, a name and a port, or a service, whose records in the
// domain name system hold names and ports.

import { formatAddress, type HostAddress, parseHostAddress } from '../base/address.ts'
import { TlscachedError } from '../base/errors.ts'

/** A name with SRV records (RFC 2782). */
export interface ServiceName {
  readonly service: string
}

export type PeerSource = HostAddress | ServiceName

const SERVICE_SCHEME = 'dns+srv://'
const MAX_NAME_BYTES = 253
const LABEL = '[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?'
const NAME_PATTERN = new RegExp(`^${LABEL}(?:\\.${LABEL})*\\.?$`, 'i')

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
  if (service.length > MAX_NAME_BYTES || !NAME_PATTERN.test(service)) {
    const form = `${SERVICE_SCHEME}name, as in ${SERVICE_SCHEME}_tlscached._udp.example.com`
    throw new TlscachedError('ERR_ADDRESS', `"${text}" is not ${form}`)
  }
  return { service }
}

export function formatPeerSource(source: PeerSource): string {
  return 'service' in source ? SERVICE_SCHEME + source.service : formatAddress(source)
}
