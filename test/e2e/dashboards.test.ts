// The dashboards of deploy/grafana: each query of them, asked of a real Prometheus that scrapes a running cluster,
// returns data.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { prove } from '../../src/prove/prove.ts'
import {
  type Prometheus,
  startPrometheus,
  startScrapedNode,
} from '../prometheus/scraping-prometheus.ts'
import { CertificateFolder } from '../support/certificates.ts'
import { freePorts } from '../support/free-ports.ts'
import { until } from '../support/latch.ts'
import { stopProcess } from '../support/node-processes.ts'
import { whyWithout } from '../support/programs.ts'
import { startTerminate } from '../support/terminate-process.ts'

interface Dashboard {
  readonly uid: string
  readonly templating: { readonly list: readonly Variable[] }
  readonly panels: readonly { readonly title: string; readonly targets: readonly Target[] }[]
}

interface Target {
  readonly expr: string
}

interface Variable {
  readonly name: string
  readonly type: string
  readonly query: string | { readonly query: string }
}

const FOLDER = new URL('../../deploy/grafana/', import.meta.url)
const DASHBOARDS: readonly Dashboard[] = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.json'))
  .map((name) => JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8')))

/** A node shows it for a terminator that it probes; this one stands for such a node. */
const PROBED = 'tlscached_ticket_target_current{target="nginx"} 1\n'

/** What Grafana puts in place of its variables when all is chosen. */
function fill(expression: string): string {
  return expression
    .replaceAll('$__rate_interval', '10s')
    .replaceAll(/\$(?:job|instance|cache|group)\b/g, '.+')
}

const skip = whyWithout('prometheus') || whyWithout('openssl', 'version')
describe('dashboards', { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-dashboards-'))
  const certificates = new CertificateFolder()
  const closers: (() => unknown)[] = []
  let prometheus: Prometheus

  before(async () => {
    const [a = 0, b = 0, c = 0, d = 0, tls = 0] = await freePorts(5)
    const keysFile = join(folder, 'keys')
    writeFileSync(keysFile, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 })
    const rpc = `unix:${join(folder, 'rpc.sock')}`
    const replication = { peers: [`127.0.0.1:${c}`, `127.0.0.1:${d}`], keys_file: keysFile }
    const caches = [{ name: 'ssl', items: 1000, timeout: '1s' }]
    const dir = join(folder, 'tickets')
    mkdirSync(dir, { mode: 0o700 })
    const tickets = {
      groups: [{ name: 'www' }],
      targets: [{ kind: 'nginx', group: 'www', dir, allow_disk: true }],
    }
    for (const [name, port, listen, frontends] of [
      ['edge-1', a, c, { rpc }],
      ['edge-2', b, d, {}],
    ] as const) {
      const child = await startScrapedNode(folder, port, {
        ...{ node: { name }, caches, frontends, tickets },
        replication: { ...replication, listen: `127.0.0.1:${listen}` },
      })
      closers.push(() => stopProcess(child))
    }
    const shop = certificates.make({
      commonName: 'shop.example',
      alternatives: ['DNS:shop.example'],
    })
    const backend = createTcpServer((socket) => socket.on('error', () => {}).resume())
    backend.listen(0, '127.0.0.1')
    await once(backend, 'listening')
    closers.push(() => backend.close())
    const { port: backendPort } = backend.address() as AddressInfo
    const terminator = await startTerminate([
      ...['--listen', `127.0.0.1:${tls}`, '--node', rpc, '--processes', '1'],
      ...['--backend', `127.0.0.1:${backendPort}`, '--cert', shop.certFile, '--key', shop.keyFile],
    ])
    closers.push(() => stopProcess(terminator.child))
    const stand = createServer((_request, response) => {
      response.end(PROBED)
    })
    stand.listen(0, '127.0.0.1')
    await once(stand, 'listening')
    closers.push(() => stand.close())
    const { port: standPort } = stand.address() as AddressInfo
    const targets = [a, b, terminator.metrics.port, standPort].map((port) => `127.0.0.1:${port}`)
    prometheus = await startPrometheus(folder, { targets, scrapeInterval: '500ms' })
    closers.push(() => prometheus.stop())
    // Sessions are made, found, passed on to the peer, and end.
    const stop = new AbortController()
    const options = { targets: [`127.0.0.1:${tls}`], serverName: 'shop.example', laterMs: 0 }
    const traffic = (async () => {
      while (!stop.signal.aborted) await prove({ ...options, signal: stop.signal })
    })().catch(() => {})
    closers.push(async () => {
      stop.abort()
      await traffic
    })
  })
  after(async () => {
    for (const close of closers.toReversed()) await close()
    certificates.remove()
    rmSync(folder, { recursive: true })
  })

  for (const { uid, panels, templating } of DASHBOARDS) {
    for (const { title, targets } of panels) {
      test(`${uid}: ${title}`, async () => {
        for (const { expr } of targets) {
          let seen = 'nothing'
          await until(`${expr} returns data`, async () => {
            const samples = await prometheus.query(fill(expr))
            seen = JSON.stringify(samples)
            return samples.some(({ value }) => Number.isFinite(value))
          }).catch((error: unknown) => assert.fail(`${error}, saw ${seen}`))
        }
      })
    }
    for (const { name, type, query } of templating.list) {
      if (type !== 'query') continue
      test(`${uid}: the variable ${name}`, async () => {
        const text = typeof query === 'string' ? query : query.query
        const [, selector = '', label = ''] = /^label_values\((.*), (\w+)\)$/.exec(text) ?? []
        await until(`${selector} has ${label}`, async () => {
          const samples = await prometheus.query(fill(selector))
          return samples.some(({ labels }) => labels[label] !== undefined)
        })
      })
    }
  }

  test('there are four, each with an identifier of its own', () => {
    assert.equal(new Set(DASHBOARDS.map(({ uid }) => uid)).size, DASHBOARDS.length)
    assert.equal(DASHBOARDS.length, 4)
  })
})
