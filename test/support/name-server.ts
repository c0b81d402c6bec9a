// A name server on loopback that knows what a test tells it: A, AAAA and SRV records over UDP (RFC 1035,
// RFC 2782).

import { createSocket, type RemoteInfo } from 'node:dgram'
import { once } from 'node:events'
import { isIPv6 } from 'node:net'
import type { HostAddress } from '../../src/base/address.ts'

const HEADER_BYTES = 12
const TYPES = { a: 1, aaaa: 28, srv: 33 } as const
const CLASS_IN = 1
const TTL_SEC = 0
/** Response, authoritative, recursion available. */
const ANSWER_FLAGS = 0x8580
const NAME_ERROR = 3
/** Compression: the name of the question, behind the header. */
const POINTER_TO_QUESTION = 0xc000 + HEADER_BYTES

export class NameServer {
  /** Literal addresses by name. */
  readonly addresses = new Map<string, readonly string[]>()
  readonly services = new Map<string, readonly HostAddress[]>()
  readonly #socket = createSocket('udp4')

  /** Resolves with `host:port`, as setServers takes it. */
  async start(): Promise<string> {
    this.#socket.on('message', (query, from) => this.#answer(query, from))
    this.#socket.bind(0, '127.0.0.1')
    await once(this.#socket, 'listening')
    return `127.0.0.1:${this.#socket.address().port}`
  }

  stop(): void {
    this.#socket.close()
  }

  #answer(query: Buffer, from: RemoteInfo): void {
    const { name, end } = readName(query)
    const type = query.readUInt16BE(end)
    const records = this.#recordsOf(name, type)
    const isKnown = this.addresses.has(name) || this.services.has(name)
    const header = Buffer.alloc(HEADER_BYTES)
    query.copy(header, 0, 0, 2)
    header.writeUInt16BE(ANSWER_FLAGS | (isKnown ? 0 : NAME_ERROR), 2)
    header.writeUInt16BE(1, 4)
    header.writeUInt16BE(records.length, 6)
    const question = query.subarray(HEADER_BYTES, end + 4)
    const answers = records.map((data) => recordOf(type, data))
    this.#socket.send(Buffer.concat([header, question, ...answers]), from.port, from.address)
  }

  #recordsOf(name: string, type: number): Buffer[] {
    const addresses = this.addresses.get(name) ?? []
    if (type === TYPES.a) return addresses.filter((one) => !isIPv6(one)).map(bytesOfIpv4)
    if (type === TYPES.aaaa) return addresses.filter(isIPv6).map(bytesOfIpv6)
    return type === TYPES.srv ? (this.services.get(name) ?? []).map(bytesOfService) : []
  }
}

function readName(query: Buffer): { name: string; end: number } {
  const labels: string[] = []
  let at = HEADER_BYTES
  for (let length = query.readUInt8(at); length > 0; length = query.readUInt8(at)) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  return { name: labels.join('.').toLowerCase(), end: at + 1 }
}

function recordOf(type: number, data: Buffer): Buffer {
  const head = Buffer.alloc(12)
  head.writeUInt16BE(POINTER_TO_QUESTION, 0)
  head.writeUInt16BE(type, 2)
  head.writeUInt16BE(CLASS_IN, 4)
  head.writeUInt32BE(TTL_SEC, 6)
  head.writeUInt16BE(data.length, 10)
  return Buffer.concat([head, data])
}

function bytesOfIpv4(address: string): Buffer {
  return Buffer.from(address.split('.').map(Number))
}

function bytesOfIpv6(address: string): Buffer {
  const [before = '', after] = address.split('::')
  const groups = (text: string) => (text === '' ? [] : text.split(':'))
  const missing = 8 - groups(before).length - groups(after ?? '').length
  const all = [...groups(before), ...Array(missing).fill('0'), ...groups(after ?? '')]
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex')
}

function bytesOfService({ host, port }: HostAddress): Buffer {
  const numbers = Buffer.alloc(6)
  numbers.writeUInt16BE(port, 4)
  const labels = host.split('.').map((label) => Buffer.from([label.length, ...Buffer.from(label)]))
  return Buffer.concat([numbers, ...labels, Buffer.alloc(1)])
}
