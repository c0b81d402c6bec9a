// One node of a cluster on this machine, a process of its own. Told by messages of its parent, a NodeOrder
// each; answers each with a NodeReport when it is done.

import { constants, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises'
import { createServer } from 'node:tls'
import { DEMO_CERTIFICATE } from '../src/cli/demo-terminator.ts'
import { attachSessionCache } from '../src/hooks/node-tls.ts'
import { type CacheNode, createNode } from '../src/node/node.ts'
import { impairSockets } from '../test/network/impairment.ts'

export interface NodeSetup {
  /** Of all nodes, from 0: names it and its sessions. */
  readonly number: number
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
  /** Looks for that many sessions that another node put first. */
  | { readonly kind: 'find'; readonly of: number; readonly count: number }
  /** Ends TLS as well, and answers each client with one byte. */
  | { readonly kind: 'terminate' }
  /** Loses this share of the datagrams it sends from now on. */
  | { readonly kind: 'lose'; readonly share: number }
  | { readonly kind: 'report' }

export interface NodeReport {
  readonly items: number
  /** From the order to its end. */
  readonly tookMs: number
  /** Of the process since it began. */
  readonly cpuUs: number
  readonly datagramsSent: number
  /** Changes that came when they were asked for again. */
  readonly repaired: number
  /** Peers that proved to be alive: their changes are taken. */
  readonly verifiedPeers: number
  /** Of those that it looked for. */
  readonly found: number
  /** Where it ends TLS, 0 when it does not. */
  readonly tlsPort: number
}

const HOST = '127.0.0.1'
const CONTEXT = Buffer.from('shop.example')
const SESSION = randomBytes(130)
const ID_BYTES = 32
/** Of an ID: the number of the node, then that of the session there, behind bytes that are the same everywhere. */
const NODE_AT = 24
const SESSION_AT = 28
const ID_FILL = 0x5a
/** How exactly the end of a copy is seen. */
const LOOK_MS = 1
const AWAIT_PERIOD_MS = 10

let node: CacheNode | undefined
let ownNumber = 0
let made = 0
let found = 0
let tlsPort = 0
let impair: ReturnType<typeof impairSockets> | undefined

async function start({ number, listen, peers, key, items }: NodeSetup): Promise<void> {
  ownNumber = number
  node = createNode({
    node: { name: `node${number}` },
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
  node?.hooks('ssl').put({ context: CONTEXT, id: idOf(ownNumber, made), session: SESSION })
  made += 1
}

function find(of: number, count: number): void {
  const hooks = node?.hooks('ssl')
  const numbers = Array.from({ length: count }, (_, session) => session)
  found = numbers.filter((session) => hooks?.get(CONTEXT, idOf(of, session)) !== undefined).length
}

function idOf(number: number, session: number): Buffer {
  const id = Buffer.alloc(ID_BYTES, ID_FILL)
  id.writeUInt32LE(number, NODE_AT)
  id.writeUInt32LE(session, SESSION_AT)
  return id
}

/** As the README has it. */
async function terminate(): Promise<void> {
  const server = createServer(
    {
      ...DEMO_CERTIFICATE,
      secureOptions: constants.SSL_OP_NO_TICKET,
      sessionIdContext: CONTEXT.toString(),
      sessionTimeout: 300,
    },
    (client) => {
      client.on('error', () => client.destroy())
      client.end('x')
    },
  )
  if (node !== undefined) attachSessionCache(server, node.hooks('ssl'), { context: CONTEXT })
  await once(server.listen(0, HOST), 'listening')
  tlsPort = (server.address() as AddressInfo).port
}

/** The sockets as they are until the first order. */
function lose(share: number): void {
  impair ??= impairSockets(Math.random)
  impair({ loss: share })
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
    case 'find':
      return find(order.of, order.count)
    case 'terminate':
      return terminate()
    case 'lose':
      return lose(order.share)
    case 'report':
      return
  }
}

async function answer(order: NodeOrder): Promise<void> {
  const startMs = performance.now()
  await obey(order)
  const tookMs = performance.now() - startMs
  const { user, system } = process.cpuUsage()
  const stats = node?.replicationStats()
  const report: NodeReport = {
    items: itemsNow(),
    tookMs,
    cpuUs: user + system,
    datagramsSent: stats?.datagramsSent ?? 0,
    repaired: stats?.repaired ?? 0,
    verifiedPeers: node?.peers().filter((peer) => peer.isVerified).length ?? 0,
    found,
    tlsPort,
  }
  process.send?.(report)
}

process.on('message', (order: NodeOrder) => void answer(order))
process.on('disconnect', async () => {
  await node?.stop()
  process.exit()
})
