// OpenSSL's own client: a session made at one process is reused at another one with its own node, and is
// not where it must not be.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { formatAddress } from '../../src/base/address.ts'
import { systemRandom } from '../../src/base/world.ts'
import { askCaches } from '../../src/cli/stats.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import { freeAddresses } from '../support/free-ports.ts'
import { ask } from '../support/http.ts'
import { until } from '../support/latch.ts'
import {
  runCli,
  startTerminatorNode,
  stopProcess,
  type TerminatorProcess,
  untilAllKnowEachOther,
} from '../support/node-processes.ts'
import { whyWithout } from '../support/programs.ts'

const run = promisify(execFile)

/** The lifetime that sessions have in the cache `short`. */
const SHORT_SEC = 2

/** Each process, with the session ID context and the cache of its terminator. */
const PROCESSES = [
  { name: 'shop-1', context: 'shop', cache: 'ssl' },
  { name: 'shop-2', context: 'shop', cache: 'ssl' },
  { name: 'mail', context: 'mail', cache: 'ssl' },
  { name: 'short-1', context: 'shop', cache: 'short' },
  { name: 'short-2', context: 'shop', cache: 'short' },
] as const

describe('openssl s_client', { skip: whyWithout('openssl', 'version') }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-s-client-'))
  const nodes = new Map<string, TerminatorProcess>()

  before(async () => {
    const addresses = await freeAddresses(PROCESSES.length)
    const keys = [generateKey(systemRandom)]
    const caches = [{ name: 'ssl' }, { name: 'short', timeout: `${SHORT_SEC}s` }]
    const frontends = { http: '127.0.0.1:0' }
    const started = await Promise.all(
      PROCESSES.map(async ({ name, context, cache }, index) => {
        const listen = addresses[index] ?? ''
        const peers = addresses.filter((address) => address !== listen)
        const config = { node: { name }, caches, frontends, replication: { listen, peers, keys } }
        return [name, await startTerminatorNode({ config, context, cache })] as const
      }),
    )
    for (const [name, node] of started) nodes.set(name, node)
    await untilAllKnowEachOther([...nodes.values()])
  })

  after(async () => {
    await Promise.all([...nodes.values()].map(({ child }) => stopProcess(child)))
    rmSync(folder, { recursive: true })
  })

  function nodeOf(name: string): TerminatorProcess {
    const node = nodes.get(name)
    assert.ok(node !== undefined)
    return node
  }

  /** One connection; the first word of OpenSSL's verdict (`New` or `Reused`) and the session ID. */
  async function connect(name: string, args: readonly string[]) {
    const address = formatAddress(nodeOf(name).tls)
    const client = run('openssl', ['s_client', '-connect', address, '-tls1_2', ...args])
    client.child.stdin?.end()
    const { stdout } = await client
    const verdict = /^(New|Reused), TLSv1\.2, Cipher is/m.exec(stdout)?.[1]
    const id = /^ +Session-ID: ([0-9A-F]{64})$/m.exec(stdout)?.[1]
    assert.ok(id !== undefined, stdout)
    return { verdict, id }
  }

  async function make(name: string, file: string) {
    const made = await connect(name, ['-sess_out', join(folder, file)])
    assert.equal(made.verdict, 'New')
    return made
  }

  async function offer(name: string, file: string) {
    return (await connect(name, ['-sess_in', join(folder, file)])).verdict
  }

  async function untilStored(name: string, cache: string, id: string): Promise<void> {
    const path = `/v1/caches/${cache}/sessions/${id}?context=shop`
    await until(`${name} has the session`, async () => {
      return (await ask(nodeOf(name).http, { path })).status === 200
    })
  }

  test('made at one process, reused at the other, in both directions', async () => {
    const { id } = await make('shop-1', 'a.pem')
    await untilStored('shop-2', 'ssl', id)
    assert.equal(await offer('shop-2', 'a.pem'), 'Reused')
    assert.equal(await offer('shop-1', 'a.pem'), 'Reused')
    const other = await make('shop-2', 'b.pem')
    await untilStored('shop-1', 'ssl', other.id)
    assert.equal(await offer('shop-1', 'b.pem'), 'Reused')
  })

  test('under another session ID context: new, and counted', async () => {
    const { id } = await make('shop-1', 'context.pem')
    await untilStored('mail', 'ssl', id)
    const mismatches = async () => {
      const { caches } = await askCaches(nodeOf('mail').http)
      return caches[0]?.gets['context_mismatch'] ?? 0
    }
    const before = await mismatches()
    assert.equal(await offer('mail', 'context.pem'), 'New')
    assert.equal(await mismatches(), before + 1)
    assert.equal(await offer('shop-2', 'context.pem'), 'Reused')
  })

  test('after its lifetime: new', async () => {
    const { id } = await make('short-1', 'short.pem')
    const madeMs = performance.now()
    await untilStored('short-2', 'short', id)
    assert.equal(await offer('short-2', 'short.pem'), 'Reused')
    const path = `/v1/caches/short/sessions/${id}?context=shop`
    await until('the session expired', async () => {
      return (await ask(nodeOf('short-2').http, { path })).status === 404
    })
    assert.ok(performance.now() - madeMs >= SHORT_SEC * 1000 - 100)
    assert.equal(await offer('short-2', 'short.pem'), 'New')
    assert.equal(await offer('short-1', 'short.pem'), 'New')
  })

  test('after it was removed on one node: new on both', async () => {
    const { id } = await make('shop-1', 'removed.pem')
    await untilStored('shop-2', 'ssl', id)
    const http = formatAddress(nodeOf('shop-2').http)
    const removal = await runCli(['remove', id, '--context', 'shop', '--http', http])
    assert.deepEqual(removal, { code: 0, stdout: '', stderr: '' })
    const path = `/v1/caches/ssl/sessions/${id}?context=shop`
    await until('shop-1 has heard of it', async () => {
      return (await ask(nodeOf('shop-1').http, { path })).status === 404
    })
    assert.equal(await offer('shop-1', 'removed.pem'), 'New')
    assert.equal(await offer('shop-2', 'removed.pem'), 'New')
  })
})
