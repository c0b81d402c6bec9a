// One host of the soak test: a node in this process that puts and removes until it is told to rest, tells
// how much memory it takes, and what is still open after it stopped. Needs --expose-gc.

import { hash } from 'node:crypto'
import { silentLogger } from '../../src/base/world.ts'
import { createNode } from '../../src/node/node.ts'
import { seededBytes, seededNumbers } from '../support/seeded-random.ts'
import { answerCommands, say } from './host-process.ts'
import { impairSockets } from './impairment.ts'
import type { Leftovers, SoakCommand, SoakMemory, SoakSetup, SoakStatus } from './soak-commands.ts'

const CONTEXT = Buffer.from('soak')
const SESSION_BYTES = 130
const TICK_MS = 10
/** Every so many sessions one of those put before is removed, and one is put again. */
const REMOVE_EVERY = 5
const REPLACE_EVERY = 7
/** Newest sessions from which those to remove and replace are chosen. */
const REMEMBERED = 4096
/** Standard streams are not ours to close. */
const STREAMS = new Set(['PipeWrap', 'TTYWrap', 'FSReqCallback'])

async function runHost(setup: SoakSetup): Promise<void> {
  const { name, listen, peers, keys, ttlSec } = setup
  const impair = impairSockets(seededNumbers(`soak ${name} ${process.pid}`))
  const node = createNode(
    {
      node: { name },
      caches: [{ name: 'ssl', items: 1_000_000, timeout: `${ttlSec}s` }],
      replication: { listen, peers: [...peers], keys: [...keys], digest_interval: '5s' },
    },
    { logger: silentLogger },
  )
  const hooks = node.hooks('ssl')
  const store = node.caches.get('ssl')?.store
  if (store === undefined) throw new Error('no such cache')
  const { stats } = store
  const randomBytes = seededBytes(`${name} ${process.pid}`)
  const session = randomBytes(SESSION_BYTES)
  const recent: Buffer[] = []
  let count = 0
  let timer: NodeJS.Timeout | undefined

  const put = (id: Buffer) => hooks.put({ context: CONTEXT, id, session, ttlMs: ttlSec * 1000 })
  const idOf = (label: string) => hash('sha256', label, 'buffer')

  function workOnce(): void {
    count += 1
    const id = idOf(`${name} ${process.pid} ${count}`)
    put(id)
    recent[count % REMEMBERED] = id
    const other = recent[(count * 31) % REMEMBERED]
    if (other === undefined) return
    if (count % REMOVE_EVERY === 0) hooks.remove(CONTEXT, other)
    else if (count % REPLACE_EVERY === 0) put(other)
  }

  function work(putsPerSec: number): void {
    const startMs = performance.now()
    const before = count
    timer = setInterval(() => {
      const due = before + ((performance.now() - startMs) * putsPerSec) / 1000
      while (count < due) workOnce()
    }, TICK_MS)
  }

  async function memory(): Promise<SoakMemory> {
    for (let time = 0; time < 2; time += 1) {
      global.gc?.()
      // Finalizers of buffers run in turns of their own.
      await new Promise((resolve) => setImmediate(resolve))
    }
    const { rss, heapUsed, external } = process.memoryUsage()
    return { rssBytes: rss, heapBytes: heapUsed, externalBytes: external }
  }

  function status(): SoakStatus {
    const replication = node.replicationStats()
    return {
      isReady: node.readiness().isReady,
      peersUp: node.peers().filter((peer) => peer.isUp).length,
      entries: stats.items + stats.tombstones,
      puts: count,
      applied: stats.applied.applied,
      repaired: replication?.repaired ?? 0,
      lost: replication?.lost ?? 0,
    }
  }

  function obey(command: SoakCommand): unknown {
    switch (command.do) {
      case 'impair':
        return impair(command.impairment)
      case 'work':
        return work(command.putsPerSec)
      case 'rest':
        return clearInterval(timer)
      case 'put':
        for (const label of command.labels) put(idOf(label))
        return undefined
      case 'found': {
        const isFound = (label: string) => hooks.get(CONTEXT, idOf(label)) !== undefined
        return { found: command.labels.filter(isFound).length }
      }
      case 'status':
        return status()
      case 'memory':
        return memory()
    }
  }

  if (global.gc === undefined) throw new Error('needs --expose-gc')
  await node.start()
  await answerCommands(obey)
  clearInterval(timer)
  await node.stop()
  // Handles that were closed go at the end of a turn, and what waited for them in the next.
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve))
  const resources = process.getActiveResourcesInfo().filter((kind) => !STREAMS.has(kind))
  say({ resources } satisfies Leftovers)
}

const [, , setup = ''] = process.argv
await runHost(JSON.parse(setup))
