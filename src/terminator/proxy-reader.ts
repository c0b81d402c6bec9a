// Reads the header in which a balancer passes the addresses of a client's connection: PROXY protocol, versions 1
// and 2. The layout of both is in proxy-header.ts, which writes them.
//
// Headers are only read from balancers that the operator listed, but what they pass on may come from anybody: the
// size of a header is bounded, and everything that is not exactly a header is refused.

import { isIPv4, isIPv6, type Socket, SocketAddress } from 'node:net'
import { type Endpoints, SIGNATURE } from './proxy-header.ts'

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
const TCP_OVER_IPV4 = 0x11
const TCP_OVER_IPV6 = 0x21
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
