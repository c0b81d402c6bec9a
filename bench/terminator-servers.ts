// The terminators that are measured side by side, each on the same processor, with the same certificate and the same
// backend, and without tickets, so that what resumes is what their caches hold.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { CertificateFiles } from '../test/support/certificates.ts'
import { freePorts } from '../test/support/free-ports.ts'
import { whyWithout } from '../test/support/programs.ts'
import type { HandshakeKind, Target } from './handshake-load.ts'
import { type Server, startCli, startNode, startProgram, WITH_TYPESCRIPT } from './servers.ts'

const HOST = '127.0.0.1'
/** In every cache that takes a size: more than a run can make. */
const ITEMS = 200_000
const NODE_TLS_SERVER = fileURLToPath(new URL('./node-tls-server.ts', import.meta.url))
/** Debian's hitch has no option for it: OpenSSL itself reads what every context begins with. */
const OPENSSL_WITHOUT_TICKETS = `
openssl_conf = all
[all]
ssl_conf = programs
[programs]
system_default = tls
[tls]
Options = -SessionTicket
`

export interface Surroundings {
  /** For files of the programs. */
  readonly folder: string
  readonly certificate: CertificateFiles
  readonly backendPort: number
  /** Who starts a program notes it here, so that it is ended whatever comes after. */
  readonly started: Server[]
}

export interface Rivalry {
  readonly name: string
  /** What to know about it where handshakes resume. */
  readonly resumes?: string
  /** Why it is not measured here, or false. */
  readonly skip: string | false
  start(surroundings: Surroundings): Promise<(kind: HandshakeKind) => Target>
}

export const referenceTerminator: Rivalry = {
  name: 'tlscached terminate',
  skip: false,
  async start({ folder, certificate, backendPort, started }) {
    const [http = 0, port = 0] = await freePorts(2)
    const rpc = `unix:${join(folder, 'rpc.sock')}`
    const node = await startNode(http, {
      node: { name: 'bench' },
      caches: [{ name: 'ssl', items: ITEMS }],
      frontends: { http: `${HOST}:${http}`, rpc },
      log: { level: 'warn' },
    } as { node: { name: string } })
    started.push(node)
    const terminator = await startCli('terminate', port, [
      ...['terminate', '--listen', `${HOST}:${port}`, '--backend', `${HOST}:${backendPort}`],
      ...['--cert', certificate.certFile, '--key', certificate.keyFile],
      ...['--node', rpc, '--processes', '1', '--drain', '1s', '--log-level', 'error'],
    ])
    started.push(terminator)
    return () => ({ port, servers: [terminator, node] })
  },
}

/** In TLS 1.3 without tickets it gives out a session with every handshake, but finds none of a resumed one. */
export const stunnel: Rivalry = {
  name: 'stunnel',
  skip: whyWithout('stunnel', '-version'),
  async start({ folder, certificate, backendPort, started }) {
    const [port = 0] = await freePorts(1)
    const file = join(folder, 'stunnel.conf')
    const lines = [
      'foreground = yes',
      'pid =',
      // Clients that go away when a run is over are errors to it.
      'debug = crit',
      'options = NO_TICKET',
      `sessionCacheSize = ${ITEMS}`,
      `cert = ${certificate.certFile}`,
      `key = ${certificate.keyFile}`,
      '[www]',
      `accept = ${HOST}:${port}`,
      `connect = ${HOST}:${backendPort}`,
    ]
    writeFileSync(file, `${lines.join('\n')}\n`)
    const server = await startProgram('stunnel', port, 'stunnel', [file])
    started.push(server)
    return () => ({ port, servers: [server] })
  },
}

export const hitch: Rivalry = {
  name: 'hitch',
  skip: whyWithout('hitch'),
  async start({ folder, certificate, backendPort, started }) {
    const [port = 0] = await freePorts(1)
    const pem = join(folder, 'hitch.pem')
    writeFileSync(pem, `${certificate.key}${certificate.cert}`, { mode: 0o600 })
    const openssl = join(folder, 'openssl.cnf')
    writeFileSync(openssl, OPENSSL_WITHOUT_TICKETS)
    const server = await startProgram('hitch', port, 'env', [
      ...[
        `OPENSSL_CONF=${openssl}`,
        'hitch',
        `--log-filename=${join(folder, 'hitch.log')}`,
        '--workers=1',
        '--ocsp-dir=',
      ],
      ...['--user=nobody', `--frontend=[${HOST}]:${port}`, `--backend=[${HOST}]:${backendPort}`],
      pem,
    ])
    started.push(server)
    return () => ({ port, servers: [server] })
  },
}

/** Without a backend and without a cache: what is left of a handshake when nothing but Node does it. */
export const nodeTls: Rivalry = {
  name: "Node's own TLS",
  resumes: 'by tickets, as it has no cache',
  skip: false,
  async start({ certificate, started }) {
    const [full = 0, resumed = 0] = await freePorts(2)
    const startOne = async (port: number, ...flags: readonly string[]) => {
      const files = [certificate.certFile, certificate.keyFile]
      const args = [...WITH_TYPESCRIPT, NODE_TLS_SERVER, String(port), ...files, ...flags]
      const server = await startProgram("Node's own TLS", port, process.execPath, args)
      started.push(server)
      return { port, servers: [server] }
    }
    const withoutTickets = await startOne(full)
    const withTickets = await startOne(resumed, '--tickets')
    return (kind) => (kind === 'full' ? withoutTickets : withTickets)
  },
}
