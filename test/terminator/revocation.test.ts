// Revocation lists as openssl makes them: who is revoked, which lists are refused, and what a front does with them.

import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { after, describe, test } from 'node:test'
import { type ConnectionOptions, connect } from 'node:tls'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { Revocations, warnWhenExpired } from '../../src/terminator/revocation.ts'
import { createVirtualHosts } from '../../src/terminator/virtual-hosts.ts'
import { CertificateFolder } from '../support/certificates.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { until } from '../support/latch.ts'
import { whyWithout } from '../support/programs.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { closed, type RunningFront, readAll, startFront } from '../support/terminator-fixture.ts'

const NOW_MS = Date.UTC(2026, 10, 30)

describe('revocation lists', { skip: whyWithout('openssl', 'version') }, () => {
  const folder = new CertificateFolder()
  after(() => folder.remove())
  const authority = folder.make({ commonName: 'authority' })
  const rsa = folder.make({ commonName: 'rsa', keyType: 'rsa' })
  const middle = folder.make({ commonName: 'middle', issuer: authority })
  const [good, bad] = ['good', 'bad'].map((commonName) => {
    return folder.make({ commonName, issuer: authority })
  }) as [typeof authority, typeof authority]
  const behind = folder.make({ commonName: 'behind', issuer: middle })
  const empty = folder.makeCrl(authority, [])
  const full = folder.makeCrl(authority, [bad])

  const isRevoked = (revocations: Revocations, { cert }: typeof authority) =>
    revocations.isRevoked(new X509Certificate(cert))

  test('a certificate is revoked when the list of its issuer has its serial number', () => {
    const revocations = new Revocations(full, authority.cert)
    assert.equal(isRevoked(revocations, bad), true)
    assert.equal(isRevoked(revocations, good), false)
    assert.equal(isRevoked(new Revocations(empty, authority.cert), bad), false)
    revocations.checkTimes(NOW_MS)
  })

  test('with an authority that is revoked, everything below it is', () => {
    const lists = [folder.makeCrl(authority, [middle]), folder.makeCrl(middle, [])].join('')
    const revocations = new Revocations(lists, middle.cert + authority.cert)
    assert.deepEqual(
      [middle, behind, good].map((one) => isRevoked(revocations, one)),
      [true, true, false],
    )
  })

  test('lists of several authorities, with keys of different kinds', () => {
    const both = full + folder.makeCrl(rsa, [])
    const revocations = new Revocations(both, rsa.cert + authority.cert)
    assert.equal(revocations.pems.length, 2)
    assert.equal(isRevoked(revocations, bad), true)
  })

  /** The list of an authority in which one serial number was changed. */
  const forged = (() => {
    const der = Buffer.from(full.replace(/-----[^-]+-----/g, ''), 'base64')
    const serial = Buffer.from(new X509Certificate(bad.cert).serialNumber, 'hex')
    const last = der.indexOf(serial) + serial.length - 1
    der[last] = (der[last] ?? 0) ^ 1
    return `-----BEGIN X509 CRL-----\n${der.toString('base64')}\n-----END X509 CRL-----\n`
  })()
  const mistakes: readonly (readonly [string, string, RegExp])[] = [
    ['no list', authority.cert, /^client_crl: the file has no "BEGIN X509 CRL"$/],
    [
      'no CRL within',
      '-----BEGIN X509 CRL-----\nMAAA\n-----END X509 CRL-----',
      /^client_crl: list 1: it is not a CRL$/,
    ],
    [
      'the list of somebody else',
      full + folder.makeCrl(rsa, []),
      /list 2: no certificate of client_ca/,
    ],
    ['a list that was changed', forged, /list 1: no certificate of client_ca has signed it/],
  ]
  for (const [name, pem, message] of mistakes) {
    test(`${name} is refused`, () => {
      assert.throws(() => new Revocations(pem, authority.cert), { code: 'ERR_CONFIG', message })
    })
  }

  test('an authority without a list is refused, as none of its clients would get in', () => {
    assert.throws(() => new Revocations(full, authority.cert + rsa.cert), {
      code: 'ERR_CONFIG',
      message: /it has no list of CN=rsa, which client_ca trusts/,
    })
  })

  test('a list that has expired or is not valid yet is refused', () => {
    const old = folder.makeCrl(authority, [], { nextUpdate: '20261129120000Z' })
    assert.throws(() => new Revocations(old, authority.cert).checkTimes(NOW_MS), {
      code: 'ERR_CONFIG',
      message: /the list of CN=authority expired at 2026-11-29T12:00:00\.000Z/,
    })
    const early = folder.makeCrl(authority, [], { lastUpdate: '20270101000000Z' })
    assert.throws(() => new Revocations(early, authority.cert).checkTimes(NOW_MS), {
      message: /valid only from 2027-01-01/,
    })
  })

  test('a list that expires while it is in use is warned of, once an hour', () => {
    const clock = new FakeClock()
    const nextUpdate = '20260101010000Z'
    const revocations = new Revocations(
      folder.makeCrl(authority, [], { nextUpdate }),
      authority.cert,
    )
    const logger = new RecordingLogger()
    let current: Revocations | undefined = revocations
    const watch = warnWhenExpired(() => current, clock, logger)
    clock.advance(3_600_000)
    assert.equal(logger.lines.length, 0)
    clock.advance(3_600_000)
    assert.equal(logger.lines.length, 1)
    clock.advance(7_200_000)
    assert.equal(logger.lines.length, 3)
    assert.match(
      String(logger.lines[0]?.fields['problem']),
      /CN=authority expired at 2026-01-01T01/,
    )
    current = new Revocations(empty, authority.cert)
    clock.advance(7_200_000)
    assert.equal(logger.lines.length, 3)
    watch.cancel()
    assert.equal(clock.pendingCount, 0)
  })

  const clientCa = authority.cert
  const hosts = createVirtualHosts([{ name: 'demo', ...DEMO_CERTIFICATE }], { clientCa })
  const identityWith = (pem: string) => ({
    hosts,
    clientCa,
    revocations: new Revocations(pem, clientCa),
  })

  /** `hello` and the session, or nothing when the front ends the connection. */
  async function visit({ address }: RunningFront, options: ConnectionOptions) {
    const socket = connect({ ...address, rejectUnauthorized: false, ...options })
    let session: Buffer | undefined
    let received = ''
    socket.on('session', (bytes: Buffer) => {
      session = bytes
    })
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString()
    })
    const isReused = once(socket, 'secureConnect').then(
      () => socket.isSessionReused(),
      () => false,
    )
    socket.on('end', () => socket.end())
    await closed(socket)
    return { received, session, isReused: await isReused }
  }

  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`${maxVersion}: after a reload a revoked client neither shakes hands nor resumes`, async (t) => {
      const running = await startFront(t, identityWith(empty))
      const { front } = running
      const ofBad = { cert: bad.cert, key: bad.key, maxVersion }
      const ofGood = { cert: good.cert, key: good.key, maxVersion }
      const firstBad = await visit(running, ofBad)
      const firstGood = await visit(running, ofGood)
      assert.deepEqual([firstBad.received, firstGood.received], ['hello', 'hello'])
      const again = await visit(running, { ...ofBad, session: firstBad.session })
      assert.deepEqual([again.received, again.isReused], ['hello', true])
      front.reload(identityWith(full))
      const resumed = await visit(running, { ...ofBad, session: again.session ?? firstBad.session })
      assert.equal(resumed.received, '')
      assert.equal((await visit(running, ofBad)).received, '')
      await until('both are counted', () => front.readStats().failures.client_certificate === 2)
      const other = await visit(running, { ...ofGood, session: firstGood.session })
      assert.deepEqual([other.received, other.isReused], ['hello', true])
    })
  }

  test('a reload keeps open connections, and its mistakes change nothing', async (t) => {
    const running = await startFront(t, {
      ...identityWith(empty),
      serve: (client) => client.on('error', () => {}).pipe(client),
    })
    const socket = connect({
      ...running.address,
      rejectUnauthorized: false,
      cert: bad.cert,
      key: bad.key,
    })
    await once(socket, 'secureConnect')
    await until('it is served', () => running.front.readStats().handshakes['1.3'].full === 1)
    const wrongHosts = createVirtualHosts([{ name: 'demo', ...DEMO_CERTIFICATE }])
    const [host] = wrongHosts.all
    assert.ok(host !== undefined)
    host.cert[0] = 'no certificate'
    assert.throws(() => running.front.reload({ hosts: wrongHosts }))
    running.front.reload(identityWith(full))
    socket.end('still there')
    assert.equal(await readAll(socket), 'still there')
    assert.equal((await visit(running, { cert: bad.cert, key: bad.key })).received, '')
  })
})
