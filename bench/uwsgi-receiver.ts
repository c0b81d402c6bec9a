// The node of the uWSGI benchmark, which takes sessions by cache-udp. Told by messages of its parent, a
// UwsgiOrder each; answers each with a UwsgiReport. Needs --expose-gc.

import { createNode } from '../src/node/node.ts'
import type { CacheStats } from '../src/store/stats.ts'

export type UwsgiOrder =
  /** One more node with one empty cache, in this process. */
  | { readonly kind: 'start'; readonly items: number }
  /** Of the node started last. */
  | { readonly kind: 'report' }

export interface UwsgiReport {
  readonly address: string
  readonly items: number
  /** Resident memory of the process, after a collection of garbage. */
  readonly rssBytes: number
}

let address = ''
let stats: CacheStats | undefined

async function start(items: number): Promise<void> {
  const node = createNode({
    node: { name: 'bench' },
    // As a file with `cache = ITEMS` and `cache-blocksize = 4096` comes to.
    caches: [{ name: 'default', items, keysize: 255, blocksize: 4096, full: 'refuse' }],
    replication: { listeners: [{ wire: 'uwsgi', listen: '127.0.0.1:0' }] },
    log: { level: 'error' },
  })
  await node.start()
  address = node.listening().find(({ name }) => name === 'cache-udp')?.address ?? ''
  stats = node.caches.get('default')?.stats
}

function report(): void {
  globalThis.gc?.()
  const { rss: rssBytes } = process.memoryUsage()
  const answer: UwsgiReport = { address, items: stats?.items ?? 0, rssBytes }
  process.send?.(answer)
}

process.on('message', (order: UwsgiOrder) => {
  if (order.kind === 'start') void start(order.items).then(report)
  else report()
})
process.on('disconnect', () => process.exit())
