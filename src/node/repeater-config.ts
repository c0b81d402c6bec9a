// The configuration of a repeater: its settings as people write them, and as the rest of the program sees them.

import { z } from 'zod'
import type { LoggerOptions } from '../base/logger.ts'
import { address, flag, hostAddress, logSection, notes, text, watchdog } from '../settings/forms.ts'
import { deepFreeze, parseTree, readSources } from '../settings/read.ts'
import { COMMAND_PREFIXES, settingsOf } from '../settings/schema.ts'
import type { ConfigSources } from './config.ts'
import { keysFileMode, nodeName } from './config-forms.ts'
import type { RepeaterConfig } from './repeater-node.ts'

export const repeaterSchema = z.strictObject({
  listen: hostAddress().register(notes, {
    description: 'where nodes send to (UDP)',
    form: 'host:port',
    fallback: 'required',
  }),
  keys_file: text().optional().register(notes, {
    description: 'file of keys of the cluster, the same as on the nodes',
    form: 'path',
    fallback: 'no keys',
  }),
  keys_file_mode: keysFileMode(),
  insecure: flag().prefault(false).register(notes, {
    description: 'run without keys beyond loopback: whoever listens there reads sessions',
    form: 'true or false',
  }),
  http: address().optional().register(notes, {
    description: 'health, metrics and subscribers',
    form: 'host:port or unix:/path',
    fallback: 'none',
  }),
  name: nodeName().register(notes, {
    description: 'name of this repeater, different from all nodes',
    form: 'text',
    fallback: 'the host name and `-repeater`',
  }),
  watchdog: watchdog('repeat'),
  log: logSection(),
})

/** Every setting of a repeater, in the order of the reference. */
export const repeaterSettings = settingsOf(repeaterSchema, COMMAND_PREFIXES.repeat)

/** The configuration of a repeater, complete and checked, with what its process needs. */
export interface RepeatConfig extends RepeaterConfig {
  readonly log: Pick<LoggerOptions, 'level' | 'format'>
  /** Longest time without a turn of the event loop; 0 is off. */
  readonly watchdogMs: number
}

/** Reads and checks the configuration of a repeater. Throws a ConfigError with every mistake. */
export function readRepeaterConfig(sources: ConfigSources): RepeatConfig {
  const tree = readSources(sources, repeaterSettings, COMMAND_PREFIXES.repeat)
  const parsed = parseTree(tree, repeaterSchema, repeaterSettings)
  return deepFreeze({
    // It differs from the default name of a node on this machine, which is the host name.
    name: parsed.name ?? `${sources.hostName}-repeater`,
    listen: parsed.listen,
    keysFile: parsed.keys_file,
    keysFileMode: parsed.keys_file_mode,
    isInsecure: parsed.insecure,
    http: parsed.http,
    log: parsed.log,
    watchdogMs: parsed.watchdog,
  })
}
