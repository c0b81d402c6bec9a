// One host of the restart test: a node in this process that says when it had copied its peers, puts live
// sessions, and notes when those of the others arrive.

import { hash } from 'node:crypto'
import { silentLogger } from '../../src/base/world.ts'
import { createNode } from '../../src/node/node.ts'
import { seededBytes } from '../support/seeded-random.ts'
import { answerCommands, say } from './host-process.ts'
import {
  type Joined,
  type LiveArrivals,
  type LivePuts,
  type Moment,
  monotonicMs,
  type RestartCommand,
  type RestartSetup,
} from './restart-commands.ts'

const CONTEXT = Buffer.from('restart')
const TTL_MS = 3_600_000
const SESSION_BYTES = 130
const LIVE_PERIOD_MS = 1
const KINDS = { fill: 0, live: 1 } as const

/** Spread like real ones; the first bytes tell which one it is. */
function idOf(kind: keyof typeof KINDS, session: number): Buffer {
  const id = hash('sha256', `${kind} ${session}`, 'buffer')
  id.writeUInt8(KINDS[kind], 0)
  id.writeUInt32LE(session, 1)
  return id
}

async function runHost(setup: RestartSetup): Promise<void> {
  const { name, listen, peers, keys, expected } = setup
  const node = createNode(
    {
      node: { name },
      caches: [{ name: 'ssl', items: 500_000, timeout: '1h' }],
      replication: { listen, peers: [...peers], keys: [...keys] },
    },
    { logger: silentLogger },
  )
  const hooks = node.hooks('ssl')
  const store = node.caches.get('ssl')?.store
  if (store === undefined) throw new Error('no such cache')
  const randomBytes = seededBytes(name)
  let dueMs: Moment[] = []
  let isLive = false
  const arrivedMs: Moment[] = []

  const publish = store.onChange
  store.onChange = (change, origin) => {
    publish(change, origin)
    if (origin === 'peer' && change.id[0] === KINDS.live) {
      arrivedMs.push([Buffer.from(change.id).readUInt32LE(1), monotonicMs()])
    }
  }
  const put = (kind: keyof typeof KINDS, session: number) =>
    hooks.put({
      context: CONTEXT,
      id: idOf(kind, session),
      session: randomBytes(SESSION_BYTES),
      ttlMs: TTL_MS,
    })

  /** Resolves when everything is there; looks at every turn that a timer allows. */
  async function join(): Promise<Joined> {
    const startMs = monotonicMs()
    await node.start()
    const listeningMs = monotonicMs()
    let syncingMs = 0
    let filledMs = 0
    while (filledMs === 0 || !node.readiness().isReady) {
      if (syncingMs === 0 && node.syncStatus()?.state === 'syncing') syncingMs = monotonicMs()
      if (filledMs === 0 && (store?.stats.items ?? 0) >= expected) filledMs = monotonicMs()
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    const { reason } = node.readiness()
    return { startMs, listeningMs, syncingMs, filledMs, readyMs: monotonicMs(), reason }
  }

  function beginLive(lane: number, lanes: number): void {
    const startMs = monotonicMs()
    let count = 0
    isLive = true
    dueMs = []
    const tick = () => {
      if (!isLive) return
      for (; startMs + count * LIVE_PERIOD_MS <= monotonicMs(); count += 1) {
        dueMs.push([lane + count * lanes, startMs + count * LIVE_PERIOD_MS])
        put('live', lane + count * lanes)
      }
      setTimeout(tick, LIVE_PERIOD_MS)
    }
    tick()
  }

  function obey(command: RestartCommand): unknown {
    switch (command.do) {
      case 'fill':
        for (let index = 0; index < command.count; index += 1) put('fill', command.from + index)
        return undefined
      case 'found': {
        const all = Array.from({ length: command.count }, (_, session) => idOf('fill', session))
        return { found: all.filter((id) => hooks.get(CONTEXT, id) !== undefined).length }
      }
      case 'beginLive':
        return beginLive(command.lane, command.lanes)
      case 'endLive':
        isLive = false
        return { dueMs } satisfies LivePuts
      case 'arrivals':
        return { arrivedMs } satisfies LiveArrivals
    }
  }

  say(await join())
  await answerCommands(obey)
  await node.stop()
}

const [, , setup = ''] = process.argv
await runHost(JSON.parse(setup))
