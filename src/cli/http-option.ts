// The option of every command that asks a running node over HTTP.

import { Option } from 'commander'
import { parseAddress } from '../base/address.ts'

export function httpOption(): Option {
  return new Option('--http <address>', 'HTTP frontend of the node: host:port or unix:/path')
    .default({ host: '127.0.0.1', port: 5080 }, '127.0.0.1:5080')
    .argParser(parseAddress)
}
