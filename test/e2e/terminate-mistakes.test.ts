// Mistakes in the settings of `tlscached terminate`: each ends it at once with one line that names the flag.

import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { CertificateFolder } from '../support/certificates.ts'
import { runCli } from '../support/node-processes.ts'
import { whyWithout } from '../support/programs.ts'

/** Nobody listens there, and nobody is asked. */
const NODE = 'unix:/run/tlscached-none/rpc.sock'

describe('mistakes in flags of terminate', { skip: whyWithout('openssl', 'version') }, () => {
  const folder = new CertificateFolder()
  after(() => folder.remove())
  const shop = folder.make({ commonName: 'shop.test', alternatives: ['DNS:shop.test'] })
  const authority = folder.make({ commonName: 'authority' })

  const mistakes: readonly (readonly [string, readonly string[], RegExp])[] = [
    ['a node on another machine', ['--node', '192.0.2.1:1'], /^--node: node: .*set insecure\n$/],
    ['a cache that is none', ['--node', NODE, '--cache', '?'], /^--cache: cache: must be .*\n$/],
    [
      'a revocation list without authorities',
      ['--node', NODE, '--client-crl', 'crl.pem'],
      /^--client-crl: client_crl: needs client_ca\n$/,
    ],
    [
      'a revocation list that is none',
      ['--node', NODE, '--client-ca', authority.certFile, '--client-crl', authority.certFile],
      /^--client-crl: client_crl: the file has no "BEGIN X509 CRL"\n$/,
    ],
    [
      'a range of balancers that is none',
      ['--node', NODE, '--accept-proxy-protocol', '192.0.2.0/33'],
      /^--accept-proxy-protocol: accept_proxy_protocol\[0\]: "192\.0\.2\.0\/33" is not an IP address/,
    ],
    ['an option that is none', ['--node', NODE, '--nodes', '1'], /^error: unknown option/],
  ]
  for (const [name, flags, message] of mistakes) {
    test(`${name}: exit code 2, one line`, async () => {
      const { code, stdout, stderr } = await runCli([
        ...['terminate', '--listen', '127.0.0.1:1', '--backend', '[::1]:1', ...flags],
        ...['--cert', shop.certFile, '--key', shop.keyFile],
      ])
      assert.deepEqual([code, stdout], [2, ''])
      assert.match(stderr, message)
    })
  }
})
