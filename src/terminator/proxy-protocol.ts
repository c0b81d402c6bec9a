// Writes and reads the header that passes the addresses of a client's connection on: PROXY protocol, versions 1 and 2.
//
//   v1   PROXY TCP4|TCP6 source destination source-port destination-port CR LF
//   v2   signature 12 | 0x21 | family 1 | length 2 | source | destination | ports 2 + 2 | TLV*
//   TLV  type 1 | length 2 | value
//   SSL  client flags 1 | verify 4 | TLV* (version, common name of the client's certificate, cipher)

import { isIPv4, isIPv6, type Socket, SocketAddress } from 'node:net'

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

// Reads the header in which a balancer passes the addresses of a client's connection: PROXY protocol, versions 1
// and 2. The layout of both is at the top of this file.
//
// Headers are only read from balancers that the operator listed, but what they pass on may come from anybody: the
// size of a header is bounded, and everything that is not exactly a header is refused.

export interface ProxyHeader {
  /** Bytes of the header; the client's own bytes begin behind it. */
  readonly lengthBytes: number
  /**
   * Both ends of the client's connection; undefined when the balancer opened it for itself or does not name them.
   */
  readonly endpoints: Endpoints | undefined
}

/** Says for the log why bytes are not a header. */
export interface WrongHeader {
  readonly problem: string
}

/** Longest header of version 1 with its line end (specification, section 2.1). */
export const MAX_V1_BYTES = 107
/**
 * Largest total of addresses and additional fields that is read in version 2; the format has room for 65,535 bytes.
 */
export const MAX_V2_CONTENT_BYTES = 8192

const V1_START = Buffer.from('PROXY ', 'latin1')
const V2_HEAD_BYTES = 16
const VERSION_2 = 0x20
const LOCAL = 0x20
const PROXY = 0x21
/**
 * Bytes of both addresses and both ports, by the byte for address family and transport; 0 for `unspecified`, where
 * none are read.
 */
const ADDRESS_BYTES: ReadonlyMap<number, number> = new Map([
  [0x00, 0],
  [0x11, 12],
  [0x21, 36],
  [0x31, 216],
])
const CR = 0x0d
const LF = 0x0a

/** Reads the header at the start of the bytes. Returns `incomplete` when more bytes may make it a header. */
export function parseProxyHeader(bytes: Buffer): ProxyHeader | WrongHeader | 'incomplete' {
  if (startsLike(bytes, SIGNATURE)) return parseV2(bytes)
  if (startsLike(bytes, V1_START)) return parseV1(bytes)
  return { problem: 'the connection does not begin with a PROXY header' }
}

/** Whether the bytes begin with a PROXY header of either version, or with the first bytes of one. */
export function isLikeProxyHeader(bytes: Buffer): boolean {
  return bytes.length > 0 && (startsLike(bytes, SIGNATURE) || startsLike(bytes, V1_START))
}

/**
 * Reads a header from the socket, puts the bytes behind it back, and calls `done` once, or never when the client
 * goes away first. The caller limits the time, and ends a socket whose other side has ended.
 */
export function readProxyHeader(
  socket: Socket,
  done: (header: ProxyHeader | WrongHeader) => void,
): void {
  let bytes = Buffer.alloc(0)
  const onReadable = () => {
    for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) {
      bytes = Buffer.concat([bytes, chunk])
      const header = parseProxyHeader(bytes)
      if (header === 'incomplete') continue
      socket.off('readable', onReadable)
      const rest = 'lengthBytes' in header ? bytes.subarray(header.lengthBytes) : undefined
      if (rest !== undefined && rest.length > 0) socket.unshift(rest)
      done(header)
      return
    }
  }
  socket.on('readable', onReadable)
}

function startsLike(bytes: Buffer, start: Buffer): boolean {
  const length = Math.min(bytes.length, start.length)
  return bytes.compare(start, 0, length, 0, length) === 0
}

