// `tlscached keygen`: makes a new key for a cluster, as a line of a keyring file.

import { writeFileSync } from 'node:fs'
import { Command } from 'commander'
import { codeOf, messageOf } from '../base/errors.ts'
import { systemRandom } from '../base/world.ts'
import { generateKey } from '../wire/keyring.ts'

export function keygenCommand(): Command {
  return new Command('keygen')
    .description('Make a key for replication; the same one goes to every node.')
    .option('--out <file>', 'write it to a new file that only its owner can read')
    .option('--json', 'print {"key":..}, or {"file":..} with --out')
    .action(keygen)
}

function keygen(options: { readonly out?: string; readonly json?: boolean }): void {
  const key = generateKey(systemRandom)
  if (options.out === undefined) {
    console.log(options.json ? JSON.stringify({ key }) : key)
    return
  }
  try {
    // Fails when the file exists: no key is ever overwritten.
    writeFileSync(options.out, `${key}\n`, { mode: 0o600, flag: 'wx' })
  } catch (error) {
    const reason = codeOf(error) === 'EEXIST' ? 'the file exists already' : messageOf(error)
    throw new Error(`${options.out}: ${reason}`, { cause: error })
  }
  if (options.json) console.log(JSON.stringify({ file: options.out }))
}
