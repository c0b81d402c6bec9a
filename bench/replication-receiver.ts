// The other end of the replication benchmark: a node that notes when each session became visible. Told by
// messages of its parent, a ReceiverOrder each; answers each with a ReceiverReport.

import { type CacheNode, createNode } from '../src/node/node.ts'

export interface ReceiverSetup {
  readonly name: string
  readonly key: string
  readonly items: number
  readonly datagramBytes: number
}

export type ReceiverOrder =
  | { readonly kind: 'start'; readonly setup: ReceiverSetup }
  /** What arrived since the last `clear`: number of sessions, and when those with these IDs came. */
  | { readonly kind: 'report'; readonly numbers: number }
  | { readonly kind: 'clear' }

export interface ReceiverReport {
  readonly address: string
  readonly received: number
  /** Peers whose changes are taken. */
  readonly verifiedPeers: number
  /** CLOCK_MONOTONIC in milliseconds, the same in all processes; 0 for what did not come. */
  readonly arrivedMs: readonly number[]
}

const MAX_NUMBERS = 100_000

let node: CacheNode | undefined
let address = ''
let received = 0
const arrivedMs = new Float64Array(MAX_NUMBERS)

async function start({ name, key, items, datagramBytes }: ReceiverSetup): Promise<void> {
  node = createNode({
    node: { name },
    caches: [{ name: 'ssl', items, timeout: '1h' }],
    replication: { listen: '127.0.0.1:0', keys: [key], max_datagram: datagramBytes },
    log: { level: 'error' },
  })
  const store = node.caches.get('ssl')?.store
  if (store === undefined) throw new Error('no such cache')
  store.onChange = (change) => {
    received += 1
    const number = numberOf(change.id)
    if (number < MAX_NUMBERS) arrivedMs[number] = Number(process.hrtime.bigint()) / 1e6
  }
  await node.start()
  address = node.listening().find((one) => one.name === 'replication')?.address ?? ''
}

/** As the sender wrote it: its first four bytes, little endian. */
function numberOf(id: Uint8Array): number {
  const byte = (at: number) => (id[at] ?? 0) << (8 * at)
  return (byte(0) | byte(1) | byte(2) | byte(3)) >>> 0
}

process.on('message', (order: ReceiverOrder) => {
  const report = (numbers: number) => {
    const answer: ReceiverReport = {
      address,
      received,
      verifiedPeers: node?.peers().filter((peer) => peer.isVerified).length ?? 0,
      arrivedMs: [...arrivedMs.subarray(0, numbers)],
    }
    process.send?.(answer)
  }
  if (order.kind === 'start') void start(order.setup).then(() => report(0))
  else if (order.kind === 'report') report(order.numbers)
  else {
    received = 0
    arrivedMs.fill(0)
    report(0)
  }
})
process.on('disconnect', () => process.exit())
