// `tlscached repeat`: runs a repeater until a signal stops it.

import { hostname } from 'node:os'
import { Command } from 'commander'
import { messageOf } from '../base/errors.ts'
import { hideKeys } from '../base/hidden-keys.ts'
import { type RepeatConfig, readRepeaterConfig, repeaterSettings } from '../node/repeater-config.ts'
import { RepeaterNode } from '../node/repeater-node.ts'
import { COMMAND_PREFIXES, isStandalone } from '../settings/schema.ts'
import { Service } from './service.ts'
import { addSettingOptions, configPath, readFlags } from './setting-options.ts'
import { stopOnSignal } from './stop-on-signal.ts'

const FLAGS = repeaterSettings.filter(isStandalone)

export function repeatCommand(): Command {
  const command = new Command('repeat')
    .description(
      'Run a repeater: it passes what each node sends on to all others, and tells them where they are. ' +
        'SIGTERM and SIGINT stop it, SIGHUP reads the keys again.',
    )
    .option('--json', 'print where it listens as one JSON object a line')
  return addSettingOptions(command, FLAGS, COMMAND_PREFIXES.repeat, true).action(repeat)
}

async function repeat(
  file: string | undefined,
  options: { readonly json?: boolean },
  command: Command,
): Promise<void> {
  const config = readRepeaterConfig({
    file: configPath(file, command, COMMAND_PREFIXES.repeat),
    environment: process.env,
    flags: readFlags(command, FLAGS),
    hostName: hostname(),
  })
  const service = new Service({
    log: { ...config.log, node: config.name },
    watchdogMs: config.watchdogMs,
    isJson: options.json ?? false,
    countsKills: true,
  })
  await service.run(() => runRepeater(service, config))
}

async function runRepeater(service: Service, config: RepeatConfig): Promise<() => string> {
  const { logger, droppedLogLines, watchdogKills } = service
  const options = { logger, hasProcessMetrics: true, droppedLogLines, watchdogKills }
  const repeater = new RepeaterNode(config, options)
  process.title = hideKeys(`tlscached repeat ${config.name}`)
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
