// The set-ups of uWSGI's documentation, from its own kind of files as they are: TLS sessions made at the
// first address resume at every other one. Each test has hosts of its own, so that the files keep their ports.

import assert from 'node:assert/strict'
import { type ChildProcess, spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, describe, type TestContext, test } from 'node:test'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { Latch } from '../support/latch.ts'
import { NetworkNamespaces, whyNoNamespaces } from '../support/network-namespaces.ts'
import { CLI_ARGS, finish, programArgs, runCli, stopProcess } from '../support/node-processes.ts'
import type { ResumptionResult, ResumptionTask } from '../support/resumption-client.ts'
import { seededNumbers } from '../support/seeded-random.ts'

const SESSIONS = 200
const FILES = new URL('../vectors/uwsgi-files/', import.meta.url)
const BACKEND = `
for (const port of [3031, 3032]) {
  require('node:net').createServer((socket) => socket.once('data', (data) => socket.end(data))).listen(port, '127.0.0.1')
}`

interface SetUp {
  readonly files: readonly string[]
  readonly tls: readonly string[]
  readonly stats: readonly string[]
  readonly processes: number
  readonly args?: readonly string[]
  readonly isShuffled?: boolean
}

const loopback = (count: number, port: number) =>
  Array.from({ length: count }, (_, index) => `127.0.1.${index + 1}:${port}`)
const UNICAST = ['unicast-1.ini', 'unicast-2.ini', 'unicast-3.ini']
const NAMED = ['named-1.ini', 'named-2.ini']

const SET_UPS: Readonly<Record<string, SetUp>> = {
  'one node with eight processes': {
    files: ['one-node.ini'],
    tls: loopback(1, 8443),
    stats: ['127.0.0.1:5001'],
    processes: 8,
  },
  'three nodes by unicast': {
    files: UNICAST,
    tls: loopback(3, 8443),
    stats: loopback(3, 5001),
    processes: 2,
  },
  'two nodes with named caches, keysize set at one': {
    files: NAMED,
    tls: loopback(2, 8443),
    stats: loopback(2, 5001),
    processes: 2,
  },
  'the same with all options shuffled': {
    files: NAMED,
    tls: loopback(2, 8443),
    stats: loopback(2, 5001),
    processes: 2,
    isShuffled: true,
  },
}

describe("set-ups of uWSGI's documentation", { skip: whyNoNamespaces() }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-uwsgi-files-'))
  cpSync(FILES, folder, { recursive: true })
  writeFileSync(join(folder, 'foobar.crt'), DEMO_CERTIFICATE.cert)
  writeFileSync(join(folder, 'foobar.key'), DEMO_CERTIFICATE.key)
  after(() => rmSync(folder, { recursive: true }))

  for (const [name, setUp] of Object.entries(SET_UPS)) {
    test(name, async (t) => {
      const network = networkFor(t, 1)
      await startBackend(t, network, 0)
      await Promise.all(setUp.files.map((file) => serve(t, network, 0, file, setUp)))
      const all = setUp.tls.map(() => SESSIONS)
      const result = await measure(t, network, 0, setUp)
      assert.deepEqual([result.resumed, result.answered], [all, all])
    })
  }

  test('three nodes by multicast, on three hosts', async (t) => {
    const network = networkFor(t, 3)
    const keys = join(folder, 'keys')
    assert.equal((await runCli(['keygen', '--out', keys])).code, 0)
    const files = [1, 2, 3].map((number) => `multicast-${number}.ini`)
    const stats = network.hosts.map(({ address }) => `${address}:5001`)
    const tls = network.hosts.map(({ address }) => `${address}:8443`)
    const setUp = { files, tls, stats, processes: 2, args: ['--keys-file', keys] }
    await Promise.all(
      files.map(async (file, host) => {
        await startBackend(t, network, host)
        await serve(t, network, host, file, setUp)
      }),
    )
    const result = await measure(t, network, 0, setUp)
    const all = tls.map(() => SESSIONS)
    assert.deepEqual([result.resumed, result.answered], [all, all])
  })

  function networkFor(t: TestContext, hosts: number): NetworkNamespaces {
    const network = new NetworkNamespaces('tlscw', hosts)
    for (const { name } of network.hosts) {
      // The files leave the interface to the routing table, as uWSGI does.
      const route = ['-n', name, 'route', 'add', '224.0.0.0/4', 'dev', 'eth0']
      assert.equal(spawnSync('ip', route).status, 0)
    }
    t.after(() => network.remove())
    return network
  }

  function launch(network: NetworkNamespaces, host: number, args: readonly string[]): ChildProcess {
    const name = network.hosts[host]?.name ?? ''
    const stdio = ['ignore', 'pipe', 'inherit'] as const
    return network.spawn(name, process.execPath, args, { cwd: folder, stdio: [...stdio] })
  }

  async function startBackend(t: TestContext, network: NetworkNamespaces, host: number) {
    const child = launch(network, host, ['-e', BACKEND])
    t.after(() => stopProcess(child))
  }

  /** Resolves when its terminator listens. */
  async function serve(
    t: TestContext,
    network: NetworkNamespaces,
    host: number,
    file: string,
    { args = [], isShuffled = false }: SetUp,
  ): Promise<void> {
    const path = join(folder, file)
    if (isShuffled) shuffle(path)
    const level = ['--log-level', 'error']
    const child = launch(network, host, [...CLI_ARGS, 'serve', '--uwsgi', path, ...args, ...level])
    t.after(() => stopProcess(child))
    assert.ok(child.stdout !== null)
    const listening = new Latch()
    const lines: string[] = []
    createInterface({ input: child.stdout }).on('line', (line) => {
      lines.push(line)
      if (line.startsWith('tls listens on')) listening.arrive()
    })
    const ended = new Promise<never>((_, reject) => {
      child.once('exit', (code) => reject(new Error(`${file}: ended with ${code}: ${lines}`)))
    })
    await Promise.race([listening.done, ended])
    ended.catch(() => {})
  }

  function shuffle(path: string): void {
    const options = readFileSync(path, 'utf8')
      .split('\n')
      .filter((line) => /^[a-z]/.test(line))
    const random = seededNumbers(basename(path))
    const shuffled = options
      .map((option) => ({ option, order: random() }))
      .toSorted((a, b) => a.order - b.order)
      .map(({ option }) => option)
    assert.notDeepEqual(shuffled, options)
    writeFileSync(path, ['[uwsgi]', ...shuffled].join('\n'))
  }

  async function measure(
    t: TestContext,
    network: NetworkNamespaces,
    host: number,
    { tls, stats, processes }: SetUp,
  ): Promise<ResumptionResult> {
    const task: ResumptionTask = { tls, stats, sessions: SESSIONS, processes }
    const child = launch(network, host, [...programArgs('resumption-client'), JSON.stringify(task)])
    t.after(() => stopProcess(child))
    const { code, stdout } = await finish(child)
    assert.equal(code, 0)
    return JSON.parse(stdout)
  }
})
