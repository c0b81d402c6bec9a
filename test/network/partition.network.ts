// A partition: five hosts cut into two and three while all of them put and remove, then joined again. They
// must agree entry by entry within two digest intervals, and what was removed must stay removed.
// PARTITION_CUT_SEC sets how long the cut lasts, PARTITION_DIGEST_SEC the digest interval.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import Table from 'cli-table3'
import { systemRandom } from '../../src/base/world.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import { until } from '../support/latch.ts'
import { NetworkNamespaces, whyNoNamespaces } from '../support/network-namespaces.ts'
import { askAll, HOST_STDIO, HostProcess } from './host-process.ts'
import type {
  DigestAnswer,
  EntriesAnswer,
  HeldAnswer,
  PartitionCommand,
  PartitionSetup,
  PartitionStatus,
} from './partition-commands.ts'

const HOSTS = 5
/** The hosts from here on are on the other side of the cut. */
const FIRST_BEYOND = 2
const CUT_SEC = Number(process.env['PARTITION_CUT_SEC'] ?? 60)
const DIGEST_MS = 1000 * Number(process.env['PARTITION_DIGEST_SEC'] ?? 10)
const ROUND_MS = 100
const LOOK_MS = 50
const ROUNDS = (1000 * CUT_SEC) / ROUND_MS
/** Changes of each kind that a host makes in a round. */
const MADE = 10
const OTHERS = 2
const PROGRAM = fileURLToPath(new URL('partition-host.ts', import.meta.url))
const TSX = import.meta.resolve('tsx')

type Host = HostProcess<PartitionCommand>

const labels = (kind: string, host: number, round: number, count: number) =>
  Array.from({ length: count }, (_, number) => `${kind} ${host} ${round} ${number}`)

/** `kind` of every host in every round. */
const allOf = (kind: string, count: number) =>
  Array.from({ length: HOSTS * ROUNDS }, (_, index) =>
    labels(kind, index % HOSTS, Math.floor(index / HOSTS), count),
  ).flat()

/** The hosts on the side of the cut where this one is. */
function sideOf(host: number): number[] {
  const all = Array.from({ length: HOSTS }, (_, number) => number)
  return all.filter((other) => other < FIRST_BEYOND === host < FIRST_BEYOND)
}

/**
 * What a host does in a round of the cut. `made`: put. `passing`: put, and removed a round later.
 * `gone`: put before the cut, now removed here only. `contested`: put before the cut, now put again or
 * removed on both sides.
 */
function changesOf(host: number, round: number): PartitionCommand {
  const contested = labels('contested', host % FIRST_BEYOND, round, OTHERS)
  const removesContested = (host + round) % 3 === 0
  return {
    do: 'change',
    puts: [
      ...labels('made', host, round, MADE),
      ...labels('passing', host, round, OTHERS),
      ...(removesContested ? [] : contested),
    ],
    removes: [
      ...labels('gone', host, round, OTHERS),
      ...labels('passing', host, round - 1, OTHERS),
      ...(removesContested ? contested : []),
    ],
  }
}

/** Entries that are not the same on all hosts. */
function countDifferent(answers: readonly EntriesAnswer[]): number {
  const holders = new Map<string, number>()
  for (const { entries } of answers) {
    for (const entry of entries) holders.set(entry, (holders.get(entry) ?? 0) + 1)
  }
  return [...holders.values()].filter((count) => count !== answers.length).length
}

async function areEqual(hosts: readonly Host[]): Promise<boolean> {
  const [first, ...others] = await askAll<PartitionCommand, DigestAnswer>(hosts, { do: 'digest' })
  return others.every(({ digest }) => digest === first?.digest)
}

async function heldOn(hosts: readonly Host[], asked: readonly string[]): Promise<number[]> {
  const answers = await askAll<PartitionCommand, HeldAnswer>(hosts, { do: 'held', labels: asked })
  return answers.map(({ held }) => held.length)
}

async function comparisonsOf(hosts: readonly Host[]): Promise<number[]> {
  const statuses = await askAll<PartitionCommand, PartitionStatus>(hosts, { do: 'status' })
  return statuses.map(({ comparisons }) => comparisons)
}

