// What a service manager is told while a service starts and stops, by a program in the place of systemd-notify.

import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { after, test } from 'node:test'
import { ServiceManager } from '../../src/cli/service-manager.ts'
import { until } from '../support/latch.ts'

const folder = mkdtempSync(join(tmpdir(), 'tlscached-manager-'))
after(() => rmSync(folder, { recursive: true }))

test('a reload before the start is done, or during the stop, does not say that the service is ready', async () => {
  const log = join(folder, 'log')
  writeFileSync(log, '')
  const recorder = `#!/bin/sh\nprintf '%s\\n' "$*" >> '${log}'\n`
  writeFileSync(join(folder, 'systemd-notify'), recorder, { mode: 0o700 })
  const environment = {
    PATH: [folder, process.env['PATH']].join(delimiter),
    NOTIFY_SOCKET: join(folder, 'notify'),
  }
  const manager = new ServiceManager({ environment, pid: process.pid })
  let reloads = 0
  const reload = () => {
    reloads += 1
  }
  await manager.reloading(reload)
  manager.ready(() => 'serving')
  await manager.reloading(async () => {
    reload()
    manager.stopping()
  })
  await manager.reloading(reload)
  const told = () => readFileSync(log, 'utf8').trimEnd().split('\n')
  await until('it is told of the stop', () => told().at(-1)?.startsWith('STOPPING=1') === true)
  assert.equal(reloads, 3)
  assert.deepEqual(
    told().map((line) => line.replace(/=\d{4,}/, '=')),
    ['READY=1 STATUS=serving', 'RELOADING=1 MONOTONIC_USEC=', 'STOPPING=1 STATUS=stopping'],
  )
})
