// stunnel 5 with its sessiond.

import type { Replacement } from '../support/adapt.ts'
import { releasedCommand, whyWithoutReleased } from '../support/debian-release.ts'
import type { Host } from './host.ts'
import type { Services, TerminatorKind } from './kind.ts'
import { TLS_VERSIONS } from './s-client.ts'

const PROGRAM = 'stunnel'
/** Priority that stunnel.conf advises for every thread of the node. */
export const NICE = -10

export const stunnel: TerminatorKind = {
  name: 'stunnel',
  skip: whyWithoutReleased(PROGRAM, '-version'),
  versions: TLS_VERSIONS,
  clientCertificate: 'small',
  // One after the other, so that nothing else keeps the node waiting.
  concurrency: 1,
  // One of them may meet a pause of the node.
  sessions: 100,
  bar: 0.99,
  // An answer after 3 ms is in time, one after 4 ms is not.
  deadlineMs: 3,
  outlivesNode: true,
  outlivesHang: true,
  start,
}

async function start(host: Host): Promise<Services> {
  const sessiond = `127.0.0.1:${host.port()}`
  const node = await host.node(
    'stunnel/tlscached.yaml',
    'stunnel',
    [['127.0.0.1:5002', sessiond]],
    NICE,
  )
  const ports = await runStunnel(host, sessiond)
  return {
    shop: { port: ports.shop, serverName: 'shop.example', node },
    other: { port: ports.mail, serverName: 'shop.example', node },
    admin: { port: ports.admin, serverName: 'shop.example', node },
  }
}

/** Starts stunnel from the example with these changes; resolves with the ports of its services. */
export async function runStunnel(
  host: Host,
  sessiond: string,
  changes: readonly Replacement[] = [],
): Promise<{ shop: number; mail: number; admin: number }> {
  const ports = { shop: host.port(), mail: host.port(), admin: host.port() }
  const file = host.example('stunnel/stunnel.conf', [
    ...changes,
    ['127.0.0.1:5002', sessiond],
    ['accept = 443', `accept = 127.0.0.1:${ports.shop}`],
    ['accept = 993', `accept = 127.0.0.1:${ports.mail}`],
    ['accept = 8443', `accept = 127.0.0.1:${ports.admin}`],
    ['127.0.0.1:8080', `127.0.0.1:${host.backendPort}`],
    ['/etc/tlscached/', `${host.shared}/`],
  ])
  await host.run(releasedCommand(PROGRAM, [file]), ports.admin)
  return ports
}
