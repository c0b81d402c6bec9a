// `tlscached terminate` as an operator runs it: several processes, each pair with a node of its own, real
// clients, processes that are killed, certificates that are renewed.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { formatAddress, type HostAddress } from '../../src/base/address.ts'
import { systemRandom } from '../../src/base/world.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import { CertificateFolder } from '../support/certificates.ts'
import { freeAddresses } from '../support/free-ports.ts'
import { ask } from '../support/http.ts'
import { until } from '../support/latch.ts'
import {
  type NodeProcess,
  runCli,
  startServe,
  stopProcess,
  untilAllKnowEachOther,
} from '../support/node-processes.ts'
import { whyWithout } from '../support/programs.ts'
import {
  readMetrics,
  startTerminate,
  sumOf,
  type TerminateProcess,
} from '../support/terminate-process.ts'
import { greet, readAll } from '../support/terminator-fixture.ts'

const run = promisify(execFile)
const VERSIONS = ['tls1_2', 'tls1_3'] as const
const PROCESSES = 2

describe('tlscached terminate', { skip: whyWithout('openssl', 'version') }, () => {
  const folder = new CertificateFolder()
  const nodes: NodeProcess[] = []
  const terminators: TerminateProcess[] = []
  /** What each connection to the backend began with. */
  const received: string[] = []
  const backend = createServer((socket: Socket) => {
    socket.on('error', () => socket.destroy())
    socket.once('data', (chunk: Buffer) => received.push(chunk.toString('latin1')))
    socket.on('data', (chunk: Buffer) => {
      socket.write(chunk)
      if (chunk.includes('bye')) socket.end()
    })
  })
  let backendAddress = ''
  let deadBackend = ''

  const make = (name: string) => {
    return folder.make({ commonName: name, alternatives: [`DNS:${name}`, `DNS:*.${name}`] })
  }
  const [shop, mail] = [make('shop.test'), make('mail.test')]
  const authority = folder.make({ commonName: 'authority' })
  const person = folder.make({ commonName: 'person', issuer: authority })
  const rpcOf = (index: number) => `unix:${join(folder.path, `rpc-${index}.sock`)}`

  async function start(node: number, more: readonly string[] = []): Promise<TerminateProcess> {
    const [listen = ''] = await freeAddresses(1)
    const terminator = await startTerminate([
      ...['--listen', listen, '--node', rpcOf(node), '--backend', backendAddress],
      ...['--cert', shop.certFile, '--key', shop.keyFile],
      ...['--cert', mail.certFile, '--key', mail.keyFile],
      // On a busy machine a lookup may take long; that it comes late is not what is tested here.
      ...['--deadline', '5s', '--log-level', 'warn', ...more],
    ])
    terminators.push(terminator)
    return terminator
  }

  before(async () => {
    backend.listen(0, '127.0.0.1')
    await once(backend, 'listening')
    const bound = backend.address()
    backendAddress = `127.0.0.1:${typeof bound === 'object' && bound !== null ? bound.port : 0}`
    ;[deadBackend = ''] = await freeAddresses(1)
    const addresses = await freeAddresses(2)
    const keys = [generateKey(systemRandom)]
    for (const [index, listen] of addresses.entries()) {
      const name = `node-${index}`
      nodes.push(
        await startServe(folder.path, {
          node: { name },
          frontends: { http: `unix:${join(folder.path, `${name}.sock`)}`, rpc: rpcOf(index) },
          replication: { listen, peers: addresses.filter((other) => other !== listen), keys },
        }),
      )
    }
    await untilAllKnowEachOther(nodes)
    const processes = ['--processes', String(PROCESSES)]
    await start(0, [...processes, '--backend', deadBackend])
    await start(1, processes)
  })

  after(async () => {
    await Promise.all(terminators.map(({ child }) => stopProcess(child)))
    await Promise.all(nodes.map(({ child }) => stopProcess(child)))
    backend.close()
    folder.remove()
  })

  function terminatorAt(index: number): TerminateProcess {
    const terminator = terminators[index]
    assert.ok(terminator !== undefined)
    return terminator
  }

  function tlsOf({ tls }: TerminateProcess): HostAddress {
    const [address] = tls
    assert.ok(address !== undefined)
    return address
  }

  /** One connection of OpenSSL's own client: `New` or `Reused`. */
  async function connect(terminator: TerminateProcess, name: string, args: readonly string[]) {
    const target = ['-connect', formatAddress(tlsOf(terminator)), '-servername', name]
    const client = run('openssl', ['s_client', ...target, '-ign_eof', ...args])
    client.child.stdin?.end('bye\n')
    const { stdout } = await client
    assert.match(stdout, /^bye$/m)
    return /^(New|Reused), TLSv1\.[23], Cipher is/m.exec(stdout)?.[1]
  }

  const file = (name: string) => join(folder.path, `${name}.session`)

  /** The node of the other terminator has as many sessions as the one where they were made. */
  async function untilReplicated(): Promise<void> {
    const items = async ({ http }: NodeProcess) => {
      const { body } = await ask(http, { path: '/metrics' })
      return /^tlscached_items\{cache="ssl"\} (\d+)$/m.exec(body.toString())?.[1]
    }
    await until('both nodes hold the same', async () => {
      const [one, other] = await Promise.all(nodes.map(items))
      return one !== undefined && one === other
    })
  }

  /** Returns the IDs of the processes that the primary started. */
  const workersOf = ({ child: { pid } }: TerminateProcess): number[] =>
    readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number)

  /** Any process may take a connection, so each takes one while the others cannot. */
  async function withEachAlone(terminator: TerminateProcess, work: () => Promise<void>) {
    const workers = workersOf(terminator)
    for (const worker of workers) {
      const others = workers.filter((pid) => pid !== worker)
      for (const pid of others) process.kill(pid, 'SIGSTOP')
      try {
        await work()
      } finally {
        for (const pid of others) process.kill(pid, 'SIGCONT')
      }
    }
  }

  for (const version of VERSIONS) {
    test(`${version}: resumed by every process, and at the other terminator`, async () => {
      const [here, there] = [terminatorAt(0), terminatorAt(1)]
      const args = [`-${version}`, '-sess_out', file(version)]
      assert.equal(await connect(here, 'shop.test', args), 'New')
      const offer = [`-${version}`, '-sess_in', file(version)]
      const label = `version="${version === 'tls1_2' ? '1.2' : '1.3'}",resumed="yes"`
      await withEachAlone(here, async () => {
        assert.equal(await connect(here, 'shop.test', offer), 'Reused')
      })
      const samples = await readMetrics(here)
      for (let process = 1; process <= PROCESSES; process += 1) {
        assert.equal(samples.get(`handshakes_total{process="${process}",${label}}`), 1)
      }
      await untilReplicated()
      assert.equal(await connect(there, 'shop.test', offer), 'Reused')
      assert.equal(sumOf(await readMetrics(there), 'handshakes_total', label), 1)
    })

    test(`${version}: under another name it is a new session`, async () => {
      const offer = [`-${version}`, '-sess_in', file(version)]
      assert.equal(await connect(terminatorAt(1), 'mail.test', offer), 'New')
      assert.equal(await connect(terminatorAt(1), 'a.shop.test', offer), 'New')
      assert.equal(await connect(terminatorAt(1), 'shop.test', offer), 'Reused')
    })
  }

  test('a backend that does not answer is passed over', async () => {
    let samples = new Map<string, number>()
    await until('it is known which one answers', async () => {
      samples = await readMetrics(terminatorAt(0))
      const isUp = (backend: string) => samples.get(`backend_up{backend="${backend}"}`)
      return isUp(deadBackend) === 0 && isUp(backendAddress) === 1
    })
    const connected = `backend="${backendAddress}",result="connected"`
    const connections = VERSIONS.length * (1 + PROCESSES)
    assert.ok(sumOf(samples, 'backend_connections_total', connected) >= connections)
  })

  test('client certificates, and the PROXY protocol', async () => {
    const closed = await start(0, [
      ...['--client-ca', authority.certFile, '--proxy-protocol', 'v1', '--processes', '1'],
    ])
    const proof = ['-cert', person.certFile, '-key', person.keyFile]
    for (const version of VERSIONS) {
      const args = [`-${version}`, '-sess_out', file('person'), ...proof]
      assert.equal(await connect(closed, 'shop.test', args), 'New')
      const offer = [`-${version}`, '-sess_in', file('person')]
      assert.equal(await connect(closed, 'shop.test', [...offer, ...proof]), 'Reused')
      assert.equal(await connect(terminatorAt(0), 'shop.test', offer), 'New')
      // Made where nobody asked for a certificate.
      const open = [`-${version}`, '-sess_in', file(version)]
      assert.equal(await connect(closed, 'shop.test', [...open, ...proof]), 'New')
      await assert.rejects(connect(closed, 'shop.test', open))
    }
    assert.match(received.at(-1) ?? '', /^PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 \d+ \d+\r\n/)
    await until('both refusals are counted', async () => {
      const samples = await readMetrics(closed)
      return sumOf(samples, 'handshake_failures_total', 'client_certificate') === 2
    })
  })

  test('a process that is killed is replaced, and nothing is forgotten', async () => {
    const terminator = terminatorAt(1)
    const before = sumOf(await readMetrics(terminator), 'handshakes_total')
    assert.ok(before > 0)
    const [victim = 0] = workersOf(terminator)
    process.kill(victim, 'SIGKILL')
    await until('another one is there', async () => {
      const samples = await readMetrics(terminator)
      return samples.get('process_restarts_total') === 1 && samples.get('processes') === PROCESSES
    })
    assert.equal(workersOf(terminator).includes(victim), false)
    assert.equal(sumOf(await readMetrics(terminator), 'handshakes_total'), before)
    for (let count = 0; count < 2 * PROCESSES; count += 1) {
      const offer = ['-tls1_3', '-sess_in', file('tls1_3')]
      assert.equal(await connect(terminator, 'shop.test', offer), 'Reused')
    }
    assert.match(terminator.log(), /"how":"SIGKILL"/)
  })

  test('SIGHUP: renewed certificates are shown, sessions and connections stay', async () => {
    const renewed = join(folder.path, 'renewed.pem')
    const renewedKey = join(folder.path, 'renewed.key')
    copyFileSync(shop.certFile, renewed)
    copyFileSync(shop.keyFile, renewedKey)
    const [listen = ''] = await freeAddresses(1)
    const settings = join(folder.path, 'terminate.yaml')
    const written = { listen: [listen], node: rpcOf(1), backend: [backendAddress], processes: 1 }
    writeFileSync(settings, JSON.stringify({ ...written, cert: [renewed], key: [renewedKey] }))
    const terminator = await startTerminate([settings, '--deadline', '5s'])
    terminators.push(terminator)
    const address = tlsOf(terminator)
    const open = await greet(address, { servername: 'shop.test' })
    const old = workersOf(terminator)
    const next = make('shop.test')
    copyFileSync(next.certFile, renewed)
    const mistake = once(terminator.child.stderr ?? backend, 'data')
    terminator.child.kill('SIGHUP')
    await mistake
    await until('the mistake is told', () => terminator.log().includes('not the key of the'))
    assert.deepEqual(workersOf(terminator), old)
    copyFileSync(next.keyFile, renewedKey)
    terminator.child.kill('SIGHUP')
    await until('they were read again', () => terminator.log().includes('lists were read again'))
    assert.deepEqual(workersOf(terminator), old)
    const fresh = await greet(address, { servername: 'shop.test' })
    const serial = (socket: typeof open) => socket.getPeerCertificate().serialNumber
    assert.notEqual(serial(fresh), serial(open))
    fresh.end('bye')
    assert.equal(
      await connect(terminator, 'shop.test', ['-tls1_3', '-sess_in', file('tls1_3')]),
      'Reused',
    )
    open.write('bye')
    assert.equal(await readAll(open), 'bye')
    // A worker that takes the place of another has the settings that were checked, not what the file says now.
    writeFileSync(settings, 'listen: nowhere\n')
    terminator.child.kill('SIGHUP')
    await until('the mistake is told', () => terminator.log().includes('must be a list'))
    for (const pid of old) process.kill(pid, 'SIGKILL')
    await until('another one serves', () => greet(address).then(socketServes, () => false))
  })

  test('a revocation list: read again at SIGHUP, kept when the new one is wrong', async () => {
    const list = join(folder.path, 'list.pem')
    writeFileSync(list, folder.makeCrl(authority, []))
    const terminator = await start(0, [
      ...['--client-ca', authority.certFile, '--client-crl', list, '--processes', '2'],
      ...['--log-level', 'info'],
    ])
    const proof = ['-cert', person.certFile, '-key', person.keyFile]
    const other = folder.make({ commonName: 'other', issuer: authority })
    const otherProof = ['-cert', other.certFile, '-key', other.keyFile]
    for (const version of VERSIONS) {
      const args = [`-${version}`, '-sess_out', file(`revoked-${version}`), ...proof]
      assert.equal(await connect(terminator, 'shop.test', args), 'New')
    }
    const open = await greet(tlsOf(terminator), {
      servername: 'shop.test',
      cert: person.cert,
      key: person.key,
    })
    open.write('a')
    await once(open, 'data')
    const old = workersOf(terminator)
    writeFileSync(list, folder.makeCrl(authority, [person], { nextUpdate: '20260101000000Z' }))
    terminator.child.kill('SIGHUP')
    await until('the mistake is told', () => terminator.log().includes('expired at 2026-01-01'))
    await connect(terminator, 'shop.test', ['-tls1_3', ...proof])
    writeFileSync(list, folder.makeCrl(authority, [person]))
    terminator.child.kill('SIGHUP')
    await until('both have read it', () => {
      return terminator.log().split('lists were read again').length === 1 + PROCESSES
    })
    for (const version of VERSIONS) {
      const offer = [`-${version}`, '-sess_in', file(`revoked-${version}`)]
      await withEachAlone(terminator, async () => {
        await assert.rejects(connect(terminator, 'shop.test', [...offer, ...proof]))
        await assert.rejects(connect(terminator, 'shop.test', [`-${version}`, ...proof]))
        assert.equal(await connect(terminator, 'shop.test', [`-${version}`, ...otherProof]), 'New')
      })
    }
    assert.deepEqual(workersOf(terminator), old)
    open.write('bye')
    assert.match(await readAll(open), /bye$/)
  })

  test('SIGTERM: what is open may end, nothing new begins, exit code 0', async () => {
    const terminator = await start(0, ['--processes', '2', '--drain', '30s'])
    const address = tlsOf(terminator)
    const open = await greet(address, { servername: 'shop.test' })
    const exit = once(terminator.child, 'exit')
    terminator.child.kill('SIGTERM')
    await until('nobody listens', () => greet(address).then(socketEnds, () => true))
    open.write('still there')
    const [echo]: Buffer[] = await once(open, 'data')
    assert.equal(echo?.toString(), 'still there')
    open.end('bye')
    const [code] = await exit
    assert.equal(code, 0)
  })

  test('a second signal ends it at once', async () => {
    const terminator = await start(0, ['--processes', '1', '--drain', '1h'])
    const open = await greet(tlsOf(terminator), { servername: 'shop.test' })
    open.on('error', () => {})
    const exit = once(terminator.child, 'exit')
    terminator.child.kill('SIGTERM')
    await until('it is about to stop', async () => {
      terminator.child.kill('SIGTERM')
      return terminator.child.exitCode !== null
    })
    const [code] = await exit
    assert.equal(code, 1)
  })

  test('when the first process is killed, none of the others is left', async () => {
    const terminator = await start(0, ['--processes', '2'])
    const workers = workersOf(terminator)
    assert.equal(workers.length, 2)
    const exit = once(terminator.child, 'exit')
    terminator.child.kill('SIGKILL')
    await exit
    await until('they have gone', () => !workers.some(isRunning))
  })

  test('an address that is taken: exit code 1, one line', async () => {
    const listen = formatAddress(tlsOf(terminatorAt(0)))
    const { code, stdout, stderr } = await runCli([
      ...['terminate', '--listen', listen, '--node', rpcOf(0), '--backend', backendAddress],
      ...['--cert', shop.certFile, '--key', shop.keyFile, '--processes', '2'],
    ])
    assert.deepEqual([code, stdout], [1, ''])
    assert.equal(
      JSON.parse(stderr).msg,
      `listen: cannot listen on ${listen}: address already in use`,
    )
  })
})

function socketServes(socket: { destroy(): unknown }): boolean {
  socket.destroy()
  return true
}

/** It still listens, whoever took the connection. */
function socketEnds(socket: { destroy(): unknown }): boolean {
  socket.destroy()
  return false
}

function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
