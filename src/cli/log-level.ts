// `tlscached log-level`: shows or changes the level of a running node's log, over the rpc socket that only its user can
// open.

import { Argument, Command } from 'commander'
import type { UnixAddress } from '../base/address.ts'
import { LOG_LEVELS, type LogLevel } from '../base/world.ts'
import { callNode, rpcOption } from './rpc-client.ts'

export function logLevelCommand(): Command {
  return new Command('log-level')
    .description('Show the log level of a running node, or change it until the node is restarted.')
    .addArgument(new Argument('[level]', 'level to set').choices(LOG_LEVELS))
    .addOption(rpcOption())
    .option('--json', 'print {"level":..}')
    .action(logLevel)
}

async function logLevel(
  level: LogLevel | undefined,
  { rpc, json }: { readonly rpc: UnixAddress; readonly json?: boolean },
): Promise<void> {
  const result = await callNode(rpc, { kind: 'logLevel', level })
  if (result.kind === 'error') {
    throw new Error(
      result.code === 'unknown_call'
        ? 'the node is of an earlier release, and its level cannot be changed'
        : 'the node keeps its log to itself: a program around it gave it a logger of its own',
    )
  }
  if (result.kind !== 'logLevel') throw new Error('the node answered something else')
  console.log(json ? JSON.stringify({ level: result.level }) : result.level)
}
