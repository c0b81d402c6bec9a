// `tlscached serve`: runs a node until a signal stops it, with a terminator in front of it when a file of uWSGI asks
// for one.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { messageOf } from '../base/errors.ts'
import { hideKeys } from '../base/hidden-keys.ts'
import type { Logger } from '../base/world.ts'
import type { NodeConfig } from '../node/config.ts'
import { CacheNode } from '../node/node.ts'
import type { Conversion } from '../uwsgi/conversion.ts'
import { addConfigOptions, readCommandConfig } from './config-options.ts'
import { FAILED } from './exit-codes.ts'
import { Service } from './service.ts'
import { STOP_TIMEOUT_MS, type Stop, stopOnSignal } from './stop-on-signal.ts'
import { readUwsgiFile, type UwsgiOptions } from './uwsgi-options.ts'
import { UwsgiTerminator } from './uwsgi-terminator.ts'

/** Longest stop of the terminator, whose connections may end first: its own --drain, and a little more. */
const TERMINATOR_STOP_MS = 12_000

export function serveCommand(): Command {
  const command = new Command('serve')
    .description('Run a node. SIGTERM and SIGINT stop it, SIGHUP reads keys and peers again.')
    .option('--json', 'print where it listens as one JSON object a line')
  return addConfigOptions(command).action(serve)
}

async function serve(
  file: string | undefined,
  options: UwsgiOptions & { readonly json?: boolean },
  command: Command,
): Promise<void> {
  const conversion = readUwsgiFile(options)
  // The socket between terminator and node is in a folder that nobody else may enter.
  const folder = conversion?.terminator && mkdtempSync(join(tmpdir(), 'tlscached-'))
  process.once('exit', () => folder && rmSync(folder, { recursive: true, force: true }))
  const rpcAddress = folder && `unix:${join(folder, 'rpc.sock')}`
  const read = () => readCommandConfig(file, command, rpcAddress)
  const config = read()
  const service = new Service({
    log: { ...config.log, node: config.nodeName },
    watchdogMs: config.watchdogMs,
    isJson: options.json ?? false,
    countsKills: true,
  })
  await service.run(() => runNode(service, config, read, conversion))
}

async function runNode(
  service: Service,
  config: NodeConfig,
  read: () => NodeConfig,
  conversion: Conversion | undefined,
): Promise<() => string> {
  const { logger, droppedLogLines, watchdogKills } = service
  const options = { logger, log: logger, hasProcessMetrics: true, droppedLogLines, watchdogKills }
  const node = new CacheNode(config, options)
  process.title = hideKeys(`tlscached serve ${config.nodeName}`)
  let terminator: UwsgiTerminator | undefined
  let isStopping = false
  const running = {
    // The terminator stops first, because its connections may still call the node.
    stop: async () => {
      isStopping = true
      service.manager.stopping()
      await terminator?.stop()
      await node.stop()
    },
    kill: () => terminator?.kill(),
  }
  const drainMs = conversion?.terminator === undefined ? 0 : TERMINATOR_STOP_MS
  const stop = stopOnSignal(running, logger, STOP_TIMEOUT_MS + drainMs)
  process.on('SIGHUP', () => {
    void service.manager.reloading(() => reload(node, logger, read))
  })
  for (const { option, where, why } of conversion?.notes ?? []) {
    logger.warn({ option, where }, `uwsgi: ${why}`)
  }
  await node.start()
  const status = () => node.readiness().reason
  // When a signal came during the start, a terminator started from here on would outlive this process.
  if (isStopping) return status
  for (const { name, address } of node.listening()) service.sayListening(name, address)
  terminator = startTerminator(conversion, config, logger, stop)
  // A terminator that the service manager starts after this service finds its ticket keys.
  await node.ticketsGiven()
  return status
}

function startTerminator(
  conversion: Conversion | undefined,
  config: NodeConfig,
  logger: Logger,
  stop: Stop,
): UwsgiTerminator | undefined {
  const plan = conversion?.terminator
  const { rpc } = config.frontends
  if (plan === undefined || rpc === undefined) return undefined
  return new UwsgiTerminator(plan, rpc, config.log, config.watchdogMs, (code) => {
    logger.error({ code }, 'the terminator ended by itself')
    stop('terminator', code === 0 ? FAILED : code)
  })
}

/** Reads keys and peers again. After an error those in use stay. */
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
