// The header that passes the addresses of a client's connection to a backend: PROXY protocol, versions 1 and 2.
//
//   v1   PROXY TCP4|TCP6 source destination source-port destination-port CR LF
//   v2   signature 12 | 0x21 | family 1 | length 2 | source | destination | ports 2 + 2 | TLV*
//   TLV  type 1 | length 2 | value
//   SSL  client flags 1 | verify 4 | TLV* (version, common name of the client's certificate, cipher)

import { isIPv4 } from 'node:net'

export const PROXY_VERSIONS = ['v1', 'v2'] as const
export type ProxyVersion = (typeof PROXY_VERSIONS)[number]

/** Both ends of a client's connection; hosts are literal IP addresses. */
export interface Endpoints {
  readonly sourceHost: string
  readonly sourcePort: number
  readonly destinationHost: string
  readonly destinationPort: number
}

export interface ProxiedConnection extends Endpoints {
  /** TLS version by OpenSSL's name, such as `TLSv1.3`. */
  readonly tlsVersion: string
  readonly cipher: string
  /** Server name (SNI) that the client sent; '' when there is none. */
  readonly serverName: string
  /** Application protocol (ALPN) that was agreed on; '' when there is none. */
  readonly applicationProtocol: string
  /** Whether the client presented a certificate; then it is a trusted one. */
  readonly hasClientCertificate: boolean
  /** Common name in the client's certificate; '' when there is none. */
  readonly clientCommonName: string
}

/** The first bytes of a header of version 2. */
export const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')
const VERSION_2_PROXY = 0x21
const TCP_OVER_IPV4 = 0x11
const TCP_OVER_IPV6 = 0x21
const TLV = {
  alpn: 0x01,
  authority: 0x02,
  ssl: 0x20,
  version: 0x21,
  commonName: 0x22,
  cipher: 0x23,
}
const CLIENT_SSL = 1
const CLIENT_CERT_CONN = 2
const CLIENT_CERT_SESS = 4
const MAX_TLV_BYTES = 65_535

export function proxyHeader(version: ProxyVersion, connection: ProxiedConnection): Buffer {
  const source = plain(connection.sourceHost)
  const destination = plain(connection.destinationHost)
  const isV4 = isIPv4(source) && isIPv4(destination)
  if (version === 'v1') {
    const { sourcePort, destinationPort } = connection
    const hosts = isV4
      ? `TCP4 ${source} ${destination}`
      : `TCP6 ${wide(source)} ${wide(destination)}`
    return Buffer.from(`PROXY ${hosts} ${sourcePort} ${destinationPort}\r\n`, 'latin1')
  }
  const addresses = isV4
    ? [v4Bytes(source), v4Bytes(destination)]
    : [v6Bytes(wide(source)), v6Bytes(wide(destination))]
  const ports = Buffer.alloc(4)
  ports.writeUInt16BE(connection.sourcePort, 0)
  ports.writeUInt16BE(connection.destinationPort, 2)
  const content = Buffer.concat([...addresses, ports, tlvs(connection)])
  const head = Buffer.from([VERSION_2_PROXY, isV4 ? TCP_OVER_IPV4 : TCP_OVER_IPV6, 0, 0])
  head.writeUInt16BE(content.length, 2)
  return Buffer.concat([SIGNATURE, head, content])
}

function tlvs(connection: ProxiedConnection): Buffer {
  const { applicationProtocol, serverName, hasClientCertificate } = connection
  const flags = CLIENT_SSL | (hasClientCertificate ? CLIENT_CERT_CONN | CLIENT_CERT_SESS : 0)
  // `verify` is 0, which means success: a client with an untrusted certificate never gets this far.
  const verify = Buffer.alloc(4)
  const ssl = Buffer.concat([
    Buffer.from([flags]),
    verify,
    tlv(TLV.version, connection.tlsVersion),
    tlv(TLV.commonName, connection.clientCommonName),
    tlv(TLV.cipher, connection.cipher),
  ])
  return Buffer.concat([
    tlv(TLV.alpn, applicationProtocol),
    tlv(TLV.authority, serverName),
    tlv(TLV.ssl, ssl),
  ])
}

/** Returns one field of version 2, cut off at MAX_TLV_BYTES, or no bytes for an empty value. */
function tlv(type: number, value: string | Buffer): Buffer {
  const bytes = Buffer.from(value).subarray(0, MAX_TLV_BYTES)
  const head = Buffer.from([type, bytes.length >> 8, bytes.length & 0xff])
  return bytes.length === 0 ? bytes : Buffer.concat([head, bytes])
}

/** Removes the scope of an IPv6 address, and the prefix with which a dual-stack socket shows an IPv4 address. */
function plain(host: string): string {
  return host.replace(/%.*$/, '').replace(/^::ffff:(?=\d+\.)/i, '')
}

function wide(host: string): string {
  return isIPv4(host) ? `::ffff:${host}` : host
}

function v4Bytes(host: string): Buffer {
  return Buffer.from(host.split('.').map(Number))
}

function v6Bytes(host: string): Buffer {
  const withGroups = host.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_all, ...parts: string[]) => {
    const [a = 0, b = 0, c = 0, d = 0] = parts.slice(0, 4).map(Number)
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
  })
  const [front = '', back] = withGroups.split('::')
  const groupsOf = (text: string) => (text === '' ? [] : text.split(':'))
  const [first, last] = [groupsOf(front), groupsOf(back ?? '')]
  const zeros = Array.from({ length: 8 - first.length - last.length }, () => '0')
  const bytes = Buffer.alloc(16)
  for (const [index, group] of [...first, ...zeros, ...last].entries()) {
    bytes.writeUInt16BE(Number.parseInt(group, 16), index * 2)
  }
  return bytes
}
