// Two terminators of each kind, each with its own node beside it, configured by our examples: what one of them
// makes, the other one resumes, and only where it may. TERMINATORS chooses kinds by their names.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { formatTable } from '../../src/cli/stats.ts'
import { debianVersion, whyWithoutReleased } from '../support/debian-release.ts'
import { until } from '../support/latch.ts'
import { apache } from './apache.ts'
import { makeCertificates } from './certificates.ts'
import { h2o } from './h2o.ts'
import { makePair, type Pair } from './host.ts'
import type { Services, TerminatorKind } from './kind.ts'
import { nghttpx } from './nghttpx.ts'
import { nginx } from './nginx.ts'
import { nodeServer } from './node-server.ts'
import { type Handshake, knowsMlKem, ML_KEM_FIRST, type TlsVersion } from './s-client.ts'
import {
  assertAll,
  Client,
  countOf,
  medianMs,
  type Offer,
  type Sessions,
  slowestMs,
} from './sharing.ts'
import { stunnel } from './stunnel.ts'
import { terminate } from './terminate.ts'

/** How much longer the slowest handshake may take than the usual one, when the node is away or hangs. */
const MOST_LONGER_MS = 1000
const UNCERTIFIED = 10
const ML_KEM = 10
const HANGING = 20
/** Share of the offers that must resume, also on a busy machine. */
const LEAST_SHARE = 0.75

const KINDS: readonly TerminatorKind[] = [
  stunnel,
  apache,
  h2o,
  nghttpx,
  nginx,
  nodeServer,
  terminate,
]
const CHOSEN = process.env['TERMINATORS']?.split(',')

const COLUMNS = [
  'A to B',
  'elsewhere',
  'certificate',
  'ML-KEM first',
  'node hangs',
  'node away',
  'node back',
] as const
type Column = (typeof COLUMNS)[number]

const table = new Map<string, Map<Column, string>>()

function note(kind: TerminatorKind, version: TlsVersion, column: Column, said: string): void {
  const name = `${kind.name}, ${version === 'tls1_2' ? 'TLS 1.2' : 'TLS 1.3'}`
  const row = table.get(name) ?? new Map<Column, string>()
  row.set(column, said)
  table.set(name, row)
}

after(() => {
  const rows = [...table].map(([name, row]) => [name, ...COLUMNS.map((one) => row.get(one) ?? '-')])
  const release = debianVersion()
  const terminator = release === undefined ? 'terminator' : `terminator, Debian ${release}`
  process.stdout.write(`${formatTable([terminator, ...COLUMNS], rows)}\n`)
})

for (const kind of KINDS) {
  if (CHOSEN !== undefined && !CHOSEN.includes(kind.name)) continue
  describe(kind.name, { skip: kind.skip || whyWithoutReleased('openssl', 'version') }, () => {
    const folder = mkdtempSync(join(tmpdir(), 'tlscached-terminators-'))
    const all: Services[] = []
    let pair: Pair | undefined

    before(async () => {
      await makeCertificates(folder)
      pair = await makePair(folder)
      all.push(...(await Promise.all(pair.hosts.map((host) => kind.start(host)))))
    })

    after(async () => {
      await pair?.stop()
      await Promise.all(all.flatMap(nodesOf).map((node) => node.stop()))
      rmSync(folder, { recursive: true })
    })

    for (const version of kind.versions) {
      describe(version, () => testVersion(folder, kind, version, all))
    }
  })
}

function nodesOf({ shop, other, admin }: Services) {
  return [...new Set([shop.node, other.node, ...(admin === undefined ? [] : [admin.node])])]
}

