// `tlscached serve`: runs a node until a signal stops it.

import { Command } from 'commander'
import { messageOf } from '../base/errors.ts'
import { createLogger, type Logger } from '../base/logger.ts'
import { CacheNode } from '../node/node.ts'
import { addConfigOptions, readCommandConfig } from './config-options.ts'
import { stopOnSignal } from './stop-on-signal.ts'

export function serveCommand(): Command {
  const command = new Command('serve')
    .description('Run a node. SIGTERM and SIGINT stop it, SIGHUP reads keys and peers again.')
    .option('--json', 'print where it listens as one JSON object a line')
  return addConfigOptions(command).action(serve)
}

async function serve(
  file: string | undefined,
  options: { readonly json?: boolean },
  command: Command,
): Promise<void> {
  const config = readCommandConfig(file, command)
  const logger = createLogger({ ...config.log, node: config.nodeName })
  const node = new CacheNode(config, { logger, hasProcessMetrics: true })
  process.title = `tlscached serve ${config.nodeName}`
  stopOnSignal(node, logger)
  process.on('SIGHUP', () => void reload(node, logger, () => readCommandConfig(file, command)))
  await node.start()
  for (const { name, address } of node.listening()) {
    console.log(options.json ? JSON.stringify({ name, address }) : `${name} listens on ${address}`)
  }
}

/** An error keeps what there is. */
async function reload(
  node: CacheNode,
  logger: Logger,
  read: () => ReturnType<typeof readCommandConfig>,
): Promise<void> {
  try {
    await node.reload(read())
  } catch (error) {
    logger.error({ reason: messageOf(error) }, 'reload failed, keys and peers stay as they were')
  }
}
