// What prove says of a cluster of Node.js: two TLS servers, each on its own node, right and with one fault at a time. The
// counters of the nodes tell not asked, asked and missed, and found and not accepted apart.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import type { TlsOptions } from 'node:tls'
import { attachSessionCache } from '../../src/hooks/node-tls.ts'
import { type CacheNode, createNode } from '../../src/node/node.ts'
import { type ProveOptions, prove } from '../../src/prove/prove.ts'
import { makeCertificate, NO_TICKETS, startTlsServer } from '../prove/tls-fixture.ts'

const CONTEXT = 'prove'
const KEY = randomBytes(32).toString('base64')
const certificate = makeCertificate()

interface Side {
  readonly cache?: Readonly<Record<string, unknown>>
  readonly tls?: TlsOptions
  readonly context?: string
  /** Whether the server asks its node. */
  readonly isAttached?: boolean
}

function addressOf(node: CacheNode, name: string): string {
  return node.listening().find((one) => one.name === name)?.address ?? ''
}

async function startNode(t: TestContext, name: string, peers: string[], cache: Side['cache']) {
  const node = createNode({
    node: { name },
    caches: [{ name: 'ssl', items: 1000, ...cache }],
    replication: { listen: '127.0.0.1:0', peers, keys: [KEY] },
    frontends: { http: '127.0.0.1:0' },
  })
  await node.start()
  t.after(() => node.stop())
  return node
}

/** Starts both sides, and returns what prove says of them. */
async function proveCluster(t: TestContext, sides: readonly [Side, Side], isCut = false) {
  const nodes: CacheNode[] = []
  const targets: string[] = []
  for (const [index, side] of sides.entries()) {
    const [first] = nodes
    const peers = isCut || first === undefined ? [] : [addressOf(first, 'replication')]
    const node = await startNode(t, `edge-${index + 1}`, peers, side.cache)
    nodes.push(node)
    const { context = CONTEXT, isAttached = true, tls = NO_TICKETS } = side
    const { server, address } = await startTlsServer(t, {
      ...certificate,
      sessionIdContext: context,
      ...tls,
    })
    if (isAttached) attachSessionCache(server, node.hooks('ssl'), { context })
    targets.push(`127.0.0.1:${address.port}`)
  }
  const options: ProveOptions = {
    targets,
    serverName: 'shop.example',
    laterMs: 0,
    tries: 2,
    nodes: nodes.map((node) => addressOf(node, 'http')),
  }
  return prove(options)
}

/** The codes of what is wrong, each once. */
function errorsOf({ findings }: Awaited<ReturnType<typeof prove>>): string[] {
  const errors = findings.filter(({ level }) => level === 'error')
  return [...new Set(errors.map(({ code }) => code))].sort()
}

test('two servers whose nodes replicate resume each other, and the nodes say that they were asked', async (t) => {
  const result = await proveCluster(t, [{}, {}])
  assert.deepEqual(errorsOf(result), [])
  assert.ok(result.isAllResumed)
})

const FAULTS: readonly [string, readonly [Side, Side], string[], isCut?: boolean][] = [
  ['nodes that do not replicate', [{}, {}], ['not_replicated'], true],
  ['another session ID context on one server', [{}, { context: 'other' }], ['other_context']],
  [
    'contexts that do not list the one of the servers',
    [{ cache: { contexts: ['else'] } }, { cache: { contexts: ['else'] } }],
    ['put_refused'],
  ],
  [
    'a blocksize that is too small',
    [{ cache: { blocksize: 64 } }, { cache: { blocksize: 64 } }],
    ['put_refused'],
  ],
  [
    'a node that takes less than its peer',
    [{}, { cache: { blocksize: 64 } }],
    ['peer_refused', 'put_refused'],
  ],
  ['tickets left on in one server', [{}, { tls: {}, isAttached: false }], ['tickets_on']],
  [
    'own ticket keys on each server',
    [
      { tls: { ticketKeys: randomBytes(48) }, isAttached: false },
      { tls: { ticketKeys: randomBytes(48) }, isAttached: false },
    ],
    ['no_shared_keys'],
  ],
  [
    'only TLS 1.3 in one server',
    [{}, { tls: { ...NO_TICKETS, minVersion: 'TLSv1.3' } }],
    ['version_missing'],
  ],
  [
    'a keysize that is too small',
    [{ cache: { keysize: 16 } }, { cache: { keysize: 16 } }],
    ['put_refused'],
  ],
  ['a server that does not ask its node', [{}, { isAttached: false }], ['no_put', 'not_asked']],
]
for (const [fault, sides, codes, isCut] of FAULTS) {
  test(`${fault}: ${codes.join(', ')}`, async (t) => {
    const result = await proveCluster(t, sides, isCut)
    assert.equal(result.isAllResumed, false)
    assert.deepEqual(errorsOf(result), codes)
  })
}
