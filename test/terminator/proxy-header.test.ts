// The PROXY header, byte for byte, and read back by a reader of its own.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { type ProxiedConnection, proxyHeader } from '../../src/terminator/proxy-protocol.ts'

const connection: ProxiedConnection = {
  sourceHost: '192.0.2.1',
  sourcePort: 40_000,
  destinationHost: '198.51.100.2',
  destinationPort: 443,
  tlsVersion: 'TLSv1.3',
  cipher: 'X',
  serverName: '',
  applicationProtocol: '',
  hasClientCertificate: false,
  clientCommonName: '',
}
const v6 = { sourceHost: '2001:db8::1', destinationHost: '2001:db8::2' }

const texts: readonly (readonly [string, Partial<ProxiedConnection>, string])[] = [
  ['IPv4', {}, 'PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n'],
  ['IPv6', v6, 'PROXY TCP6 2001:db8::1 2001:db8::2 40000 443\r\n'],
  [
    'IPv4 on a socket for both',
    { sourceHost: '::ffff:192.0.2.1', destinationHost: '::FFFF:198.51.100.2' },
    'PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n',
  ],
  [
    'a scope',
    { sourceHost: 'fe80::1%eth0', destinationHost: 'fe80::2%eth0' },
    'PROXY TCP6 fe80::1 fe80::2 40000 443\r\n',
  ],
  ['both families', { destinationHost: '::1' }, 'PROXY TCP6 ::ffff:192.0.2.1 ::1 40000 443\r\n'],
]

const SIGNATURE = '0d0a0d0a000d0a515549540a'
/** client flags, verify, version TLSv1.3, cipher X */
const SSL = '200014 01 00000000 210007 544c5376312e33 230001 58'

const bytes: readonly (readonly [string, Partial<ProxiedConnection>, string])[] = [
  [
    'IPv4',
    {},
    `${SIGNATURE} 21 11 0022 c0000201 c6336402 9c40 01bb ${SSL.replace('0014', '0013')}`,
  ],
  [
    'IPv6',
    v6,
    `${SIGNATURE} 21 21 003a 20010db8000000000000000000000001 20010db8000000000000000000000002 ` +
      `9c40 01bb ${SSL.replace('0014', '0013')}`,
  ],
  [
    'names and a certificate',
    {
      serverName: 'a.b',
      applicationProtocol: 'h2',
      hasClientCertificate: true,
      clientCommonName: 'me',
    },
    `${SIGNATURE} 21 11 0032 c0000201 c6336402 9c40 01bb 010002 6832 020003 612e62 ` +
      '200018 07 00000000 210007 544c5376312e33 220002 6d65 230001 58',
  ],
]

describe('version 1', () => {
  for (const [name, changes, expected] of texts) {
    test(name, () => {
      const header = proxyHeader('v1', { ...connection, ...changes })
      assert.equal(header.toString('latin1'), expected)
    })
  }
})

describe('version 2', () => {
  for (const [name, changes, expected] of bytes) {
    test(name, () => {
      const header = proxyHeader('v2', { ...connection, ...changes })
      assert.equal(header.toString('hex'), expected.replaceAll(' ', ''))
    })
  }

  test('any IPv6 address and any names come out as they went in', () => {
    const group = fc.integer({ min: 0, max: 0xffff })
    const groups = fc.array(group, { minLength: 8, maxLength: 8 })
    fc.assert(
      fc.property(groups, fc.string({ maxLength: 300 }), fc.string(), (address, serverName, cn) => {
        // The URL parser writes an address in its shortest form.
        const literal = address.map((one) => one.toString(16)).join(':')
        const sourceHost = new URL(`http://[${literal}]`).hostname.slice(1, -1)
        const header = proxyHeader('v2', {
          ...connection,
          sourceHost,
          destinationHost: '::1',
          serverName,
          clientCommonName: cn,
        })
        assert.equal(header.readUInt16BE(14), header.length - 16)
        const isMapped = /^::ffff:/.test(sourceHost)
        if (!isMapped) {
          const found = Array.from({ length: 8 }, (_, at) => header.readUInt16BE(16 + 2 * at))
          assert.deepEqual(found, address)
        }
        const top = readTlvs(header.subarray(16 + 36))
        assert.equal(top.get(0x02)?.toString() ?? '', serverName)
        const ssl = top.get(0x20) ?? Buffer.alloc(0)
        assert.equal(readTlvs(ssl.subarray(5)).get(0x22)?.toString() ?? '', cn)
      }),
    )
  })
})

function readTlvs(content: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>()
  for (let at = 0; at < content.length; ) {
    const length = content.readUInt16BE(at + 1)
    found.set(content.readUInt8(at), content.subarray(at + 3, at + 3 + length))
    at += 3 + length
  }
  return found
}
