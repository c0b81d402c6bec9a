// `tlscached repeat`: runs a repeater until a signal stops it.

import { hostname } from 'node:os'
import { Command, Option } from 'commander'
import { type Address, type HostAddress, parseAddress, parseHostAddress } from '../base/address.ts'
import { messageOf } from '../base/errors.ts'
import { hideKeys } from '../base/hidden-keys.ts'
import { LOG_FORMATS, type LoggerOptions } from '../base/logger.ts'
import { LOG_LEVELS } from '../base/world.ts'
import { RepeaterNode } from '../node/repeater-node.ts'
import { KEYS_FILE_MODES, type KeysFileMode } from '../wire/keyring.ts'
import { Service, watchdogOption } from './service.ts'
import { stopOnSignal } from './stop-on-signal.ts'

interface RepeatOptions {
  readonly listen: HostAddress
  readonly keysFile?: string
  readonly keysFileMode: KeysFileMode
  readonly insecure?: boolean
  readonly http?: Address
  readonly name: string
  readonly logLevel: LoggerOptions['level']
  readonly logFormat: LoggerOptions['format']
  readonly json?: boolean
  readonly watchdog: number
}

export function repeatCommand(): Command {
  return new Command('repeat')
    .description(
      'Run a repeater: it passes what each node sends on to all others, and tells them where they are. ' +
        'SIGTERM and SIGINT stop it, SIGHUP reads the keys again.',
    )
    .requiredOption('--listen <host:port>', 'where nodes send to (UDP)', parseHostAddress)
    .option('--keys-file <path>', 'file of keys of the cluster, the same as on the nodes')
    .addOption(
      new Option(
        '--keys-file-mode <mode>',
        'who may read it: root, this user and its groups, or any',
      )
        .choices(KEYS_FILE_MODES)
        .default('private'),
    )
    .option('--insecure', 'run without keys beyond loopback: whoever listens there reads sessions')
    .option(
      '--http <address>',
      'health, metrics and subscribers: host:port or unix:/path',
      parseAddress,
    )
    .option('--name <name>', 'name of this repeater, different from all nodes', repeaterName())
    .addOption(
      new Option('--log-level <level>', 'least important lines that are logged')
        .choices(LOG_LEVELS)
        .default('info'),
    )
    .addOption(
      new Option('--log-format <format>', 'one JSON object or one readable line per event')
        .choices(LOG_FORMATS)
        .default('json'),
    )
    .addOption(watchdogOption())
    .option('--json', 'print where it listens as one JSON object a line')
    .action(repeat)
}

/** Returns the default name. It differs from that of a node on this machine, which is the host name. */
function repeaterName(): string {
  return `${hostname()}-repeater`
}

async function repeat(options: RepeatOptions): Promise<void> {
  const service = new Service({
    log: { level: options.logLevel, format: options.logFormat, node: options.name },
    watchdogMs: options.watchdog,
    isJson: options.json ?? false,
  })
  await service.run(() => runRepeater(service, options))
}

async function runRepeater(service: Service, options: RepeatOptions): Promise<() => string> {
  const { listen, keysFile, keysFileMode, insecure: isInsecure = false, http, name } = options
  const { logger, droppedLogLines } = service
  const repeater = new RepeaterNode(
    { name, listen, keysFile, keysFileMode, isInsecure, http },
    { logger, hasProcessMetrics: true, droppedLogLines },
  )
  process.title = hideKeys(`tlscached repeat ${name}`)
  const stop = () => {
    service.manager.stopping()
    return repeater.stop()
  }
  stopOnSignal({ stop }, logger)
  const reload = () => {
    try {
      repeater.reloadKeys()
    } catch (error) {
      logger.error({ reason: messageOf(error) }, 'reload failed, keys stay as they were')
    }
  }
  process.on('SIGHUP', () => void service.manager.reloading(reload))
  await repeater.start()
  for (const { name: part, address } of repeater.listening()) service.sayListening(part, address)
  return () => repeater.readiness().reason
}
