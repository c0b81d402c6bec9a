// What prove says of real servers: pairs of Apache, stunnel, nginx, HAProxy and Node.js, right and with one fault at a
// time, and each is called by its name. Prints a table. PROVE_SHORT=1 leaves out rows that say again what another does;
// PROVE_ONLY chooses rows by a part of their names; PROVE_CONCURRENCY=1 is for a machine that has other work.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { formatTable } from '../../src/cli/stats.ts'
import type { FindingCode } from '../../src/prove/finding-texts.ts'
import type { ProveResult } from '../../src/prove/prove.ts'
import type { StartTlsProtocol } from '../../src/tls-client/starttls.ts'
import type { Replacement } from '../support/adapt.ts'
import { CertificateFolder } from '../support/certificates.ts'
import { whyWithout } from '../support/programs.ts'
import { apache } from '../terminators/apache.ts'
import { makeCertificates } from '../terminators/certificates.ts'
import { nginx } from '../terminators/nginx.ts'
import { stunnel } from '../terminators/stunnel.ts'
import { provePair } from './clusters.ts'
import { KINDS, type Row } from './fault-row.ts'
import { CACHE_ROWS } from './faults.ts'
import { TICKET_ROWS } from './ticket-faults.ts'

/** On a busy machine an answer comes later than stunnel and nginx's script wait, and a session is older than it lives. */
const MORE_TRIES = 2
const IS_SHORT = process.env['PROVE_SHORT'] !== undefined
const ONLY = process.env['PROVE_ONLY']
const CONCURRENCY = Number(process.env['PROVE_CONCURRENCY'] ?? 2)

/** What stunnel calls the protocols, and what it expects of the server behind it before it takes over. */
const PROTOCOLS: Readonly<Record<StartTlsProtocol, readonly [name: string, greeting: string]>> = {
  smtp: ['smtp', '220 mail.example ESMTP\r\n'],
  imap: ['imap', '* OK ready\r\n'],
  pop3: ['pop3', '+OK ready\r\n'],
  postgres: ['pgsql', ''],
}

/** Changes of stunnel.conf for a service that starts TLS within the protocol, in front of the greeter. */
function startTlsChanges(protocol: StartTlsProtocol, greeter: Server): readonly Replacement[] {
  const { port } = greeter.address() as AddressInfo
  const [name] = PROTOCOLS[protocol]
  const service = '[shop]\naccept = 443\n'
  return [
    [
      `${service}connect = 127.0.0.1:8080`,
      `${service}protocol = ${name}\nconnect = 127.0.0.1:${port}`,
    ],
  ]
}

/** Greets and answers every line, as far as stunnel asks it. */
async function startGreeter(protocol: StartTlsProtocol): Promise<Server> {
  const [, greeting] = PROTOCOLS[protocol]
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.resume()
    socket.write(greeting)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

describe('prove', { concurrency: CONCURRENCY, skip: missing() }, () => {
  const certificates = mkdtempSync(join(tmpdir(), 'tlscached-prove-certificates-'))
  const table: string[][] = []
  let clientCertificate = {}

  before(async () => {
    await makeCertificates(certificates)
    const folder = new CertificateFolder()
    const other = folder.make({ commonName: 'shop.example', keyType: 'rsa' })
    folder.remove()
    const haproxyKeys = Array.from({ length: 5 }, () => randomBytes(48))
    const files = {
      'other.pem': other.cert,
      'other.key': other.key,
      'ticket.key': randomBytes(48),
      'other-ticket.key': randomBytes(48),
      'haproxy.keys': haproxyLines(haproxyKeys.slice(0, 3)),
      'newer-haproxy.keys': haproxyLines(haproxyKeys.slice(2)),
      'other-haproxy.keys': haproxyLines([1, 2, 3].map(() => randomBytes(48))),
    }
    for (const [name, bytes] of Object.entries(files)) {
      writeFileSync(join(certificates, name), bytes, { mode: 0o600 })
    }
    const read = (name: string) => readFileSync(join(certificates, name), 'utf8')
    clientCertificate = { cert: read('usual.pem'), key: read('usual.key') }
  })
  after(() => {
    rmSync(certificates, { recursive: true })
    process.stdout.write(`${formatTable(['servers', 'fault', 'prove said', 's'], table)}\n`)
  })

  for (const row of [...CACHE_ROWS, ...TICKET_ROWS]) {
    const { kind, fault, says, isResumed = says.length === 0, isLong } = row
    const name = `${kind}, ${fault}`
    if ((IS_SHORT && isLong) || (ONLY !== undefined && !name.includes(ONLY))) continue
    test(name, async () => {
      const startMs = performance.now()
      const options = kind === 'stunnel, client certificate' ? clientCertificate : {}
      const { both = [], prove: { startTls } = {} } = row
      const greeter = startTls && (await startGreeter(startTls))
      const changes =
        startTls === undefined || greeter === undefined ? [] : startTlsChanges(startTls, greeter)
      const setup = {
        ...row,
        both: [...both, ...changes],
        prove: { ...options, ...row.prove },
      }
      let result = await provePair(certificates, KINDS[kind], setup)
      for (let more = MORE_TRIES; more > 0 && !isAsSaid(result, row); more -= 1) {
        result = await provePair(certificates, KINDS[kind], setup)
      }
      greeter?.close()
      const said = result.findings.filter(({ level }) => level !== 'note')
      const seconds = ((performance.now() - startMs) / 1000).toFixed(1)
      const causes = said.map(({ cause }) => cause.replaceAll(/127\.0\.0\.1:\d+/g, 'HOST'))
      table.push([kind, fault, [...new Set(causes)].join('\n') || 'all resumed', seconds])
      assert.deepEqual(codesOf(result, row), says, causes.join('\n'))
      assert.equal(result.isAllResumed, isResumed)
    })
  }
})

/** Codes of all errors and warnings, each once, without those that may be there. */
function codesOf({ findings }: ProveResult, { maySay = [] }: Row): FindingCode[] {
  const said = findings.filter(({ level, code }) => level !== 'note' && !maySay.includes(code))
  return [...new Set(said.map(({ code }) => code))].sort()
}

function isAsSaid(result: ProveResult, row: Row): boolean {
  return codesOf(result, row).join() === row.says.join()
}

/** A file of ticket keys for HAProxy, which makes tickets with the last but one. */
function haproxyLines(keys: readonly Buffer[]): string {
  return keys.map((key) => `${key.toString('base64')}\n`).join('')
}

function missing(): string | false {
  return apache.skip || stunnel.skip || nginx.skip || whyWithout('haproxy', '-v')
}
