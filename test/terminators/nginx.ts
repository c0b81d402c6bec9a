// nginx with Debian's lua module and our script.

import { userInfo } from 'node:os'
import { join } from 'node:path'
import type { Replacement } from '../support/adapt.ts'
import {
  releasedCommand,
  whyWithoutReleased,
  whyWithoutReleasedFile,
} from '../support/debian-release.ts'
import type { Host } from './host.ts'
import type { Services, TerminatorKind } from './kind.ts'
import type { Handshake } from './s-client.ts'

export const PROGRAM = '/usr/sbin/nginx'
export const MODULES = '/usr/lib/nginx/modules'
const WORKERS = 2
export const LUA_MODULE = `${MODULES}/ngx_http_lua_module.so`

export const nginx: TerminatorKind = {
  name: 'nginx + lua',
  skip: whyWithoutReleased(PROGRAM, '-v') || whyWithoutReleasedFile(LUA_MODULE),
  versions: ['tls1_2'],
  clientCertificate: 'usual',
  concurrency: 4,
  sessions: 50,
  bar: 1,
  // timeout_ms of tlscached.lua.
  deadlineMs: 50,
  outlivesNode: true,
  outlivesHang: true,
  start,
}

async function start(host: Host): Promise<Services> {
  const socket = join(host.folder, 'memcached.sock')
  const node = await host.node('nginx/tlscached.yaml', 'nginx', [
    ['/run/tlscached/memcached.sock', socket],
  ])
  const port = await runNginx(host, socket)
  const askedBy = new Set<string>()
  return {
    shop: { port, serverName: 'shop.example', node },
    other: { port, serverName: 'mail.example', node },
    admin: { port, serverName: 'admin.example', node },
    isConnected: (latest) => {
      for (const worker of latest.flatMap(workerThatAsked)) askedBy.add(worker)
      return askedBy.size === WORKERS
    },
  }
}

/** Starts nginx from the example with these changes; resolves with its port. */
export async function runNginx(
  host: Host,
  socket: string,
  changes: readonly Replacement[] = [],
): Promise<number> {
  const port = host.port()
  host.example('nginx/tlscached.lua', [])
  const site = host.example('nginx/tlscached.conf', [
    ...changes,
    ['/etc/nginx/lua/', `${host.folder}/`],
    ['/run/tlscached/memcached.sock', socket],
    ['listen 443', `listen 127.0.0.1:${port}`],
    ['/var/www/html', join(host.shared, 'www')],
    ['/etc/tlscached/', `${host.shared}/`],
  ])
  const main = [
    `load_module ${MODULES}/ndk_http_module.so;`,
    `load_module ${LUA_MODULE};`,
    'daemon off;',
    `worker_processes ${WORKERS};`,
    // The socket is for the user that runs the node.
    `user ${userInfo().username};`,
    `pid ${join(host.folder, 'pid')};`,
    `error_log ${join(host.folder, 'error.log')} warn;`,
    'events {}',
    `http { access_log off; add_header Worker $pid; include ${site}; }`,
  ]
  const file = host.write('nginx.conf', `${main.join('\n')}\n`)
  await host.run(releasedCommand(PROGRAM, ['-p', host.folder, '-c', file]), port)
  return port
}

/** The worker that resumed a session, so that it does ask the node. */
function workerThatAsked({ verdict, said }: Handshake): string[] {
  const [, pid] = /^Worker: (\d+)/m.exec(said) ?? []
  return verdict === 'Reused' && pid !== undefined ? [pid] : []
}
