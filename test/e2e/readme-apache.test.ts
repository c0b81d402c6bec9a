// The first configuration of the README, as it stands, beside a stock Apache: sessions resume.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { whyWithout } from '../support/programs.ts'
import { apache, startApache } from '../terminators/apache.ts'
import { makeCertificates } from '../terminators/certificates.ts'
import { type Host, makePair, type Pair } from '../terminators/host.ts'
import type { Services, TerminatorKind } from '../terminators/kind.ts'
import { assertAll, Client } from '../terminators/sharing.ts'

const README = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
const KIND: TerminatorKind = { ...apache, sessions: 10, start }

async function start(host: Host): Promise<Services> {
  const [, text = ''] = /```yaml\n([\s\S]*?)```/.exec(README) ?? []
  const socket = join(host.folder, 'memcached.sock')
  const node = await host.nodeOf(text, 'readme', [
    ['/run/tlscached/memcached.sock', socket],
    [', 10.0.0.3:7171', ''],
  ])
  return startApache(host, node, socket)
}

describe("the README's first configuration", {
  skip: KIND.skip || whyWithout('openssl', 'version'),
}, () => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-readme-apache-'))
  const all: Services[] = []
  let pair: Pair | undefined

  before(async () => {
    await makeCertificates(folder)
    pair = await makePair(folder)
    all.push(...(await Promise.all(pair.hosts.map((host) => KIND.start(host)))))
  })

  after(async () => {
    await pair?.stop()
    await Promise.all(all.map(({ shop }) => shop.node.stop()))
    rmSync(folder, { recursive: true })
  })

  for (const version of KIND.versions) {
    test(`${version}: a session of one Apache resumes on the other`, async () => {
      const [first, second] = all
      if (first === undefined || second === undefined) throw new Error('two did not start')
      const client = new Client(folder, KIND, version)
      const sessions = await client.make(first.shop, second.shop.node, false)
      assertAll(await client.offer(second.shop, sessions, false), 'Reused')
      assertAll(await client.offer(second.other, sessions, false), 'New')
    })
  }
})
