// A soak: an hour's worth of traffic in SOAK_SEC seconds (600), with loss, and with nodes that are stopped
// or killed and started again all the time. Memory is looked at when every session has expired: after a
// warm-up and after each third. What the program holds must be where it was after the warm-up, and what the
// process takes, where the allocator keeps what was freed, must not grow from the first third to the last.
// Everything put last must be on all nodes, and one that stops must end by itself with nothing left open.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import Table from 'cli-table3'
import { systemRandom } from '../../src/base/world.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import { freeAddresses } from '../support/free-ports.ts'
import { until } from '../support/latch.ts'
import { askAll, HOST_STDIO, HostProcess } from './host-process.ts'
import type { Leftovers, SoakCommand, SoakMemory, SoakSetup, SoakStatus } from './soak-commands.ts'

const SOAK_SEC = Number(process.env['SOAK_SEC'] ?? 600)
/** Sessions of an hour with a thousand new ones a second. */
const SESSIONS = Number(process.env['SOAK_SESSIONS'] ?? 3_600_000)
const TTL_SEC = 20
const HOSTS = 4
/** These two are never stopped; the others take turns in being stopped and killed. */
const STEADY = 2
const RESTART_EVERY_SEC = 8
const WARM_UP_SEC = 20
const PARTS = 3
const LOSS = 0.02
const LAST = Array.from({ length: 1000 }, (_, number) => `last ${number}`)
/** What the garbage collector and the allocator may keep in other places than before. */
const HEAP_SLACK_BYTES = 4 * 1024 * 1024
const EXTERNAL_SLACK_BYTES = 4 * 1024 * 1024
const RSS_SLACK_BYTES = 48 * 1024 * 1024
const EXIT_WITHIN_MS = 10_000
/** Boots that were killed count as up for ten seconds. */
const JOIN_WITHIN_MS = 30_000
const LOOK_MS = 250
const PROGRAM = fileURLToPath(new URL('soak-host.ts', import.meta.url))
const TSX = import.meta.resolve('tsx')

type Host = HostProcess<SoakCommand>

/** Puts come at this rate to each host. */
const putsPerSec = SESSIONS / SOAK_SEC / HOSTS

function show(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(1)
}

function statusOf(hosts: readonly Host[]): Promise<SoakStatus[]> {
  return askAll<SoakCommand, SoakStatus>(hosts, { do: 'status' })
}

/** Waits until nothing is held any more; what each host takes then. */
async function drain(hosts: readonly Host[]): Promise<SoakMemory[]> {
  await until(
    'every session has expired',
    async () => {
      await delay(LOOK_MS)
      return (await statusOf(hosts)).every(({ entries }) => entries === 0)
    },
    (2 * TTL_SEC + 60) * 1000,
  )
  return askAll<SoakCommand, SoakMemory>(hosts, { do: 'memory' })
}

