// h2o 2.2 with its cache in memcached. It keeps nothing apart: two services are two of them, with nodes that
// know nothing of each other.

import { join } from 'node:path'
import { isOtherRelease, whyWithoutReleased } from '../support/debian-release.ts'
import type { Host } from './host.ts'
import type { Services, SharingService, TerminatorKind } from './kind.ts'
import { TLS_VERSIONS } from './s-client.ts'

const PROGRAM = 'h2o'

export const h2o: TerminatorKind = {
  name: 'h2o',
  skip: isOtherRelease() ? 'Debian 13 has no h2o' : whyWithoutReleased(PROGRAM),
  versions: TLS_VERSIONS,
  concurrency: 4,
  sessions: 50,
  bar: 1,
  outlivesNode: true,
  start: async (host: Host): Promise<Services> => ({
    shop: await startService(host, 'h2o-shop'),
    other: await startService(host, 'h2o-mail'),
  }),
}

async function startService(host: Host, service: string): Promise<SharingService> {
  const port = host.port()
  const memcachedPort = String(host.port())
  const node = await host.node('h2o/tlscached.yaml', service, [['11211', memcachedPort]])
  const file = host.example(
    'h2o/h2o.conf',
    [
      ['11211', memcachedPort],
      ['0.0.0.0', '127.0.0.1'],
      ['port: 443', `port: ${port}`],
      ['/var/www/html', join(host.shared, 'www')],
      ['/etc/tlscached/', `${host.shared}/`],
    ],
    `${service}.conf`,
  )
  await host.run([PROGRAM, ['-c', file]], port)
  return { port, serverName: 'shop.example', node }
}
