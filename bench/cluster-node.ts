// One node of a cluster on this machine, a process of its own. Told by messages of its parent, a NodeOrder
// each; answers each with a NodeReport when it is done.

import { randomBytes } from 'node:crypto'
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises'
import { type CacheNode, createNode } from '../src/node/node.ts'

export interface NodeSetup {
  readonly name: string
  readonly listen: string
  readonly peers: readonly string[]
  readonly key: string
  readonly items: number
}

export type NodeOrder =
  /** Starts the node; done when it is ready, with all that its peers hold. */
  | { readonly kind: 'start'; readonly setup: NodeSetup }
  /** Puts new sessions, at this rate, so many in each turn of the event loop. */
  | {
      readonly kind: 'put'
      readonly count: number
      readonly perSec: number
      readonly perTurn: number
    }
  /** Puts new sessions, as fast as can be. */
  | { readonly kind: 'fill'; readonly count: number }
  /** Waits until it holds so many sessions, but not for ever. */
  | { readonly kind: 'await'; readonly items: number; readonly timeoutMs: number }
  | { readonly kind: 'report' }

export interface NodeReport {
  readonly items: number
  /** From the order to its end. */
  readonly tookMs: number
  /** Of the process since it began. */
  readonly cpuUs: number
  readonly datagramsSent: number
  /** Peers that proved to be alive: their changes are taken. */
  readonly verifiedPeers: number
}

const CONTEXT = Buffer.from('shop.example')
const SESSION = randomBytes(130)
const ID_BYTES = 32
const NUMBER_BYTES = 4
/** How exactly the end of a copy is seen. */
const LOOK_MS = 1
const AWAIT_PERIOD_MS = 10
const idSeed = randomBytes(ID_BYTES)

let node: CacheNode | undefined
let made = 0

async function start({ name, listen, peers, key, items }: NodeSetup): Promise<void> {
  node = createNode({
    node: { name },
    caches: [{ name: 'ssl', items, timeout: '1h' }],
    replication: { listen, peers: [...peers], keys: [key] },
    log: { level: 'error' },
  })
  await node.start()
  while (!node.readiness().isReady) await delay(LOOK_MS)
}

/** No more in a turn when late: gathered ones would cost less. */
async function put(count: number, perSec: number, perTurn: number): Promise<void> {
  const startMs = performance.now()
  for (let putSoFar = 0; putSoFar < count; putSoFar += 1) {
    putNew()
    if ((putSoFar + 1) % perTurn !== 0) continue
    const dueMs = startMs + ((putSoFar + 1) / perSec) * 1000
    do await (performance.now() < dueMs ? delay(1) : nextTurn())
    while (performance.now() < dueMs)
  }
}

/** As fast as can be, for a node that is alone. */
function fill(count: number): void {
  for (let putSoFar = 0; putSoFar < count; putSoFar += 1) putNew()
}

function putNew(): void {
  const id = Buffer.from(idSeed)
  id.writeUInt32LE(made, ID_BYTES - NUMBER_BYTES)
  made += 1
  node?.hooks('ssl').put(CONTEXT, id, SESSION)
}

async function awaitItems(items: number, timeoutMs: number): Promise<void> {
  const untilMs = performance.now() + timeoutMs
  while (itemsNow() < items && performance.now() < untilMs) await delay(AWAIT_PERIOD_MS)
}

function itemsNow(): number {
  return node?.caches.get('ssl')?.stats.items ?? 0
}

async function obey(order: NodeOrder): Promise<void> {
  switch (order.kind) {
    case 'start':
      return start(order.setup)
    case 'put':
      return put(order.count, order.perSec, order.perTurn)
    case 'fill':
      return fill(order.count)
    case 'await':
      return awaitItems(order.items, order.timeoutMs)
    case 'report':
      return
  }
}

async function answer(order: NodeOrder): Promise<void> {
  const startMs = performance.now()
  await obey(order)
  const tookMs = performance.now() - startMs
  const { user, system } = process.cpuUsage()
  const report: NodeReport = {
    items: itemsNow(),
    tookMs,
    cpuUs: user + system,
    datagramsSent: node?.replicationStats()?.datagramsSent ?? 0,
    verifiedPeers: node?.peers().filter((peer) => peer.isVerified).length ?? 0,
  }
  process.send?.(report)
}

process.on('message', (order: NodeOrder) => void answer(order))
process.on('disconnect', async () => {
  await node?.stop()
  process.exit()
})
