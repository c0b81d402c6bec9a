// A program for end-to-end tests: one node with a TLS terminator in front of one of its caches. Its one
// argument is a TerminatorNodeOptions as JSON; it says on one line where both listen.

import { formatAddress } from '../../src/base/address.ts'
import { createLogger } from '../../src/base/logger.ts'
import { OutputThread } from '../../src/base/output-thread.ts'
import { DEMO_CERTIFICATE, startTerminator } from '../../src/cli/demo-terminator.ts'
import { checkConfig } from '../../src/node/config.ts'
import type { ConfigInput } from '../../src/node/config-schema.ts'
import { CacheNode } from '../../src/node/node.ts'

export interface TerminatorNodeOptions {
  readonly config: ConfigInput & { readonly node: { readonly name: string } }
  readonly cache: string
  readonly context: string
}

const options: TerminatorNodeOptions = JSON.parse(process.argv[2] ?? '')
const { name } = options.config.node
const logger = createLogger({ level: 'error', format: 'text', node: name }, new OutputThread())
const node = new CacheNode(checkConfig(options.config, name), { logger })
await node.start()
const terminator = await startTerminator({
  listen: { host: '127.0.0.1', port: 0 },
  node: name,
  hooks: node.hooks(options.cache),
  context: options.context,
  certificate: DEMO_CERTIFICATE,
  sessionTimeoutSec: 300,
  logger,
})
const http = node.listening().find((one) => one.name === 'http')
const where = { http: http?.address, tls: formatAddress(terminator.address) }
process.stdout.write(`${JSON.stringify(where)}\n`)
process.once('SIGTERM', () => {
  void terminator.stop().then(() => node.stop())
})
