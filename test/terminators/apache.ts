// Apache 2.4 with mod_ssl and mod_socache_memcache.

import { join } from 'node:path'
import type { Replacement } from '../support/adapt.ts'
import { releasedCommand, whyWithoutReleased } from '../support/debian-release.ts'
import type { Host, NodeHolder } from './host.ts'
import type { Services, TerminatorKind } from './kind.ts'
import { TLS_VERSIONS } from './s-client.ts'

const PROGRAM = '/usr/sbin/apache2'
const MODULES = '/usr/lib/apache2/modules'
/** What Debian's own files load and set before a site comes. */
const MODULE_NAMES = ['mpm_event', 'authz_core', 'socache_shmcb', 'ssl', 'socache_memcache']

export const apache: TerminatorKind = {
  name: 'Apache',
  skip: whyWithoutReleased(PROGRAM, '-v'),
  versions: TLS_VERSIONS,
  clientCertificate: 'usual',
  concurrency: 4,
  sessions: 50,
  bar: 1,
  outlivesNode: true,
  start,
}

async function start(host: Host): Promise<Services> {
  const socket = join(host.folder, 'memcached.sock')
  const node = await host.node('apache/tlscached.yaml', 'apache', [
    ['/run/tlscached/memcached.sock', socket],
  ])
  return startApache(host, node, socket)
}

/** An Apache that shares sessions through this node, which listens for memcached on the unix socket. */
export async function startApache(host: Host, node: NodeHolder, socket: string): Promise<Services> {
  const port = await runApache(host, socket)
  return {
    shop: { port, serverName: 'shop.example', node },
    other: { port, serverName: 'mail.example', node },
    admin: { port, serverName: 'admin.example', node },
  }
}

/** Starts Apache from the example with these changes; resolves with its port. */
export async function runApache(
  host: Host,
  socket: string,
  changes: readonly Replacement[] = [],
): Promise<number> {
  const port = host.port()
  const site = host.example('apache/tlscached.conf', [
    ...changes,
    ['/run/tlscached/memcached.sock', socket],
    ['*:443', `*:${port}`],
    ['/var/www/html', join(host.shared, 'www')],
    ['/etc/tlscached/', `${host.shared}/`],
  ])
  const main = [
    `ServerRoot ${host.folder}`,
    ...MODULE_NAMES.map((name) => `LoadModule ${name}_module ${MODULES}/mod_${name}.so`),
    `PidFile ${join(host.folder, 'pid')}`,
    `ErrorLog ${join(host.folder, 'error.log')}`,
    `DefaultRuntimeDir ${host.folder}`,
    `SSLSessionCache shmcb:${join(host.folder, 'scache')}(512000)`,
    // Each child finds out for itself whether the node is there: with one, that is once.
    'ServerLimit 1',
    'StartServers 1',
    'ThreadsPerChild 25',
    'MaxRequestWorkers 25',
    `Listen 127.0.0.1:${port}`,
    'ServerName localhost',
    `Include ${site}`,
  ]
  const file = host.write('apache2.conf', `${main.join('\n')}\n`)
  await host.run(releasedCommand(PROGRAM, ['-f', file, '-DFOREGROUND']), port)
  return port
}