test('a soak', async (t) => {
  const addresses = await freeAddresses(HOSTS)
  const keys = [generateKey(systemRandom)]
  const hosts: Host[] = []
  t.after(async () => {
    for (const host of hosts) await host.kill()
  })
  const leftovers: string[] = []
  let stopped = 0
  let killed = 0

  const start = (number: number) => {
    const setup: SoakSetup = {
      name: `host-${number}`,
      listen: addresses[number] ?? '',
      peers: addresses,
      keys,
      ttlSec: TTL_SEC,
    }
    const args = ['--expose-gc', '--import', TSX, PROGRAM, JSON.stringify(setup)]
    hosts[number] = new HostProcess(spawn(process.execPath, args, HOST_STDIO))
  }
  const hostAt = (number: number) => {
    const host = hosts[number]
    assert.ok(host !== undefined)
    return host
  }
  const stop = async (host: Host) => {
    const { resources } = await host.ask<Leftovers>({ do: 'stop' })
    leftovers.push(...resources)
    await until('a stopped node ends by itself', () => host.hasEnded, EXIT_WITHIN_MS)
    assert.equal(host.child.exitCode, 0)
    stopped += 1
  }
  const work = async (number: number) => {
    await hostAt(number).ask({ do: 'impair', impairment: { loss: LOSS } })
    await hostAt(number).ask({ do: 'work', putsPerSec })
  }

  for (let number = 0; number < HOSTS; number += 1) start(number)
  const untilReady = async () => {
    let statuses: SoakStatus[] = []
    const areReady = async () => {
      await delay(LOOK_MS)
      statuses = await statusOf(hosts)
      return statuses.every(({ isReady, peersUp }) => isReady && peersUp === HOSTS - 1)
    }
    await until('all hosts know each other', areReady, JOIN_WITHIN_MS).catch((error: unknown) => {
      process.stdout.write(`${JSON.stringify(statuses)}\n`)
      throw error
    })
  }
  await untilReady()

  const restart = async (round: number) => {
    const number = STEADY + (round % (HOSTS - STEADY))
    // Every other time each of them.
    if (Math.floor(round / (HOSTS - STEADY)) % 2 === 0) await stop(hostAt(number))
    else {
      await hostAt(number).kill()
      killed += 1
    }
    start(number)
    await work(number)
  }
  const load = async (durationSec: number) => {
    for (let number = 0; number < HOSTS; number += 1) await work(number)
    const startMs = performance.now()
    for (let round = 0; ; round += 1) {
      const nextMs = startMs + (round + 1) * RESTART_EVERY_SEC * 1000
      const endMs = startMs + durationSec * 1000
      // The host that is restarted last needs time to work afterwards.
      const isLast = nextMs + RESTART_EVERY_SEC * 1000 > endMs
      await delay(Math.max(0, (isLast ? endMs : nextMs) - performance.now()))
      if (isLast) break
      await restart(round)
    }
    await askAll<SoakCommand, object>(hosts, { do: 'rest' })
    await askAll<SoakCommand, object>(hosts, { do: 'impair', impairment: {} })
  }

  // All code compiled, all tables grown, all restarts seen.
  await load(Math.max(WARM_UP_SEC, SOAK_SEC / 10))
  const memories = [await drain(hosts)]
  for (let part = 1; part < PARTS; part += 1) {
    await load(SOAK_SEC / PARTS)
    memories.push(await drain(hosts))
  }
  await load(SOAK_SEC / PARTS)
  await untilReady()
  await hostAt(0).ask({ do: 'put', labels: LAST })
  await until('what was put last is everywhere', async () => {
    const all = await askAll<SoakCommand, { found: number }>(hosts, { do: 'found', labels: LAST })
    return all.every(({ found }) => found === LAST.length)
  })
  memories.push(await drain(hosts))
  const statuses = await statusOf(hosts)

  const table = new Table({
    style: { head: [], border: [] },
    head: [
      'host',
      'puts here',
      'applied',
      'repaired',
      'lost',
      'RSS MiB',
      'heap MiB',
      'external MiB',
    ],
  })
  const inTime = (number: number, field: keyof SoakMemory) =>
    memories.map((hostMemories) => show(hostMemories[number]?.[field] ?? 0)).join(' > ')
  for (const [number, { puts, applied, repaired, lost }] of statuses.entries()) {
    table.push([
      `${number + 1}${number < STEADY ? '' : ' (restarted)'}`,
      puts,
      applied,
      repaired,
      lost,
      inTime(number, 'rssBytes'),
      inTime(number, 'heapBytes'),
      inTime(number, 'externalBytes'),
    ])
  }
  for (const host of hosts) await stop(host)
  const summary =
    `${SESSIONS} sessions in ${SOAK_SEC} s, ${100 * LOSS} % lost on the way; ` +
    `${stopped} stops, ${killed} kills; left open after a stop: ${leftovers.join(', ') || 'nothing'}`
  process.stdout.write(`${summary}\n${table.toString()}\n`)

  for (let number = 0; number < HOSTS; number += 1) {
    const grownSince = (part: number, field: keyof SoakMemory) =>
      (memories[PARTS]?.[number]?.[field] ?? 0) - (memories[part]?.[number]?.[field] ?? 0)
    const host = `host ${number + 1}`
    assert.ok(grownSince(0, 'heapBytes') <= HEAP_SLACK_BYTES, `${host}: the heap grew`)
    assert.ok(grownSince(0, 'externalBytes') <= EXTERNAL_SLACK_BYTES, `${host}: buffers grew`)
    // A host that was restarted is another process, whose memory cannot be compared.
    if (number < STEADY) {
      assert.ok(grownSince(1, 'rssBytes') <= RSS_SLACK_BYTES, `${host}: the process grew`)
    }
  }
  assert.deepEqual(leftovers, [])
})
