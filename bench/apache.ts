// Apache's handshakes with its own shmcb, with memcached and with a tlscached node as its session cache: OpenSSL's
// s_time, one connection after the other, tickets off.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type CertificateFiles, CertificateFolder } from '../test/support/certificates.ts'
import { freePorts } from '../test/support/free-ports.ts'
import { whyWithout } from '../test/support/programs.ts'
import { CELLS, type Cell, titleOf } from './handshake-load.ts'
import { runSTime, type WebServer } from './s-time.ts'
import { type Server, startNode, startProgram } from './servers.ts'
import type { Row } from './table.ts'
import { allInTurn, type Contestant, type Rival } from './versus.ts'

const HOST = '127.0.0.1'
const PROGRAM = '/usr/sbin/apache2'
const MODULES = '/usr/lib/apache2/modules'
const MODULE_NAMES = ['mpm_event', 'authz_core', 'socache_shmcb', 'ssl', 'socache_memcache']
/** Sessions that a store can hold, where it takes a number. */
const ITEMS = 200_000
/** shmcb starts to push out sessions when it is full. */
const SHMCB_BYTES = 64 * 1024 * 1024
const PAGE = '/index.html'
const WARM_UP_SEC = 1
const SETTLE_MS = 500

interface Store {
  readonly name: string
  /** Why it is not measured here, or false. */
  readonly skip: string | false
  /** Starts what it needs; its SSLSessionCache. */
  start(folder: string, port: number): Promise<{ cache: string; server?: Server }>
}

/** The first one is held against the others. */
const STORES: readonly Store[] = [
  {
    name: 'tlscached',
    skip: false,
    async start(folder, port) {
      const config = {
        node: { name: 'bench' },
        caches: [{ name: 'ssl', items: ITEMS }],
        // Its default would be a port that another node on this machine may have.
        frontends: { http: `unix:${join(folder, 'http.sock')}`, memcached: `${HOST}:${port}` },
        log: { level: 'warn' },
      }
      return { cache: `memcache:${HOST}:${port}`, server: await startNode(port, config) }
    },
  },
  {
    name: 'shmcb',
    skip: false,
    async start(folder) {
      return { cache: `shmcb:${join(folder, 'sessions')}(${SHMCB_BYTES})` }
    },
  },
  {
    name: 'memcached -t 1',
    skip: whyWithout('memcached'),
    async start(_folder, port) {
      const args = ['-u', 'nobody', '-t', '1', '-l', HOST, '-p', String(port)]
      const server = await startProgram('memcached', port, 'memcached', args)
      return { cache: `memcache:${HOST}:${port}`, server }
    },
  },
]

export async function benchApache(isQuick: boolean): Promise<Row[]> {
  const missing = whyWithout(PROGRAM, '-v') || whyWithout('openssl', 'version')
  if (missing !== false) {
    console.error(`Apache: not measured: ${missing}`)
    return []
  }
  const certificates = new CertificateFolder()
  const started: Server[] = []
  try {
    const certificate = certificates.make({ commonName: 'localhost' })
    const all: Apache[] = []
    for (const store of STORES) {
      if (store.skip === false)
        all.push(await startWith(store, certificates.path, certificate, started))
      else console.error(`Apache with ${store.name}: not measured: ${store.skip}`)
    }
    await delay(SETTLE_MS)
    const rows: Row[] = []
    for (const cell of CELLS) {
      if (!isQuick) {
        for (const { contestant } of all) await contestant(cell, WARM_UP_SEC)()
      }
      const rival = ({ name, contestant }: Apache): Rival => ({
        name,
        run: contestant(cell, isQuick ? 0.3 : 2),
      })
      rows.push(
        ...(await allInTurn(`Apache, ${titleOf(cell)}`, all.map(rival), {
          rounds: isQuick ? 1 : 5,
        })),
      )
    }
    return rows
  } finally {
    await Promise.all(started.map((server) => server.stop()))
    certificates.remove()
  }
}

interface Apache {
  readonly name: string
  contestant(cell: Cell, seconds: number): Contestant
}

async function startWith(
  store: Store,
  parent: string,
  certificate: CertificateFiles,
  started: Server[],
): Promise<Apache> {
  const [port = 0, storePort = 0] = await freePorts(2)
  const folder = join(parent, `apache-${port}`)
  mkdirSync(join(folder, 'www'), { recursive: true })
  writeFileSync(join(folder, 'www', PAGE), 'x')
  const { cache, server: storeServer } = await store.start(folder, storePort)
  if (storeServer !== undefined) started.push(storeServer)
  const file = join(folder, 'apache2.conf')
  writeFileSync(file, configuration(folder, port, cache, certificate))
  const apache = await startProgram(`Apache with ${store.name}`, port, PROGRAM, [
    ...['-f', file, '-DFOREGROUND'],
  ])
  started.push(apache)
  const webServer: WebServer = {
    port,
    page: PAGE,
    folder,
    server: apache,
    ...(storeServer !== undefined && { store: storeServer }),
  }
  return {
    name: store.name,
    contestant: (cell, seconds) => () => runSTime(webServer, cell, seconds),
  }
}

function configuration(
  folder: string,
  port: number,
  cache: string,
  { certFile, keyFile }: CertificateFiles,
): string {
  const lines = [
    `ServerRoot ${folder}`,
    ...MODULE_NAMES.map((name) => `LoadModule ${name}_module ${MODULES}/mod_${name}.so`),
    `PidFile ${join(folder, 'pid')}`,
    `ErrorLog ${join(folder, 'error.log')}`,
    `DefaultRuntimeDir ${folder}`,
    `DocumentRoot ${join(folder, 'www')}`,
    'ServerLimit 1',
    'StartServers 1',
    'ThreadsPerChild 25',
    'MaxRequestWorkers 25',
    `Listen ${HOST}:${port}`,
    'ServerName localhost',
    `SSLSessionCache ${cache}`,
    'SSLSessionCacheTimeout 300',
    // With tickets Apache never asks its cache.
    'SSLSessionTickets off',
    'SSLEngine on',
    `SSLCertificateFile ${certFile}`,
    `SSLCertificateKeyFile ${keyFile}`,
  ]
  return `${lines.join('\n')}\n`
}
