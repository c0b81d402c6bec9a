// Which certificate answers for which name, and which contexts keep virtual hosts apart.

import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import {
  type CertificatePair,
  createVirtualHosts,
  type VirtualHostsOptions,
} from '../../src/terminator/virtual-hosts.ts'
import { CertificateFolder, type CertificateOptions } from '../support/certificates.ts'
import { whyWithout } from '../support/programs.ts'

describe('virtual hosts', { skip: whyWithout('openssl', 'version') }, () => {
  const folder = new CertificateFolder()
  after(() => folder.remove())

  function pair(name: string, options: Omit<CertificateOptions, 'commonName'> = {}) {
    const { cert, key } = folder.make({ commonName: name, ...options })
    return { name: `${name}.pem`, cert, key }
  }

  const shop = pair('shop', { alternatives: ['DNS:Shop.test', 'DNS:*.shop.test', 'IP:127.0.0.1'] })
  const mail = pair('mail', { alternatives: ['DNS:mail.test', 'DNS:www.shop.test'] })
  const plain = pair('plain')
  const contextsOf = (pairs: readonly CertificatePair[], options?: VirtualHostsOptions) =>
    createVirtualHosts(pairs, options).all.map(({ context }) => context)

  const names: readonly (readonly [string, 'shop' | 'mail'])[] = [
    ['shop.test', 'shop'],
    ['SHOP.Test', 'shop'],
    ['shop.test.', 'shop'],
    ['a.shop.test', 'shop'],
    ['www.shop.test', 'mail'],
    ['mail.test', 'mail'],
    ['a.b.shop.test', 'shop'],
    ['unknown.test', 'shop'],
    ['a.mail.test', 'shop'],
    ['*', 'shop'],
    ['', 'shop'],
  ]
  for (const [name, expected] of names) {
    test(`"${name}" is answered by ${expected}`, () => {
      const hosts = createVirtualHosts([shop, mail])
      const [first, second] = hosts.all
      assert.equal(hosts.find(name), expected === 'shop' ? first : second)
    })
  }

  test('a wildcard stands for one level, and not for the name itself', () => {
    const hosts = createVirtualHosts([mail, pair('wild', { alternatives: ['DNS:*.wild.test'] })])
    const [first, wild] = hosts.all
    assert.equal(hosts.find('a.wild.test'), wild)
    assert.equal(hosts.find('wild.test'), first)
    assert.equal(hosts.find('a.b.wild.test'), first)
  })

  test('each host has a context of its own, of 32 bytes, the same after a renewal', () => {
    const contexts = contextsOf([shop, mail])
    assert.equal(new Set(contexts).size, 2)
    for (const context of contexts) assert.match(context, /^[0-9a-f]{32}$/)
    const renewed = pair('other subject', {
      alternatives: ['IP:127.0.0.1', 'DNS:*.shop.test', 'DNS:shop.test'],
    })
    assert.deepEqual(contextsOf([renewed]), contexts.slice(0, 1))
    assert.deepEqual(contextsOf([mail]), contexts.slice(1))
  })

  test('where client certificates are asked for, the contexts are others', () => {
    const all = [undefined, 'one', 'two'].flatMap((clientCa) =>
      contextsOf([shop], clientCa === undefined ? {} : { clientCa }),
    )
    assert.equal(new Set(all).size, 3)
  })

  test('a certificate without names can be the default only', () => {
    assert.equal(createVirtualHosts([plain]).find('plain').names.length, 0)
    assert.throws(() => createVirtualHosts([shop, plain]), {
      code: 'ERR_CONFIG',
      message:
        'cert: plain.pem has no DNS name that an earlier one does not have, and would never be used',
    })
  })

  test('two kinds of keys for the same names make one host', () => {
    const rsa = pair('shop', {
      alternatives: ['DNS:shop.test', 'DNS:*.shop.test', 'IP:127.0.0.1'],
      keyType: 'rsa',
    })
    const { all } = createVirtualHosts([shop, mail, rsa])
    assert.deepEqual(
      all.map(({ cert }) => cert.length),
      [2, 1],
    )
    assert.throws(() => createVirtualHosts([shop, { ...shop, name: 'again.pem' }]), {
      code: 'ERR_CONFIG',
      message: 'cert: again.pem is for the same names as shop.pem and would never be used',
    })
  })

  test('contexts given are taken, one for each host', () => {
    assert.deepEqual(contextsOf([shop, mail], { contexts: ['a', 'b'.repeat(32)] }), [
      'a',
      'b'.repeat(32),
    ])
  })

  const wrongContexts: readonly (readonly [string, readonly string[], RegExp])[] = [
    ['too long', ['a'.repeat(33), 'b'], /^context: .* 1\.\.32 bytes, this one has 33$/],
    ['too long in bytes', ['a', 'é'.repeat(17)], /^context: .*has 34$/],
    ['empty', ['', 'b'], /^context: .*has 0$/],
    ['too few', ['a'], /^context: one for each virtual host, not 1 for 2/],
    ['too many', ['a', 'b', 'c'], /^context: one for each virtual host, not 3 for 2/],
    ['the same twice', ['a', 'a'], /^context: the same for two virtual hosts$/],
  ]
  for (const [name, contexts, message] of wrongContexts) {
    test(`contexts are refused: ${name}`, () => {
      assert.throws(() => createVirtualHosts([shop, mail], { contexts }), {
        code: 'ERR_CONFIG',
        message,
      })
    })
  }

  const wrongPairs: readonly (readonly [string, CertificatePair, RegExp])[] = [
    ['no PEM', { ...shop, cert: 'x' }, /^cert: shop\.pem: /],
    ['a key that is none', { ...shop, key: 'x' }, /^key: key of shop\.pem: /],
    ['the key of another', { ...shop, key: mail.key }, /^key: not the key .* in shop\.pem$/],
  ]
  for (const [name, wrong, message] of wrongPairs) {
    test(`a certificate is refused: ${name}`, () => {
      assert.throws(
        () => createVirtualHosts([wrong]),
        (error: Error) => {
          assert.match(error.message, message)
          assert.equal(error.message.includes('PRIVATE'), false)
          return true
        },
      )
    })
  }

  test('no certificate at all is refused', () => {
    assert.throws(() => createVirtualHosts([]), { code: 'ERR_CONFIG' })
  })
})