function testVersion(
  folder: string,
  kind: TerminatorKind,
  version: TlsVersion,
  all: readonly Services[],
): void {
  const client = new Client(folder, kind, version)
  let sessions: Sessions = []

  function services(): readonly [Services, Services] {
    const [a, b] = all
    assert.ok(a !== undefined && b !== undefined)
    return [a, b]
  }

  function noteShare(column: Column, offers: readonly Offer[]): void {
    const resumed = countOf(offers, 'Reused')
    const heldUp = heldUpOf(offers)
    const besides = heldUp === 0 ? '' : `, ${heldUp} held up`
    note(kind, version, column, `${resumed} of ${offers.length}${besides}`)
    assertResumed(offers)
  }

  function assertResumed(offers: readonly Offer[]): void {
    const resumed = countOf(offers, 'Reused')
    const counted = offers.length - heldUpOf(offers)
    const missed = offers.flatMap(({ verdict, waitedMs }, index) =>
      verdict === 'Reused' ? [] : [`${index} (the node waited ${waitedMs.toFixed(1)} ms)`],
    )
    const said = `${resumed} of ${counted} resumed, not ${missed.join(', ')}`
    assert.ok(resumed >= counted * kind.bar && resumed >= offers.length * LEAST_SHARE, said)
  }

  /** Returns the number of full handshakes that waited for the node up to the deadline of the terminator. */
  function heldUpOf(offers: readonly Offer[]): number {
    const { deadlineMs = Number.POSITIVE_INFINITY } = kind
    const late = offers.filter(({ waitedMs }) => waitedMs >= deadlineMs)
    return countOf(late, 'New')
  }

  function noteFull(column: Column, handshakes: readonly Handshake[], usualMs: number): void {
    const longerMs = Math.round(slowestMs(handshakes) - usualMs)
    note(kind, version, column, `${countOf(handshakes, 'New')} full, +${longerMs} ms`)
    assertAll(handshakes, 'New')
    assert.ok(longerMs <= MOST_LONGER_MS, `${longerMs} ms longer`)
  }

  test('made on A, resumed on B', async () => {
    const [a, b] = services()
    sessions = await client.make(a.shop, b.shop.node, false)
    const offered = await client.offer(b.shop, sessions, false)
    noteShare('A to B', offered)
    assert.equal(countOf(offered, 'New') + countOf(offered, 'Reused'), kind.sessions)
  })

  test('not resumed by another service, and still where it was made for', async () => {
    const [, b] = services()
    const elsewhere = await client.offer(b.other, sessions, b.other === b.admin)
    note(kind, version, 'elsewhere', `${countOf(elsewhere, 'Reused')} of ${kind.sessions}`)
    assertAll(elsewhere, 'New')
    assertResumed(await client.offer(b.shop, sessions, false))
  })

  test('with a client certificate: resumed only where one is asked for', async (context) => {
    const [a, b] = services()
    if (a.admin === undefined || b.admin === undefined) {
      context.skip(`${kind.name} knows no client certificates`)
      return
    }
    const certified = await client.make(a.admin, b.admin.node, true)
    assertAll(await client.offer(b.shop, certified, true), 'New')
    noteShare('certificate', await client.offer(b.admin, certified, true))
    assertAll(await client.offer(b.admin, sessions, true), 'New')
    const without = await client.offer(b.admin, sessions.slice(0, UNCERTIFIED), false)
    for (const { verdict, status, said } of without) {
      assert.ok(verdict !== 'Reused' && status !== 200, said)
    }
  })

  test('a client whose only key share is ML-KEM', async (context) => {
    const [a, b] = services()
    if (version !== 'tls1_3' || !knowsMlKem()) {
      context.skip('only OpenSSL 3.5 and newer knows ML-KEM, in TLS 1.3')
      return
    }
    const made = await client.make(a.shop, b.shop.node, false, ML_KEM, ML_KEM_FIRST)
    noteShare('ML-KEM first', await client.offer(b.shop, made, false, ML_KEM_FIRST))
  })

  test('with the node of B hanging or killed, full handshakes; with the node back, resumed', async () => {
    const [a, b] = services()
    const [probe = '', ...made] = await client.make(a.shop, b.shop.node, false, kind.sessions + 1)
    const usualMs = medianMs(await client.greet(b.shop))
    if (kind.outlivesHang === true) {
      b.shop.node.pause()
      const full = await client.offer(b.shop, made.slice(0, HANGING), false)
      b.shop.node.resume()
      noteFull('node hangs', full, usualMs)
    }
    await b.shop.node.kill()
    if (kind.outlivesNode) noteFull('node away', await client.offer(b.shop, made, false), usualMs)
    await b.shop.node.start()
    // A terminator that met nobody asks again after some seconds: Apache after five, each worker of nginx after one.
    const probes = Array.from({ length: kind.concurrency }, () => probe)
    await until(`${kind.name} asks its node again`, async () => {
      const probed = await client.offer(b.shop, probes, false)
      if (countOf(probed, 'Reused') === 0) return false
      return (await b.isConnected?.(probed)) ?? true
    })
    noteShare('node back', await client.offer(b.shop, made, false))
  })
}
