// The cluster of the demo: nodes with encrypted replication in this process, each with a TLS terminator of its own.

import { setTimeout as delay } from 'node:timers/promises'
import { type HostAddress, parseHostAddress } from '../base/address.ts'
import { silentLogger, systemRandom } from '../base/world.ts'
import { type CacheNode, createNode, nodeConfig } from '../node/node.ts'
import { generateKey } from '../wire/keyring.ts'
import { DEMO_CERTIFICATE, startTerminator } from './demo-terminator.ts'

const LOOPBACK = '127.0.0.1'
const CACHE = 'demo'
const CONTEXT = 'tlscached demo'
/** Lifetime of sessions, which is longer than the demo runs. */
const LIFETIME_SEC = 300
/** Time between two looks at the peers of a node, while the nodes find each other. */
const LOOK_PERIOD_MS = 20

export interface DemoNode {
  readonly name: string
  readonly http: HostAddress
  readonly tls: HostAddress
}

interface Running {
  stop(): Promise<void>
}

export class DemoCluster {
  readonly #running: Running[] = []
  readonly #signal: AbortSignal

  /** When `signal` is aborted, everything that waits rejects; `stop` must be called all the same. */
  constructor(signal: AbortSignal) {
    this.#signal = signal
  }

  /** Starts nodes with a fresh key and resolves when each has heard every other one. */
  async start(count: number, items: number): Promise<readonly DemoNode[]> {
    const key = generateKey(systemRandom)
    const configs = Array.from({ length: count }, (_, index) => ({
      node: { name: `demo-${index + 1}` },
      caches: [{ name: CACHE, items, timeout: `${LIFETIME_SEC}s` }],
      replication: { listen: `${LOOPBACK}:0`, keys: [key] },
      frontends: { http: `${LOOPBACK}:0` },
      log: { level: 'warn' as const },
    }))
    const nodes = configs.map((config) => createNode(config))
    this.#running.push(...nodes)
    await Promise.all(nodes.map((node) => node.start()))
    const addresses = nodes.map((node) => addressOf(node, 'replication'))
    await Promise.all(
      configs.map(({ replication, ...config }, own) => {
        const peers = addresses.filter((_, other) => other !== own)
        return nodes[own]?.reload(nodeConfig({ ...config, replication: { ...replication, peers } }))
      }),
    )
    for (const node of nodes) await this.#untilAcquainted(node, count - 1)
    return Promise.all(nodes.map((node) => this.#describe(node)))
  }

  async stop(): Promise<void> {
    await Promise.all(this.#running.map((part) => part.stop()))
  }

  async #describe(node: CacheNode): Promise<DemoNode> {
    const { nodeName: name } = node
    const terminator = await startTerminator({
      listen: { host: LOOPBACK, port: 0 },
      node: name,
      hooks: node.hooks(CACHE),
      context: CONTEXT,
      certificate: DEMO_CERTIFICATE,
      sessionTimeoutSec: LIFETIME_SEC,
      logger: silentLogger,
    })
    this.#running.push(terminator)
    return { name, http: parseHostAddress(addressOf(node, 'http')), tls: terminator.address }
  }

  async #untilAcquainted(node: CacheNode, count: number): Promise<void> {
    while (node.peers().filter((peer) => peer.isVerified && peer.isUp).length < count) {
      await delay(LOOK_PERIOD_MS, undefined, { signal: this.#signal })
    }
  }
}

function addressOf(node: CacheNode, part: string): string {
  return node.listening().find(({ name }) => name === part)?.address ?? ''
}