test('a partition', { skip: whyNoNamespaces() }, async (t) => {
  const network = new NetworkNamespaces('tlscp', HOSTS)
  const hosts: Host[] = []
  t.after(async () => {
    await Promise.all(hosts.map((host) => host.stop()))
    network.remove()
  })
  const peers = network.hosts.map(({ address }) => `${address}:7171`)
  const keys = [generateKey(systemRandom)]
  for (const { name, address } of network.hosts) {
    const listen = `${address}:7171`
    const setup: PartitionSetup = { name, listen, peers, keys, digestIntervalMs: DIGEST_MS }
    const args = ['--import', TSX, PROGRAM, JSON.stringify(setup)]
    hosts.push(new HostProcess(network.spawn(name, process.execPath, args, HOST_STDIO)))
  }
  await until('all hosts know each other', async () => {
    const statuses = await askAll<PartitionCommand, PartitionStatus>(hosts, { do: 'status' })
    return statuses.every(({ peersUp }) => peersUp === HOSTS - 1)
  })

  const before = [...allOf('gone', OTHERS), ...allOf('contested', OTHERS), 'kept']
  const chunk = Math.ceil(before.length / HOSTS)
  await Promise.all(
    hosts.map((host, number) => {
      const puts = before.slice(number * chunk, (number + 1) * chunk)
      return host.ask({ do: 'change', puts, removes: [] })
    }),
  )
  await until('all hosts hold the same', () => areEqual(hosts))
  assert.deepEqual(await heldOn(hosts, before), Array(HOSTS).fill(before.length))

  network.cut(network.hosts.slice(FIRST_BEYOND).map(({ name }) => name))
  const cutMs = performance.now()
  /** Sessions of the own side that were not there when the next round began. */
  const late = hosts.map(() => 0)
  const findLate = async (host: Host, number: number, round: number) => {
    const asked = sideOf(number).flatMap((other) => labels('made', other, round, MADE))
    const { held } = await host.ask<HeldAnswer>({ do: 'held', labels: asked })
    late[number] = (late[number] ?? 0) + asked.length - held.length
  }
  for (let round = 0; round < ROUNDS; round += 1) {
    await Promise.all(hosts.map((host, number) => host.ask(changesOf(number, round))))
    await delay(Math.max(0, cutMs + (round + 1) * ROUND_MS - performance.now()))
    await Promise.all(hosts.map((host, number) => findLate(host, number, round)))
  }
  const made = allOf('made', MADE)
  const duringCut = await heldOn(hosts, made)

  network.heal()
  const healedMs = performance.now()
  const isTimeOver = () => performance.now() - healedMs > 2 * DIGEST_MS
  let isEqual = await areEqual(hosts)
  while (!isEqual && !isTimeOver()) {
    // The hosts need the processors themselves.
    await delay(LOOK_MS)
    isEqual = await areEqual(hosts)
  }
  const equalMs = performance.now() - healedMs
  const entries = await askAll<PartitionCommand, EntriesAnswer>(hosts, { do: 'entries' })
  const different = countDifferent(entries)

  // Comparisons with two more peers each must bring nothing back.
  const compared = await comparisonsOf(hosts)
  await until(
    'every host compared itself twice more',
    async () => {
      const now = await comparisonsOf(hosts)
      return now.every((count, number) => count >= (compared[number] ?? 0) + 2)
    },
    10 * DIGEST_MS + 20_000,
  )
  const removed = [
    ...allOf('gone', OTHERS),
    ...allOf('passing', OTHERS).filter((label) => !label.includes(` ${ROUNDS - 1} `)),
  ]
  const lastHeld = await heldOn(hosts, removed)
  const madeHeld = await heldOn(hosts, [...made, 'kept'])

  const table = new Table({
    style: { head: [], border: [] },
    head: [
      'host',
      'made here',
      'of its side',
      'late',
      'after: made',
      'missing',
      'entries',
      'resurrected',
    ],
  })
  for (const host of hosts.keys()) {
    const own = made.length / HOSTS
    const reached = (duringCut[host] ?? 0) - own
    const missing = made.length + 1 - (madeHeld[host] ?? 0)
    const held = entries[host]?.entries.length ?? 0
    table.push([host + 1, own, reached, late[host], madeHeld[host], missing, held, lastHeld[host]])
  }
  const summary = `cut for ${CUT_SEC} s, equal ${isEqual ? equalMs.toFixed(0) : '?'} ms after healing`
  process.stdout.write(`${summary}, ${different} entries differ\n${table.toString()}\n`)

  for (const [host, count] of duringCut.entries()) {
    assert.equal(count, (made.length / HOSTS) * sideOf(host).length, 'not what its side made')
  }
  assert.ok(isEqual, `not equal within two digest intervals of ${DIGEST_MS} ms`)
  assert.equal(different, 0)
  assert.deepEqual(lastHeld, Array(HOSTS).fill(0), 'removed sessions came back')
  assert.deepEqual(madeHeld, Array(HOSTS).fill(made.length + 1))
})
