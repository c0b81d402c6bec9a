// Two stock Apaches, each with its own node beside it: what one of them makes, the other one resumes.

import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { systemRandom } from '../../src/base/random.ts'
import { DEMO_CERTIFICATE } from '../../src/terminator/demo-certificate.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import { freeAddresses, freePorts } from '../support/free-ports.ts'
import { until } from '../support/latch.ts'
import {
  finish,
  type NodeProcess,
  startServe,
  stopProcess,
  untilAllKnowEachOther,
} from '../support/node-processes.ts'
import { whyWithout } from '../support/programs.ts'

const APACHE = '/usr/sbin/apache2'
const MODULES = '/usr/lib/apache2/modules'
const SESSIONS = 10

describe('Apache, unmodified', {
  skip: whyWithout(APACHE, '-v') || whyWithout('openssl', 'version'),
}, () => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-apache-'))
  const nodes: NodeProcess[] = []
  let ports: number[] = []

  before(async () => {
    writeFileSync(join(folder, 'cert.pem'), DEMO_CERTIFICATE.cert)
    writeFileSync(join(folder, 'key.pem'), DEMO_CERTIFICATE.key, { mode: 0o600 })
    ports = await freePorts(2)
    const addresses = await freeAddresses(2)
    const keys = [generateKey(systemRandom)]
    const starting = addresses.map((listen, index) => {
      const name = `edge-${index + 1}`
      const peers = addresses.filter((address) => address !== listen)
      return startServe(folder, {
        node: { name },
        replication: { listen, peers, keys },
        frontends: {
          http: `unix:${join(folder, `${name}.sock`)}`,
          memcached: `unix:${join(folder, `memcached-${index + 1}.sock`)}`,
        },
      })
    })
    nodes.push(...(await Promise.all(starting)))
    await untilAllKnowEachOther(nodes)
    for (const [index, port] of ports.entries()) await startApache(index + 1, port)
  })

  after(async () => {
    for (const number of [1, 2]) stopApache(number)
    await Promise.all(nodes.map(({ child }) => stopProcess(child)))
    rmSync(folder, { recursive: true })
  })

  async function startApache(number: number, port: number): Promise<void> {
    const root = join(folder, `apache-${number}`)
    mkdirSync(root)
    const module = (name: string) => `LoadModule ${name}_module ${MODULES}/mod_${name}.so`
    const host = (name: string) => `<VirtualHost *:${port}>
      ServerName ${name}
      SSLEngine on
      SSLCertificateFile ${join(folder, 'cert.pem')}
      SSLCertificateKeyFile ${join(folder, 'key.pem')}
      SSLSessionTickets off
    </VirtualHost>`
    const lines = [
      `ServerRoot ${root}`,
      ...['mpm_event', 'authz_core', 'ssl', 'socache_memcache'].map(module),
      `PidFile ${join(root, 'pid')}`,
      `ErrorLog ${join(root, 'error.log')}`,
      `Listen 127.0.0.1:${port}`,
      'ServerName www.test',
      `SSLSessionCache memcache:${join(folder, `memcached-${number}.sock`)}`,
      host('www.test'),
      host('mail.test'),
    ]
    writeFileSync(join(root, 'httpd.conf'), `${lines.join('\n')}\n`)
    execFileSync(APACHE, ['-f', join(root, 'httpd.conf'), '-k', 'start'])
    await until(`Apache ${number} answers`, async () => {
      const { verdict } = await connect(port, ['-tls1_2'])
      return verdict === 'New'
    })
  }

  /** Only what this test started: by the process ID that Apache wrote down. */
  function stopApache(number: number): void {
    try {
      process.kill(Number(readFileSync(join(folder, `apache-${number}`, 'pid'), 'utf8')))
    } catch {
      // It did not start.
    }
  }

  /** One connection with a request, so that TLS 1.3 sessions arrive before it ends. */
  async function connect(port: number, args: readonly string[], name = 'www.test') {
    const address = `127.0.0.1:${port}`
    const all = ['s_client', '-connect', address, '-servername', name, '-ign_eof', ...args]
    const client = spawn('openssl', all, { stdio: 'pipe' })
    client.stdin.on('error', () => {})
    client.stdin.end('GET / HTTP/1.0\r\n\r\n')
    const { stdout } = await finish(client)
    return { verdict: /^(New|Reused), TLSv1\.[23], Cipher is/m.exec(stdout)?.[1] }
  }

  for (const version of ['-tls1_2', '-tls1_3']) {
    test(`${version}: made on the first, reused on the second`, async () => {
      const [first = 0, second = 0] = ports
      for (let count = 0; count < SESSIONS; count += 1) {
        const file = join(folder, 'session.pem')
        const made = await connect(first, [version, '-sess_out', file])
        assert.equal(made.verdict, 'New')
        assert.equal((await connect(second, [version, '-sess_in', file])).verdict, 'Reused')
      }
    })

    test(`${version}: not reused for another virtual host`, async () => {
      const [first = 0, second = 0] = ports
      const file = join(folder, 'other.pem')
      await connect(first, [version, '-sess_out', file])
      assert.equal((await connect(second, [version, '-sess_in', file], 'mail.test')).verdict, 'New')
      assert.equal((await connect(second, [version, '-sess_in', file])).verdict, 'Reused')
    })
  }

  test('with its node gone, handshakes go on as full ones', async () => {
    const [first = 0, second = 0] = ports
    const file = join(folder, 'gone.pem')
    await connect(first, ['-tls1_2', '-sess_out', file])
    const [, node] = nodes
    assert.ok(node !== undefined)
    node.child.kill('SIGKILL')
    await once(node.child, 'exit')
    assert.equal((await connect(second, ['-tls1_2', '-sess_in', file])).verdict, 'New')
  })
})
