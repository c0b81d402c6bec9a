// `tlscached prove` from the command line, against TLS servers of this process: what each option does, what it prints and
// writes, and how it ends.

import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, connect as connectTcp, createServer } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, describe, type TestContext, test } from 'node:test'
import { attachSessionCache } from '../../src/hooks/node-tls.ts'
import { createNode } from '../../src/node/node.ts'
import { STARTTLS_PROTOCOLS } from '../../src/tls-client/starttls.ts'
import { NO_TICKETS, startTlsServer } from '../prove/tls-fixture.ts'
import { CertificateFolder } from '../support/certificates.ts'
import { until } from '../support/latch.ts'
import { CLI_ARGS, runCli } from '../support/node-processes.ts'
import { whyWithout } from '../support/programs.ts'
import { SCRIPTS, startScripted, startTlsAfter } from '../tls-client/scripted-server.ts'

/** Arguments that keep a run short. */
const SHORT: readonly string[] = ['--again', '0s', '--tries', '2']

describe('prove from the command line', { skip: whyWithout('openssl', 'version') }, () => {
  const folder = new CertificateFolder()
  after(() => folder.remove())
  const names = { commonName: 'shop.example', alternatives: ['DNS:shop.example'] }
  const authority = folder.make({ commonName: 'authority' })
  const shop = folder.make({ ...names, issuer: authority })
  const client = folder.make({ commonName: 'client', issuer: authority })
  const sharedKeys = { ticketKeys: randomBytes(48) }

  async function startServer(t: TestContext, options: object): Promise<string> {
    const { key, cert } = shop
    const { address } = await startTlsServer(t, { key, cert, ...options })
    return `127.0.0.1:${address.port}`
  }

  test('servers that share ticket keys: exit code 0, and a matrix', async (t) => {
    const servers = [await startServer(t, sharedKeys), await startServer(t, sharedKeys)]
    const { code, stdout, stderr } = await runCli(['prove', ...servers, ...SHORT])
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^16 of 16 offers resumed \(100 %\)\.$/m)
    assert.match(stdout, new RegExp(`resumed on .*\\n.*${servers[0]} +│ ${servers[1]}`))
    // A pipe gets no progress.
    assert.equal(stderr, '')
  })

  test('--json and servers with keys of their own: exit code 1, and the cause', async (t) => {
    const servers = [await startServer(t, {}), await startServer(t, {})]
    const { code, stdout } = await runCli(['prove', ...servers, ...SHORT, '--json'])
    assert.equal(code, 1)
    const { all_resumed: isAllResumed, findings } = JSON.parse(stdout)
    assert.equal(isAllResumed, false)
    assert.deepEqual(
      findings.map((finding: { code: string }) => finding.code),
      ['no_shared_keys', 'without_tickets'],
    )
  })

  test('--via: sessions go through the balancer, too', async (t) => {
    const servers = [await startServer(t, sharedKeys), await startServer(t, sharedKeys)]
    const via = await startBalancer(t, servers)
    const all = ['prove', ...servers, '--via', via, '--tls', '1.3', ...SHORT]
    const { code, stdout } = await runCli(all)
    assert.equal(code, 0, stdout)
    assert.match(stdout, new RegExp(`through ${via}`))
    // 2 x 2 cells of 2 offers, and 2 x 4 through the balancer.
    assert.match(stdout, /^16 of 16 offers resumed/m)
    const unlisted = ['prove', servers[0] ?? '', '--via', via, '--tls', '1.3', ...SHORT, '--json']
    const strange = await startServer(t, {})
    const mixed = await startBalancer(t, [servers[0] ?? '', strange])
    const result = await runCli(unlisted.map((word) => (word === via ? mixed : word)))
    assert.equal(result.code, 1)
    const codes = JSON.parse(result.stdout).findings.map(
      (finding: { code: string }) => finding.code,
    )
    assert.deepEqual(codes, ['balancer_misses', 'balancer_unlisted'])
  })

  for (const protocol of STARTTLS_PROTOCOLS) {
    test(`--starttls ${protocol}`, async (t) => {
      const start = () =>
        startScripted(t, SCRIPTS[protocol], startTlsAfter({ ...shop, ...sharedKeys }))
      const servers = [await start(), await start()].map(({ port }) => `127.0.0.1:${port}`)
      const all = ['prove', ...servers, '--starttls', protocol, ...SHORT]
      const { code, stdout, stderr } = await runCli(all)
      assert.equal(code, 0, stdout + stderr)
      assert.match(stdout, /^16 of 16 offers resumed/m)
    })
  }

  test('--cert and --key: a server that asks for a certificate', async (t) => {
    const asking = {
      ...sharedKeys,
      requestCert: true,
      rejectUnauthorized: true,
      ca: authority.cert,
    }
    const servers = [await startServer(t, asking), await startServer(t, asking)]
    const own = ['--cert', client.certFile, '--key', client.keyFile]
    const { code, stdout } = await runCli(['prove', ...servers, ...own, ...SHORT])
    assert.equal(code, 0, stdout)
    const without = await runCli(['prove', ...servers, ...SHORT, '--tls', '1.2'])
    assert.equal(without.code, 1)
    assert.match(without.stdout, /refuses the handshake.*\n +change: .*give --cert and --key/)
  })

  test('--ca: a certificate of somebody else is a warning, and sessions still resume', async (t) => {
    const server = await startServer(t, sharedKeys)
    const named = ['prove', server, '--server-name', 'shop.example', ...SHORT, '--ca']
    const trusted = await runCli([...named, authority.certFile])
    assert.equal(trusted.code, 0)
    assert.doesNotMatch(trusted.stdout, /warning/)
    const other = await runCli([...named, client.certFile])
    assert.equal(other.code, 0)
    assert.match(other.stdout, /^warning, TLS 1\.2 and 1\.3: the certificate of .* is not trusted/m)
  })

  test('--node, given twice before the servers, takes one address each time', async (t) => {
    const nodes = await Promise.all(['edge-1', 'edge-2'].map((name) => startNode(t, name)))
    const servers: string[] = []
    for (const node of nodes) {
      const { server, address } = await startTlsServer(t, { ...shop, ...NO_TICKETS })
      attachSessionCache(server, node.hooks('ssl'), { context: 'prove' })
      servers.push(`127.0.0.1:${address.port}`)
    }
    const asked = nodes.flatMap((node) => ['--node', `http://${node.listening()[0]?.address}`])
    const { code, stdout } = await runCli(['prove', ...asked, ...servers, ...SHORT])
    assert.equal(code, 1)
    // Both nodes were read, since only so it is known that one of them has the session and the other has not.
    assert.match(stdout, /its node does not have them: the nodes do not replicate/)
  })

  test('--watch with --textfile runs again and again, and goes on when a name is gone', async (t) => {
    const path = join(folder.path, 'watch')
    mkdirSync(path)
    t.after(() => rmSync(path, { recursive: true }))
    const file = join(path, 'tlscached_prove.prom')
    const server = await startServer(t, sharedKeys)
    const child = spawn(
      process.execPath,
      [...CLI_ARGS, 'prove', server, ...SHORT, '--json', '--watch', '2s', '--textfile', file],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    t.after(() => child.kill('SIGKILL'))
    const lines = createInterface({ input: child.stdout })
    const times: number[] = []
    for await (const line of lines) {
      assert.equal(JSON.parse(line).all_resumed, true)
      await until('the file of this run is there', () => timeIn(file) > (times.at(-1) ?? 0))
      times.push(timeIn(file))
      if (times.length === 2) break
    }
    // Two seconds are between the beginnings; the times are those of the ends, and the first run takes longest.
    assert.ok((times[1] ?? 0) - (times[0] ?? 0) > 1, `${times}`)
    const text = readFileSync(file, 'utf8')
    assert.match(text, /^tlscached_prove_success 1$/m)
    assert.match(text, /^tlscached_prove_offers\{tls="1\.2",server="same",result="resumed"\} 2$/m)
    const checked = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' })
    assert.equal(checked.status, 0, `${checked.stdout}${checked.stderr}`)
    child.kill('SIGTERM')
    await once(child, 'exit')

    const gone = ['prove', 'no-such-name.invalid', '--textfile', file]
    const { code, stderr } = await runCli(gone)
    assert.equal(code, 1)
    assert.match(stderr, /^cannot resolve the name no-such-name\.invalid: /)
    assert.match(readFileSync(file, 'utf8'), /^tlscached_prove_success 0$/m)
    const watching = spawn(process.execPath, [...CLI_ARGS, ...gone, '--watch', '1s'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    t.after(() => watching.kill('SIGKILL'))
    let said = 0
    for await (const line of createInterface({ input: watching.stderr })) {
      assert.match(line, /^cannot resolve the name/)
      said += 1
      if (said === 2) break
    }
    // It writes into the folder that is removed next.
    watching.kill('SIGTERM')
    await once(watching, 'exit')
  })

  const mistakes: readonly (readonly [string, readonly string[], RegExp])[] = [
    ['no server', [], /^error: missing required argument 'server'/],
    ['a port that is none', ['127.0.0.1:0'], /^"127\.0\.0\.1:0" is not HOST, HOST:PORT/],
    ['a certificate without its key', ['127.0.0.1', '--cert', shop.certFile], /^cert and key: /],
    ['a file that is none', ['127.0.0.1', '--ca', '/nowhere'], /^--ca: ENOENT/],
    ['a folder', ['127.0.0.1', '--ca', folder.path], /^--ca: not a regular file/],
    ['a version that is none', ['127.0.0.1', '--tls', '1.1'], /must be some of 1\.2,1\.3/],
    ['a protocol that is none', ['127.0.0.1', '--starttls', 'ftp'], /Allowed choices are smtp/],
    ['too many tries', ['127.0.0.1', '--tries', '1001'], /must be a whole number, 1\.\.1000/],
    ['too short an interval', ['127.0.0.1', '--watch', '500ms'], /must be at least 1s/],
    ['a node that is no address', ['127.0.0.1', '--node', 'edge 1'], /edge 1/],
  ]
  for (const [name, args, message] of mistakes) {
    test(`${name}: exit code 2`, async () => {
      const { code, stdout, stderr } = await runCli(['prove', ...args])
      assert.equal(code, 2, stderr)
      assert.match(stderr, message)
      assert.equal(stdout, '')
    })
  }
})

async function startNode(t: TestContext, name: string) {
  const node = createNode({
    node: { name },
    caches: [{ name: 'ssl', items: 100 }],
    frontends: { http: '127.0.0.1:0' },
  })
  await node.start()
  t.after(() => node.stop())
  return node
}

/** Passes connections on to the servers in turn. */
async function startBalancer(t: TestContext, servers: readonly string[]): Promise<string> {
  let count = 0
  const balancer = createServer({ noDelay: true }, (socket) => {
    const [host, port] = (servers[count % servers.length] ?? '').split(':')
    count += 1
    const onward = connectTcp({ host: host ?? '', port: Number(port), noDelay: true })
    for (const end of [socket, onward]) end.on('error', () => {})
    socket.pipe(onward).pipe(socket)
  })
  balancer.listen(0, '127.0.0.1')
  await once(balancer, 'listening')
  t.after(() => {
    balancer.close()
  })
  return `127.0.0.1:${(balancer.address() as AddressInfo).port}`
}

/** When the run ended that wrote the file, in seconds; 0 when there is no file. */
function timeIn(file: string): number {
  try {
    const [, time] = /^tlscached_prove_last_run_timestamp_seconds (.*)$/m.exec(
      readFileSync(file, 'utf8'),
    ) ?? [undefined, '0']
    return Number(time)
  } catch {
    return 0
  }
}
