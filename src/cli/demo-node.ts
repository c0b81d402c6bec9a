// The hidden command that runs one node of the demo: a cache node and a TLS terminator in a process of their own,
// which ends with the process that started it.

import { hostname } from 'node:os'
import { Command } from 'commander'
import { formatAddress } from '../base/address.ts'
import { messageOf, TlscachedError } from '../base/errors.ts'
import { createLogger } from '../base/logger.ts'
import { OutputThread } from '../base/output-thread.ts'
import { checkConfig } from '../node/config.ts'
import { CacheNode } from '../node/node.ts'
import {
  DEMO_CACHE,
  DEMO_CONTEXT,
  DEMO_LIFETIME_SEC,
  type FromNode,
  type ToNode,
  toNodeSchema,
} from './demo-messages.ts'
import { DEMO_CERTIFICATE, startTerminator } from './demo-terminator.ts'
import { FAILED } from './exit-codes.ts'

const LOOPBACK = '127.0.0.1'

export function demoNodeCommand(): Command {
  return new Command('demo-node').action(demoNode)
}

function demoNode(): void {
  if (process.send === undefined) {
    throw new TlscachedError('ERR_USAGE', 'demo-node is started by tlscached demo')
  }
  process.on('disconnect', () => process.exit())
  const run = new DemoNode()
  let queue = Promise.resolve()
  process.on('message', (message) => {
    queue = queue
      .then(() => run.handle(toNodeSchema.parse(message)))
      .then(tell, (error) => {
        tell({ kind: 'failed', message: messageOf(error) })
        process.exitCode = FAILED
        process.disconnect()
      })
  })
}

class DemoNode {
  #start: Extract<ToNode, { kind: 'start' }> | undefined
  #node: CacheNode | undefined

  async handle(message: ToNode): Promise<FromNode> {
    if (message.kind === 'start') return this.#begin(message)
    if (this.#start === undefined) throw new Error('told of peers before the start')
    await this.#node?.reload(configOf(this.#start, message.peers))
    return { kind: 'connected' }
  }

  async #begin(start: Extract<ToNode, { kind: 'start' }>): Promise<FromNode> {
    process.title = `tlscached demo ${start.name}`
    const config = configOf(start, [])
    const logger = createLogger({ ...config.log, node: config.nodeName }, new OutputThread())
    const node = new CacheNode(config, { logger })
    await node.start()
    this.#start = start
    this.#node = node
    const terminator = await startTerminator({
      listen: { host: LOOPBACK, port: 0 },
      node: start.name,
      hooks: node.hooks(DEMO_CACHE),
      context: DEMO_CONTEXT,
      certificate: DEMO_CERTIFICATE,
      sessionTimeoutSec: DEMO_LIFETIME_SEC,
      logger,
    })
    const addresses = new Map(node.listening().map(({ name, address }) => [name, address]))
    return {
      kind: 'started',
      replication: addresses.get('replication') ?? '',
      http: addresses.get('http') ?? '',
      tls: formatAddress(terminator.address),
    }
  }
}

function configOf({ name, key, items }: Extract<ToNode, { kind: 'start' }>, peers: string[]) {
  const input = {
    node: { name },
    caches: [{ name: DEMO_CACHE, items, timeout: `${DEMO_LIFETIME_SEC}s` }],
    replication: { listen: `${LOOPBACK}:0`, peers, keys: [key] },
    frontends: { http: `${LOOPBACK}:0` },
    log: { level: 'warn' as const },
  }
  return checkConfig(input, hostname())
}

function tell(message: FromNode): void {
  process.send?.(message)
}
