// A real HAProxy in front of a terminator: it tells by the PROXY protocol who its clients are, which resume
// through it, and its health checks are no failures.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { connect } from 'node:tls'
import { formatAddress, type HostAddress, parseSubnet } from '../../src/base/address.ts'
import type { Endpoints } from '../../src/terminator/proxy-protocol.ts'
import { freePorts } from '../support/free-ports.ts'
import { until } from '../support/latch.ts'
import { stopProcess } from '../support/node-processes.ts'
import { whyWithout } from '../support/programs.ts'
import { readAll, startFront } from '../support/terminator-fixture.ts'

const SENDING = { 'version 1': 'send-proxy', 'version 2': 'send-proxy-v2' } as const

/** Starts HAProxy in front of a server and waits until it takes connections. */
async function startHaproxy(
  t: TestContext,
  server: HostAddress,
  sending: string,
): Promise<HostAddress> {
  const [port = 0] = await freePorts(1)
  const listen = { host: '127.0.0.1', port }
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-haproxy-'))
  const file = join(folder, 'haproxy.cfg')
  writeFileSync(
    file,
    [
      'defaults',
      '  mode tcp',
      '  timeout connect 5s',
      '  timeout client 20s',
      '  timeout server 20s',
      `listen ${sending}`,
      `  bind ${formatAddress(listen)}`,
      `  server terminator ${formatAddress(server)} ${sending} check check-send-proxy inter 50ms`,
      '',
    ].join('\n'),
  )
  const child = spawn('haproxy', ['-db', '-f', file], { stdio: 'ignore' })
  t.after(async () => {
    await stopProcess(child)
    rmSync(folder, { recursive: true })
  })
  await until('HAProxy listens', async () => {
    const socket = connectTcp(listen)
    const isOpen = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    socket.destroy()
    return isOpen
  })
  return listen
}

describe('behind HAProxy', { skip: whyWithout('haproxy', '-v') }, () => {
  for (const [name, sending] of Object.entries(SENDING)) {
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      test(`${name}, ${maxVersion}: a client is told, and resumes`, async (t) => {
        const { front, address } = await startFront(t, {
          balancers: [parseSubnet('127.0.0.1')],
          serve: (client, { endpoints }) => {
            client.on('error', () => client.destroy())
            client.resume()
            client.end(JSON.stringify(endpoints))
          },
        })
        const listen = await startHaproxy(t, address, sending)
        let session: Buffer | undefined
        for (const isResumed of [false, true]) {
          const socket = connect({
            ...listen,
            maxVersion,
            rejectUnauthorized: false,
            ...(session && { session }),
          })
          socket.on('session', (bytes: Buffer) => {
            session = bytes
          })
          await once(socket, 'secureConnect')
          const { localPort } = socket
          assert.equal(socket.isSessionReused(), isResumed)
          const told: Endpoints = JSON.parse(await readAll(socket))
          socket.destroy()
          assert.deepEqual(told, {
            sourceHost: '127.0.0.1',
            sourcePort: localPort,
            destinationHost: '127.0.0.1',
            destinationPort: listen.port,
          })
        }
        const { failures } = front.readStats()
        assert.deepEqual(
          [failures.proxy_header, failures.proxy_unlisted, failures.malformed],
          [0, 0, 0],
        )
        // In version 1 a health check looks like a client that goes away; so may the first look at the port.
        if (sending === 'send-proxy-v2') assert.ok(failures.closed <= 1, `${failures.closed}`)
      })
    }
  }
})
