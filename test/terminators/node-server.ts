// Node.js with attachSessionCache: the node is in the process of the terminator.

import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import type { Address } from '../../src/base/address.ts'
import { ask } from '../support/http.ts'
import { until } from '../support/latch.ts'
import { stopProcess } from '../support/node-processes.ts'
import { type Host, killProcess, type NodeHolder, pidOf } from './host.ts'
import type { Services, TerminatorKind } from './kind.ts'
import { TLS_VERSIONS } from './s-client.ts'

/** The library as it is built and installed. */
const INDEX = new URL('../../dist/index.js', import.meta.url).href

export const nodeServer: TerminatorKind = {
  name: 'Node.js',
  skip: false,
  versions: TLS_VERSIONS,
  clientCertificate: 'usual',
  concurrency: 4,
  sessions: 50,
  bar: 1,
  outlivesNode: false,
  start,
}

async function start(host: Host): Promise<Services> {
  const ports = { shop: host.port(), admin: host.port() }
  const http = { path: join(host.folder, 'http.sock') }
  const file = host.example('node/server.mjs', [
    ["'tlscached'", `'${INDEX}'`],
    ...host.replication('node'),
    ['/run/tlscached/http.sock', http.path],
    ['/etc/tlscached/', `${host.shared}/`],
    ["'shop', 443", `'shop', ${ports.shop}`],
    ["'admin', 8443", `'admin', ${ports.admin}`],
  ])
  const run = () => host.run([process.execPath, [file]], ports.admin)
  const node = new NodeInside(http, run)
  await node.start()
  return {
    shop: { port: ports.shop, serverName: 'shop.example', node },
    other: { port: ports.shop, serverName: 'mail.example', node },
    admin: { port: ports.admin, serverName: 'shop.example', node },
  }
}

class NodeInside implements NodeHolder {
  readonly http: Address
  readonly #run: () => Promise<ChildProcess>
  #child: ChildProcess | undefined

  constructor(http: Address, run: () => Promise<ChildProcess>) {
    this.http = http
    this.#run = run
  }

  get pid(): number | undefined {
    return pidOf(this.#child)
  }

  async start(): Promise<void> {
    this.#child = await this.#run()
    await until('the server is ready', async () => {
      const answer = await ask(this.http, { path: '/readyz' }).catch(() => undefined)
      return answer?.status === 200
    })
  }

  pause(): void {
    this.#child?.kill('SIGSTOP')
  }

  resume(): void {
    this.#child?.kill('SIGCONT')
  }

  async kill(): Promise<void> {
    if (this.#child !== undefined) await killProcess(this.#child)
  }

  async stop(): Promise<void> {
    if (this.#child !== undefined) await stopProcess(this.#child)
  }
}
