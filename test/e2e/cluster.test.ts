// The program in deploy/terminators/README.md whose processes share one node over rpc: run as it stands, with a real node that
// is killed and comes back, and OpenSSL's own client.

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { freePorts } from '../support/free-ports.ts'
import { until } from '../support/latch.ts'
import { finish, type NodeProcess, startServe, stopProcess } from '../support/node-processes.ts'
import { whyWithout } from '../support/programs.ts'

const PAGE = new URL('../../deploy/terminators/README.md', import.meta.url)
/** The library as it is built and installed. */
const INDEX = new URL('../../dist/index.js', import.meta.url).href
const WORKERS = 2
const CONNECTIONS = 12
const DEADLINE_MS = 10_000
const VERSIONS = ['-tls1_2', '-tls1_3'] as const

describe('processes that share a node over rpc', { skip: whyWithout('openssl', 'version') }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-cluster-'))
  const rpc = join(folder, 'rpc.sock')
  let node: NodeProcess
  let cluster: ChildProcess
  let port = 0

  const startNode = () =>
    startServe(folder, {
      node: { name: 'beside' },
      frontends: { http: `unix:${join(folder, 'beside.sock')}`, rpc: `unix:${rpc}` },
    })

  before(async () => {
    const page = readFileSync(PAGE, 'utf8')
    const [, program = ''] = /run by test\/e2e\/cluster[^`]*```js\n([\s\S]*?)```/.exec(page) ?? []
    ;[port = 0] = await freePorts(1)
    writeFileSync(join(folder, 'key.pem'), DEMO_CERTIFICATE.key)
    writeFileSync(join(folder, 'cert.pem'), DEMO_CERTIFICATE.cert)
    // On a machine that is busy with other tests a process may not run for longer than 50 ms.
    const replacements = [
      ["'tlscached'", `'${INDEX}'`],
      ['/run/tlscached/rpc.sock', rpc],
      ["cache: 'ssl',", `cache: 'ssl', deadlineMs: ${DEADLINE_MS},`],
      ["context: 'shop.example' }", `context: 'shop.example', deadlineMs: ${DEADLINE_MS} }`],
      ['count < 4', `count < ${WORKERS}`],
      ['8443', String(port)],
    ] as const
    const adapted = replacements.reduce((text, [from, to]) => {
      assert.ok(text.includes(from), `the program has no ${from}`)
      return text.replace(from, to)
    }, program)
    writeFileSync(join(folder, 'server.mjs'), adapted)
    node = await startNode()
    cluster = spawn(process.execPath, ['server.mjs'], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'ignore'],
    })
    const pids = new Set<string>()
    await until('all workers answer', async () => {
      const { pid } = await connect(['-tls1_2'])
      if (pid !== undefined) pids.add(pid)
      return pids.size === WORKERS
    })
  })

  after(async () => {
    await stopProcess(cluster)
    await stopProcess(node.child)
    rmSync(folder, { recursive: true })
  })

  /** One connection with a request, so that TLS 1.3 sessions arrive before it ends. */
  async function connect(args: readonly string[]) {
    const all = ['s_client', '-connect', `127.0.0.1:${port}`, '-servername', 'localhost']
    const client = spawn('openssl', [...all, '-ign_eof', ...args], { stdio: 'pipe' })
    client.stdin.on('error', () => {})
    client.stdin.end('GET / HTTP/1.0\r\n\r\n')
    const { stdout } = await finish(client)
    const verdict = /^(New|Reused), TLSv1\.[23], Cipher is/m.exec(stdout)?.[1]
    return { verdict, pid: /^hello from (\d+)$/m.exec(stdout)?.[1] }
  }

  async function assertResumesEverywhere(version: string): Promise<void> {
    const file = join(folder, `${version}.pem`)
    const made = await connect([version, '-sess_out', file])
    assert.equal(made.verdict, 'New')
    const others = new Set<string | undefined>()
    for (let count = 0; count < CONNECTIONS; count += 1) {
      const { verdict, pid } = await connect([version, '-sess_in', file])
      assert.equal(verdict, 'Reused')
      if (pid !== made.pid) others.add(pid)
    }
    assert.ok(others.size > 0, 'all connections came to the same process')
  }

  for (const version of VERSIONS) {
    test(`${version}: made in one process, reused in the others`, () =>
      assertResumesEverywhere(version))
  }

  test('without the node every handshake is a full one, and with it again they resume', async () => {
    const files = VERSIONS.map((version) => ({ version, file: join(folder, `gone${version}.pem`) }))
    for (const { version, file } of files) await connect([version, '-sess_out', file])
    node.child.kill('SIGKILL')
    await once(node.child, 'exit')
    for (let count = 0; count < CONNECTIONS; count += 1) {
      for (const { version, file } of files) {
        assert.equal((await connect([version, '-sess_in', file])).verdict, 'New')
      }
    }
    node = await startNode()
    for (const { version, file } of files) {
      let reused = 0
      await until('every process has found the node again', async () => {
        await connect([version, '-sess_out', file])
        const { verdict } = await connect([version, '-sess_in', file])
        reused = verdict === 'Reused' ? reused + 1 : 0
        return reused === 4 * WORKERS
      })
    }
    for (const version of VERSIONS) await assertResumesEverywhere(version)
  })
})
