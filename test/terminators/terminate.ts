// `tlscached terminate`: two processes upon one node, for each of two services.

import { join } from 'node:path'
import { ask } from '../support/http.ts'
import { CLI_ARGS } from '../support/node-processes.ts'
import type { Host } from './host.ts'
import type { Services, TerminatorKind } from './kind.ts'
import { TLS_VERSIONS } from './s-client.ts'

const SERVICES = 2
/** The examples name no number of processes; here it must not depend on the machine. */
const PROCESSES = 2

export const terminate: TerminatorKind = {
  name: 'tlscached terminate',
  skip: false,
  versions: TLS_VERSIONS,
  clientCertificate: 'usual',
  concurrency: 4,
  sessions: 50,
  bar: 1,
  // The default deadline of a call over rpc.
  deadlineMs: 50,
  outlivesNode: true,
  outlivesHang: true,
  start,
}

async function start(host: Host): Promise<Services> {
  const socket = join(host.folder, 'rpc.sock')
  const node = await host.node('tlscached/tlscached.yaml', 'tlscached', [
    ['/run/tlscached/rpc.sock', socket],
  ])
  const ports = { shop: host.port(), admin: host.port() }
  const run = async (name: keyof typeof ports, listen: string) => {
    const file = host.example(`tlscached/${name}.sh`, [
      ['exec tlscached', `exec ${[process.execPath, ...CLI_ARGS].join(' ')}`],
      [listen, `127.0.0.1:${ports[name]}`],
      ['/etc/tlscached/', `${host.shared}/`],
      ['127.0.0.1:8080', `127.0.0.1:${host.backendPort}`],
      ['/run/tlscached/rpc.sock', socket],
    ])
    await host.run(['sh', [file]], ports[name])
  }
  await run('shop', '0.0.0.0:443')
  await run('admin', '0.0.0.0:8443')
  return {
    shop: { port: ports.shop, serverName: 'shop.example', node },
    other: { port: ports.shop, serverName: 'mail.example', node },
    admin: { port: ports.admin, serverName: 'shop.example', node },
    isConnected: async () => {
      const { body } = await ask(node.http, { path: '/metrics' })
      const open = /^tlscached_frontend_connections\{frontend="rpc"\} (\d+)$/m.exec(body.toString())
      return Number(open?.[1]) === SERVICES * PROCESSES
    },
  }
}
