// nghttpx with its cache in memcached. It keeps nothing apart: two services are two of them, with nodes that
// know nothing of each other.

import { releasedCommand, whyWithoutReleased } from '../support/debian-release.ts'
import type { Host } from './host.ts'
import type { Services, SharingService, TerminatorKind } from './kind.ts'

const PROGRAM = 'nghttpx'

export const nghttpx: TerminatorKind = {
  name: 'nghttpx',
  skip: whyWithoutReleased(PROGRAM),
  versions: ['tls1_2'],
  clientArgs: ['-no_ticket'],
  clientCertificate: 'usual',
  concurrency: 4,
  sessions: 50,
  bar: 1,
  // The deadline of the relay.
  deadlineMs: 150,
  outlivesNode: true,
  outlivesHang: true,
  start: async (host: Host): Promise<Services> => {
    const shop = await startService(host, 'nghttpx-shop', false)
    const admin = await startService(host, 'nghttpx-admin', true)
    return { shop, other: admin, admin }
  },
}

async function startService(
  host: Host,
  service: string,
  asksForCertificates: boolean,
): Promise<SharingService> {
  const port = host.port()
  const memcachedPort = String(host.port())
  const relayPort = host.port()
  const node = await host.node('nghttpx/tlscached.yaml', service, [['11211', memcachedPort]])
  const addresses = [relayPort, memcachedPort].map((one) => `127.0.0.1:${one}`)
  await host.runExample('nghttpx/relay.mjs', addresses, relayPort)
  const file = host.example(
    'nghttpx/nghttpx.conf',
    [
      ['11210', String(relayPort)],
      ['frontend=*,443', `frontend=127.0.0.1,${port}`],
      ['127.0.0.1,8080', `127.0.0.1,${host.backendPort}`],
      ['/etc/tlscached/', `${host.shared}/`],
      ...(asksForCertificates ? ([['#verify-client', 'verify-client']] as const) : []),
    ],
    `${service}.conf`,
  )
  await host.run(releasedCommand(PROGRAM, [`--conf=${file}`]), port)
  return { port, serverName: 'shop.example', node }
}