function parseV1(bytes: Buffer): ProxyHeader | WrongHeader | 'incomplete' {
  const end = bytes.subarray(0, MAX_V1_BYTES).indexOf(LF)
  if (end === -1) {
    const isTooLong = bytes.length >= MAX_V1_BYTES
    return isTooLong ? { problem: `version 1: longer than ${MAX_V1_BYTES} bytes` } : 'incomplete'
  }
  if (bytes[end - 1] !== CR) return { problem: 'version 1: the line does not end with CR LF' }
  const lengthBytes = end + 1
  const fields = bytes.toString('latin1', V1_START.length, end - 1).split(' ')
  const [protocol, source = '', destination = '', sourcePort = '', destinationPort = ''] = fields
  // What follows UNKNOWN has no meaning (specification, section 2.1).
  if (protocol === 'UNKNOWN') return { lengthBytes, endpoints: undefined }
  const isHost = protocol === 'TCP4' ? isIPv4 : protocol === 'TCP6' ? isPlainIPv6 : undefined
  if (isHost === undefined) return { problem: 'version 1: the protocol is not TCP4, TCP6, UNKNOWN' }
  if (fields.length !== 5 || !isHost(source) || !isHost(destination)) {
    return { problem: `version 1: not two addresses of ${protocol} and two ports` }
  }
  if (!isPort(sourcePort) || !isPort(destinationPort)) {
    return { problem: 'version 1: a port is not 0..65535' }
  }
  const endpoints = {
    sourceHost: source,
    sourcePort: Number(sourcePort),
    destinationHost: destination,
    destinationPort: Number(destinationPort),
  }
  return { lengthBytes, endpoints }
}

function parseV2(bytes: Buffer): ProxyHeader | WrongHeader | 'incomplete' {
  const { length } = bytes
  const command = bytes[12] ?? PROXY
  if ((command & 0xf0) !== VERSION_2) return { problem: 'version 2: another version' }
  if (command !== LOCAL && command !== PROXY) return { problem: 'version 2: an unknown command' }
  const family = bytes[13] ?? 0
  const addressBytes = ADDRESS_BYTES.get(family)
  // A LOCAL header is accepted with any family (specification, section 2.2).
  if (command === PROXY && addressBytes === undefined) {
    return { problem: 'version 2: neither TCP over IPv4 or IPv6, nor unspecified' }
  }
  if (length < V2_HEAD_BYTES) return 'incomplete'
  const contentBytes = bytes.readUInt16BE(14)
  if (contentBytes > MAX_V2_CONTENT_BYTES) {
    return { problem: `version 2: ${contentBytes} bytes, at most ${MAX_V2_CONTENT_BYTES} are read` }
  }
  if (command === PROXY && contentBytes < (addressBytes ?? 0)) {
    return { problem: 'version 2: too short for its addresses' }
  }
  const lengthBytes = V2_HEAD_BYTES + contentBytes
  if (length < lengthBytes) return 'incomplete'
  const isTcp = family === TCP_OVER_IPV4 || family === TCP_OVER_IPV6
  if (command === LOCAL || !isTcp) return { lengthBytes, endpoints: undefined }
  // The additional fields (TLV) behind the addresses are skipped.
  return { lengthBytes, endpoints: readAddresses(bytes, family === TCP_OVER_IPV4 ? 4 : 16) }
}

function readAddresses(bytes: Buffer, hostBytes: 4 | 16): Endpoints {
  const hostAt = (at: number) => formatHost(bytes.subarray(at, at + hostBytes))
  const portsAt = V2_HEAD_BYTES + 2 * hostBytes
  return {
    sourceHost: hostAt(V2_HEAD_BYTES),
    sourcePort: bytes.readUInt16BE(portsAt),
    destinationHost: hostAt(V2_HEAD_BYTES + hostBytes),
    destinationPort: bytes.readUInt16BE(portsAt + 2),
  }
}

function formatHost(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.')
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(2 * index).toString(16))
  return new SocketAddress({ family: 'ipv6', address: groups.join(':') }).address
}

/** An IPv6 address without a scope, which has no meaning on another machine. */
function isPlainIPv6(host: string): boolean {
  return isIPv6(host) && !host.includes('%')
}

function isPort(text: string): boolean {
  return /^(?:0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535
}
