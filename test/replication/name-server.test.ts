// Peers by name as a real name server tells them: services, both versions of addresses, changes.

import assert from 'node:assert/strict'
import { Resolver } from 'node:dns/promises'
import { test } from 'node:test'
import { formatAddress } from '../../src/base/address.ts'
import { silentLogger } from '../../src/base/world.ts'
import { Discovery, serviceResolverOf } from '../../src/replication/peers/discovery.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { NameServer } from '../support/name-server.ts'

test('a service and a name, asked of a name server, again and again', async (t) => {
  const server = new NameServer()
  const dns = new Resolver()
  dns.setServers([await server.start()])
  t.after(() => server.stop())
  const service = '_tlscached._udp.cluster.test'
  server.services.set(service, [
    { host: 'one.cluster.test', port: 7171 },
    { host: 'two.cluster.test', port: 7272 },
  ])
  server.addresses.set('one.cluster.test', ['10.0.0.1', 'fd00::1'])
  server.addresses.set('two.cluster.test', ['10.0.0.2'])
  server.addresses.set('headless.test', ['10.0.0.3', '10.0.0.4'])
  let known: string[] = []
  const warnings: unknown[] = []
  const discovery = new Discovery({
    peers: [{ service }, { host: 'headless.test', port: 7373 }],
    resolver: async (name) => {
      const answers = await Promise.allSettled([dns.resolve4(name), dns.resolve6(name)])
      return answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
    },
    serviceResolver: serviceResolverOf(dns),
    isExcluded: () => false,
    clock: new FakeClock(),
    logger: { ...silentLogger, warn: (fields) => warnings.push(fields['name']) },
    onChange: (addresses) => {
      known = addresses.map(formatAddress).sort()
    },
  })
  await discovery.start()
  const headless = ['10.0.0.3:7373', '10.0.0.4:7373']
  assert.deepEqual(known, ['10.0.0.1:7171', '10.0.0.2:7272', ...headless, '[fd00::1]:7171'])
  assert.deepEqual(warnings, [])

  server.services.set(service, [{ host: 'two.cluster.test', port: 7272 }])
  server.addresses.delete('headless.test')
  await discovery.refresh()
  assert.deepEqual(known, ['10.0.0.2:7272', ...headless])
  assert.deepEqual(warnings, ['headless.test'], 'a name that is gone keeps its last addresses')

  server.services.delete(service)
  await discovery.refresh()
  assert.deepEqual(known, ['10.0.0.2:7272', ...headless])
  assert.deepEqual(warnings, ['headless.test', service])
  discovery.stop()
})
