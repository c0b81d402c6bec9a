// The options that get, put and remove have in common: the session and the node.

import { Command, InvalidArgumentError, Option } from 'commander'
import type { Address } from '../base/address.ts'
import { parseHex } from '../base/bytes.ts'
import { messageOf } from '../base/errors.ts'
import { httpOption } from './node-client.ts'

export interface SessionOptions {
  readonly http: Address
  readonly cache: string
  readonly context?: string
  readonly contextHex?: string
  readonly json?: boolean
}

export function sessionCommand(name: string): Command {
  return new Command(name)
    .argument('<id>', 'session ID in hex', hex)
    .addOption(httpOption())
    .option('--cache <name>', 'name of the cache', 'ssl')
    .addOption(new Option('--context <text>', 'session ID context').conflicts('contextHex'))
    .option('--context-hex <hex>', 'session ID context in hex', hex)
}

/** Returns the query parameters for the session ID context. */
export function contextQuery({ context, contextHex }: SessionOptions) {
  return { context, context_hex: contextHex }
}

function hex(text: string): string {
  try {
    return parseHex(text).toString('hex')
  } catch (error) {
    throw new InvalidArgumentError(messageOf(error))
  }
}
