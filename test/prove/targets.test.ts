// Which servers a command line means: forms of addresses, names with several addresses, ports of protocols.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { codeOf } from '../../src/base/errors.ts'
import {
  MAX_SERVERS,
  parseTarget,
  type Resolve,
  resolveServers,
  serverNameOf,
} from '../../src/prove/targets.ts'

const FORMS: readonly (readonly [text: string, host: string, port: number])[] = [
  ['shop.example', 'shop.example', 443],
  ['shop.example:8443', 'shop.example', 8443],
  ['192.0.2.1', '192.0.2.1', 443],
  ['192.0.2.1:1', '192.0.2.1', 1],
  ['2001:db8::1', '2001:db8::1', 443],
  ['[2001:db8::1]', '2001:db8::1', 443],
  ['[2001:db8::1]:65535', '2001:db8::1', 65_535],
]

describe('a target', () => {
  for (const [text, host, port] of FORMS) {
    test(text, () => assert.deepEqual(parseTarget(text), { host, port }))
  }
  for (const text of [
    '',
    ':443',
    'a:',
    'a:0',
    'a:65536',
    '[a]:1',
    'a:b',
    'a b',
    'https://a',
    '[::1',
  ]) {
    test(`"${text}" is none`, () => {
      assert.throws(
        () => parseTarget(text),
        (error) => codeOf(error) === 'ERR_ADDRESS',
      )
    })
  }
  test('without a port has that of its protocol', () => {
    const ports = (['smtp', 'imap', 'pop3', 'postgres'] as const).map(
      (protocol) => parseTarget('a', protocol).port,
    )
    assert.deepEqual(ports, [25, 143, 110, 5432])
    assert.equal(parseTarget('a:587', 'smtp').port, 587)
  })
})

const resolve: Resolve = async (host) => {
  if (host === 'none.example') return []
  if (host !== 'shop.example') throw new Error(`getaddrinfo ENOTFOUND ${host}`)
  return [{ address: '192.0.2.1' }, { address: '2001:db8::1' }]
}

describe('servers', () => {
  test('every address of a name is one, each only once, in the order of the targets', async () => {
    const targets = ['192.0.2.9:8443', 'shop.example', '192.0.2.1'].map((text) => parseTarget(text))
    const servers = await resolveServers(targets, resolve)
    assert.deepEqual(
      servers.map(({ name }) => name),
      ['192.0.2.9:8443', '192.0.2.1:443', '[2001:db8::1]:443'],
    )
    assert.equal(serverNameOf(targets), 'shop.example')
    assert.equal(serverNameOf([parseTarget('192.0.2.1')]), undefined)
  })

  test('a name that does not resolve is an error that names it', async () => {
    for (const host of ['none.example', 'gone.example']) {
      await assert.rejects(resolveServers([parseTarget(host)], resolve), (error: Error) => {
        assert.equal(codeOf(error), 'ERR_UNREACHABLE')
        return error.message.includes(host)
      })
    }
  })

  test('their number is bounded', async () => {
    const targets = Array.from({ length: MAX_SERVERS + 1 }, (_, at) => parseTarget(`192.0.2.${at}`))
    await assert.rejects(resolveServers(targets, resolve), /65 servers: at most 64/)
    assert.equal((await resolveServers(targets.slice(1), resolve)).length, MAX_SERVERS)
  })
})
