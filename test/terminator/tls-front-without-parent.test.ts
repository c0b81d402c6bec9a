// Reasons of failed handshakes with a Node whose TLS sockets do not show the connection under them. A file, and so a
// process, of its own: what it takes from Node's sockets stays away.

import assert from 'node:assert/strict'
import { connect as connectTcp, Socket } from 'node:net'
import { after, test } from 'node:test'
import { connect } from 'node:tls'
import { createVirtualHosts } from '../../src/terminator/virtual-hosts.ts'
import { CertificateFolder } from '../support/certificates.ts'
import { until } from '../support/latch.ts'
import { whyWithout } from '../support/programs.ts'
import { closed, startFront } from '../support/terminator-fixture.ts'

const folder = new CertificateFolder()
after(() => folder.remove())

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  const skip = whyWithout('openssl', 'version')
  test(`${version}: a client certificate that is not trusted is counted as that`, {
    skip,
  }, async (t) => {
    removeParent()
    const { cert: clientCa } = folder.make({ commonName: 'authority' })
    const stranger = folder.make({ commonName: 'stranger' })
    const server = folder.make({ commonName: 'a.test', alternatives: ['DNS:a.test'] })
    const hosts = createVirtualHosts([{ name: 'a.test', ...server }], { clientCa })
    const { address, front } = await startFront(t, { clientCa, hosts })
    const client = connect({
      ...address,
      ...stranger,
      servername: 'a.test',
      rejectUnauthorized: false,
      minVersion: version,
      maxVersion: version,
    })
    const early = connectTcp(address, () => early.end())
    for (const socket of [client, early]) socket.on('error', () => {})
    client.resume()
    await closed(client)
    const failures = () => front.readStats().failures
    await until('both are counted', () => failures().closed + failures().client_certificate === 2)
    assert.equal(failures().client_certificate, 1)
  })
}

/** An inherited setter swallows what Node assigns, and null is what Node means by none. */
function removeParent(): void {
  const property = { configurable: true, get: () => null, set: () => {} }
  Object.defineProperty(Socket.prototype, '_parent', property)
}
