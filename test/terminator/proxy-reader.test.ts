// PROXY headers of balancers: each read whole and byte by byte, those of a real HAProxy, and bytes at random.

import assert from 'node:assert/strict'
import { SocketAddress } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  type Endpoints,
  MAX_V1_BYTES,
  MAX_V2_CONTENT_BYTES,
  parseProxyHeader,
  proxyHeader,
} from '../../src/terminator/proxy-protocol.ts'

const SIGNATURE = '0d0a0d0a000d0a515549540a'
const hex = (text: string) => Buffer.from(text, 'hex')
const line = (text: string) => Buffer.from(`PROXY ${text}\r\n`, 'latin1')
const v2 = (head: string, content = '') => {
  const length = (content.length / 2).toString(16).padStart(4, '0')
  return hex(`${SIGNATURE}${head}${length}${content}`)
}
const ends = (
  sourceHost: string,
  sourcePort: number,
  destinationHost: string,
  destinationPort: number,
): Endpoints => ({ sourceHost, sourcePort, destinationHost, destinationPort })

const V6_A = '20010db8000000000000000000000001'
const V6_B = '20010db80000000000000000000000ff'
const LOOPBACK_6 = '00000000000000000000000000000001'

const HEADERS: Readonly<Record<string, readonly [Buffer, Endpoints | undefined]>> = {
  'HAProxy 2.6, version 1, IPv4': [
    hex('50524f58592054435034203132372e302e302e31203132372e302e302e312034313835342031383435300d0a'),
    ends('127.0.0.1', 41854, '127.0.0.1', 18450),
  ],
  'HAProxy 2.6, version 2, IPv4, with a checksum': [
    hex(`${SIGNATURE}211100167f0000017f000001beee480a03000481ad01a6050000`),
    ends('127.0.0.1', 48878, '127.0.0.1', 18442),
  ],
  'HAProxy 2.6, version 2, IPv6, with a checksum': [
    hex(`${SIGNATURE}2121002e${LOOPBACK_6}${LOOPBACK_6}933c480a03000420a4883b050000`),
    ends('::1', 37692, '::1', 18442),
  ],
  'HAProxy 2.6, version 2, its health check': [
    hex(`${SIGNATURE}20000007030004a9b87e8f`),
    undefined,
  ],
  'version 1, IPv6': [
    line('TCP6 2001:db8::1 2001:db8::ff 1 65535'),
    ends('2001:db8::1', 1, '2001:db8::ff', 65_535),
  ],
  'version 1, unknown': [line('UNKNOWN'), undefined],
  'version 1, unknown, with more': [line('UNKNOWN ffff::1 ffff::2 1 2'), undefined],
  'version 1, as long as it may be': [line(`UNKNOWN ${'x'.repeat(MAX_V1_BYTES - 16)}`), undefined],
  'version 2, IPv6': [
    v2('2121', `${V6_A}${V6_B}0001ffff`),
    ends('2001:db8::1', 1, '2001:db8::ff', 65_535),
  ],
  'version 2, local, of a family that is none': [v2('20ff', '0102'), undefined],
  'version 2, unspecified': [v2('2100'), undefined],
  'version 2, unix sockets': [v2('2131', '00'.repeat(216)), undefined],
  'version 2, as long as it may be': [
    v2('2111', `0a0000010a00000200010002${'00'.repeat(MAX_V2_CONTENT_BYTES - 12)}`),
    ends('10.0.0.1', 1, '10.0.0.2', 2),
  ],
}

const REST = Buffer.from([22, 3, 1, 2, 0])

for (const [name, [header, endpoints]] of Object.entries(HEADERS)) {
  test(`${name}: read whole, and byte by byte`, () => {
    const expected = { lengthBytes: header.length, endpoints }
    for (let length = 0; length < header.length; length += 1) {
      assert.equal(parseProxyHeader(header.subarray(0, length)), 'incomplete', `${length} bytes`)
    }
    assert.deepEqual(parseProxyHeader(header), expected)
    assert.deepEqual(parseProxyHeader(Buffer.concat([header, REST])), expected)
  })
}

