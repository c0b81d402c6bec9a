// What a service manager is told while a service starts and stops, by a program in the place of systemd-notify.

import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { after, test } from 'node:test'
import { ServiceManager } from '../../src/cli/service-manager.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { until } from '../support/latch.ts'

const folder = mkdtempSync(join(tmpdir(), 'tlscached-manager-'))
after(() => rmSync(folder, { recursive: true }))

/** A program in the place of systemd-notify, and what it was called with. */
function record(name: string) {
  const log = join(folder, `${name}.log`)
  const programs = join(folder, name)
  mkdirSync(programs)
  writeFileSync(log, '')
  const recorder = `#!/bin/sh\nprintf '%s\\n' "$*" >> '${log}'\n`
  writeFileSync(join(programs, 'systemd-notify'), recorder, { mode: 0o700 })
  const environment = {
    PATH: [programs, process.env['PATH']].join(delimiter),
    NOTIFY_SOCKET: join(folder, 'notify'),
  }
  return { environment, told: () => readFileSync(log, 'utf8').trimEnd().split('\n') }
}

test('a status that changes is told within seconds, also without a watchdog, and not after the stop', async () => {
  const { environment, told } = record('status')
  const clock = new FakeClock()
  const manager = new ServiceManager({ environment, pid: process.pid, clock })
  let status = 'looking for peers'
  manager.ready(() => status)
  clock.advance(60_000)
  status = 'serves alone'
  clock.advance(5000)
  clock.advance(60_000)
  manager.stopping()
  status = 'not started'
  clock.advance(60_000)
  await manager.reloading(() => {})
  await until('it is told of the stop', () => told().at(-1)?.startsWith('STOPPING=1') === true)
  assert.deepEqual(told(), [
    'READY=1 STATUS=looking for peers',
    'STATUS=serves alone',
    'STOPPING=1 STATUS=stopping',
  ])
})

test('the sign of life during the stop leaves the status as it is', async () => {
  const { environment, told } = record('alive')
  const clock = new FakeClock()
  const manager = new ServiceManager({
    environment: { ...environment, WATCHDOG_USEC: '8000000' },
    pid: process.pid,
    clock,
  })
  manager.ready(() => 'serving')
  manager.stopping()
  clock.advance(4000)
  await until('it is told of life', () => told().at(-1)?.startsWith('WATCHDOG=1') === true)
  assert.deepEqual(told(), ['READY=1 STATUS=serving', 'STOPPING=1 STATUS=stopping', 'WATCHDOG=1'])
})

test('a reload before the start is done, or during the stop, does not say that the service is ready', async () => {
  const { environment, told } = record('reload')
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
  await until('it is told of the stop', () => told().at(-1)?.startsWith('STOPPING=1') === true)
  assert.equal(reloads, 3)
  assert.deepEqual(
    told().map((line) => line.replace(/=\d{4,}/, '=')),
    ['READY=1 STATUS=serving', 'RELOADING=1 MONOTONIC_USEC=', 'STOPPING=1 STATUS=stopping'],
  )
})
