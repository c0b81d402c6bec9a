// What the network tests tell the kernel where it has netem: the commands, recorded by stand-ins for `ip`
// and `tc`, as not every kernel can be asked.

import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { INTERFACE, NetworkNamespaces } from '../support/network-namespaces.ts'
import { type Impairment, netemOf } from './impairment.ts'

const realPath = process.env['PATH']
let folder = ''

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tlscached-netem-'))
  process.env['PATH'] = `${folder}:${realPath}`
  standIn('ip', 0)
})

afterEach(() => {
  process.env['PATH'] = realPath
  rmSync(folder, { recursive: true })
})

/** A program that writes down its arguments and ends with this code. */
function standIn(name: string, exitCode: number): void {
  const file = join(folder, name)
  writeFileSync(file, `#!/bin/sh\necho "$*" >> "${folder}/${name}.log"\nexit ${exitCode}\n`)
  chmodSync(file, 0o755)
}

function commandsOf(name: string): string[] {
  return readFileSync(join(folder, `${name}.log`), 'utf8')
    .trim()
    .split('\n')
}

for (const [netem, impairment] of [
  ['noqueue', {}],
  ['netem loss 1%', { loss: 0.01 }],
  ['netem loss 5%', { loss: 0.05 }],
  ['netem loss 10%', { loss: 0.1 }],
  ['netem loss 30%', { loss: 0.3 }],
  ['netem delay 10ms reorder 25%', { reordering: 0.25, delayMs: 10 }],
  ['netem duplicate 10%', { duplication: 0.1 }],
  ['netem delay 20ms 10ms', { delayMs: 20, jitterMs: 10 }],
] as const satisfies readonly (readonly [string, Impairment])[]) {
  test(`every host is told: ${netem}`, () => {
    standIn('tc', 0)
    const network = new NetworkNamespaces('tlscn', 2)
    assert.equal(network.hasNetem(), true)
    for (const { name } of network.hosts) network.setNetem(name, netemOf(impairment))
    const replace = (host: number) =>
      `-n ${network.hosts[host]?.name} qdisc replace dev ${INTERFACE} root`
    assert.deepEqual(commandsOf('tc'), [
      `${replace(0)} netem delay 1ms`,
      `${replace(0)} noqueue`,
      `${replace(0)} ${netem}`,
      `${replace(1)} ${netem}`,
    ])
  })
}

test('a kernel that refuses has no netem, and nothing of what a host sends changes', () => {
  standIn('tc', 2)
  const network = new NetworkNamespaces('tlscn', 2)
  assert.equal(network.hasNetem(), false)
  assert.equal(commandsOf('tc').length, 1)
})

test('a cut moves one side to a bridge of its own, and healing brings all back to one', () => {
  const network = new NetworkNamespaces('tlscn', 3)
  const names = network.hosts.map(({ name }) => name)
  const [bridge = ''] = commandsOf('ip')
    .filter((command) => command.startsWith('netns add'))
    .map((command) => command.split(' ').at(-1))
  const before = commandsOf('ip').length
  network.cut(names.slice(1))
  network.heal()
  const moved = (name: string | undefined, to: string) =>
    `-n ${bridge} link set ${name} master ${to}`
  assert.deepEqual(commandsOf('ip').slice(before), [
    moved(names[1], 'br1'),
    moved(names[2], 'br1'),
    moved(names[0], 'br0'),
    moved(names[1], 'br0'),
    moved(names[2], 'br0'),
  ])
})
