// Two stock Apaches, each with its own node beside it: what one of them makes, the other one resumes. The
// short form of what test/terminators does at length for every kind of terminator.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { whyWithout } from '../support/programs.ts'
import { apache } from '../terminators/apache.ts'
import { makeCertificates } from '../terminators/certificates.ts'
import { makePair, type Pair } from '../terminators/host.ts'
import type { SharingService, TerminatorKind } from '../terminators/kind.ts'
import { assertAll, Client } from '../terminators/sharing.ts'

const KIND: TerminatorKind = { ...apache, sessions: 10 }

describe('Apache, unmodified', { skip: KIND.skip || whyWithout('openssl', 'version') }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-apache-'))
  const shops: SharingService[] = []
  let pair: Pair | undefined

  before(async () => {
    await makeCertificates(folder)
    pair = await makePair(folder)
    const started = await Promise.all(pair.hosts.map((host) => KIND.start(host)))
    shops.push(...started.map(({ shop }) => shop))
  })

  after(async () => {
    await pair?.stop()
    await Promise.all(shops.map(({ node }) => node.stop()))
    rmSync(folder, { recursive: true })
  })

  function both(): readonly [SharingService, SharingService] {
    const [first, second] = shops
    if (first === undefined || second === undefined) throw new Error('two did not start')
    return [first, second]
  }

  for (const version of KIND.versions) {
    test(`${version}: made on the first, reused on the second, but not for another host`, async () => {
      const [first, second] = both()
      const client = new Client(folder, KIND, version)
      const sessions = await client.make(first, second.node, false)
      assertAll(await client.offer(second, sessions, false), 'Reused')
      const mail = { ...second, serverName: 'mail.example' }
      assertAll(await client.offer(mail, sessions, false), 'New')
      assertAll(await client.offer(second, sessions, false), 'Reused')
    })
  }

  test('with its node gone, handshakes go on as full ones', async () => {
    const [first, second] = both()
    const client = new Client(folder, KIND, 'tls1_2')
    const sessions = await client.make(first, second.node, false)
    await second.node.kill()
    assertAll(await client.offer(second, sessions, false), 'New')
  })
})