const MISTAKES: Readonly<Record<string, readonly [Buffer, RegExp]>> = {
  'a ClientHello': [REST, /does not begin/],
  HTTP: [Buffer.from('GET / HTTP/1.1\r\n'), /does not begin/],
  'small letters': [Buffer.from('proxy TCP4 '), /does not begin/],
  'a line without an end': [Buffer.from(`PROXY ${'x'.repeat(MAX_V1_BYTES - 6)}`), /107 bytes/],
  'a line feed alone': [Buffer.from('PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n'), /CR LF/],
  UDP: [line('UDP4 1.1.1.1 1.1.1.1 1 1'), /protocol/],
  'no protocol': [line(''), /protocol/],
  'an address too few': [line('TCP4 1.1.1.1 1 1'), /two addresses/],
  'a field too many': [line('TCP4 1.1.1.1 1.1.1.1 1 1 1'), /two addresses/],
  'two spaces': [line('TCP4  1.1.1.1 1.1.1.1 1 1'), /two addresses/],
  'another family': [line('TCP4 ::1 ::1 1 1'), /two addresses of TCP4/],
  'a name': [line('TCP4 localhost 1.1.1.1 1 1'), /two addresses/],
  'a scope': [line('TCP6 fe80::1%eth0 ::1 1 1'), /two addresses of TCP6/],
  'a port too high': [line('TCP4 1.1.1.1 1.1.1.1 65536 1'), /port/],
  'a port with a zero in front': [line('TCP4 1.1.1.1 1.1.1.1 01 1'), /port/],
  'a negative port': [line('TCP4 1.1.1.1 1.1.1.1 -1 1'), /port/],
  'version 1 in the form of version 2': [hex(`${SIGNATURE}11`), /another version/],
  'a command that is none': [hex(`${SIGNATURE}22`), /command/],
  'UDP over IPv4': [hex(`${SIGNATURE}2112`), /neither TCP/],
  'a family that is none': [hex(`${SIGNATURE}2141`), /neither TCP/],
  'IPv4 too short': [v2('2111', '00'.repeat(11)), /too short/],
  'IPv6 too short': [v2('2121', '00'.repeat(35)), /too short/],
  'more than is read': [hex(`${SIGNATURE}21112001`), /8193 bytes, at most 8192/],
  'as much as there can be': [hex(`${SIGNATURE}2000ffff`), /65535 bytes/],
}

for (const [name, [bytes, problem]] of Object.entries(MISTAKES)) {
  test(`${name}: no header, known as soon as it can be`, () => {
    const header = parseProxyHeader(bytes)
    assert.ok(typeof header === 'object' && 'problem' in header)
    assert.match(header.problem, problem)
    // And it stays so, whatever follows.
    assert.deepEqual(parseProxyHeader(Buffer.concat([bytes, REST])), header)
  })
}

test('what this terminator writes, it reads', () => {
  const hosts = fc.oneof(
    fc.tuple(fc.constant('ipv4' as const), fc.ipV4(), fc.ipV4()),
    fc.tuple(fc.constant('ipv6' as const), fc.ipV6(), fc.ipV6()),
  )
  const port = fc.nat(65_535)
  fc.assert(
    fc.property(hosts, port, port, fc.constantFrom('v1', 'v2'), (hosts, from, to, version) => {
      const [family, ...pair] = hosts
      const [source = '', destination = ''] = pair.map((address) => {
        return new SocketAddress({ family, address }).address
      })
      // An IPv4 address inside IPv6 is written as IPv4: see proxy-protocol.ts.
      if (family === 'ipv6' && `${source}${destination}`.includes('.')) return
      const endpoints = ends(source, from, destination, to)
      const header = proxyHeader(version, {
        ...endpoints,
        tlsVersion: 'TLSv1.3',
        cipher: 'TLS_AES_256_GCM_SHA384',
        serverName: 'a.test',
        applicationProtocol: 'h2',
        hasClientCertificate: false,
        clientCommonName: '',
      })
      assert.deepEqual(parseProxyHeader(header), { lengthBytes: header.length, endpoints })
    }),
  )
})

test('bytes at random, and headers with bytes changed: a header within its bounds, or none', () => {
  const start = fc.constantFrom('', SIGNATURE, `${SIGNATURE}21`, '50524f585920').map(hex)
  const changed = fc
    .tuple(fc.constantFrom(...Object.values(HEADERS)), fc.nat(), fc.nat(255))
    .map(([[header], at, value]) => {
      const copy = Buffer.from(header)
      copy[at % copy.length] = value
      return copy
    })
  const random = fc
    .tuple(start, fc.uint8Array({ maxLength: 300 }))
    .map(([head, tail]) => Buffer.concat([head, tail]))
  fc.assert(
    fc.property(fc.oneof(random, changed), (bytes) => {
      const header = parseProxyHeader(bytes)
      if (header === 'incomplete') {
        assert.ok(bytes.length < 16 + MAX_V2_CONTENT_BYTES)
      } else if ('lengthBytes' in header) {
        assert.ok(header.lengthBytes <= bytes.length)
        // The header is the same without what follows it, and incomplete without its last byte.
        const alone = bytes.subarray(0, header.lengthBytes)
        assert.deepEqual(parseProxyHeader(alone), header)
        assert.equal(parseProxyHeader(alone.subarray(0, -1)), 'incomplete')
      }
    }),
    { numRuns: 20_000, seed: 20 },
  )
})
