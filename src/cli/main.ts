#!/usr/bin/env node
// The command line `tlscached`: one command per file, and one place that turns errors into exit codes.

import { Command, CommanderError } from 'commander'
import { codeOf, messageOf, TlscachedError } from '../base/errors.ts'
import { readVersion } from '../base/version.ts'
import { checkCommand } from './check.ts'
import { demoCommand } from './demo.ts'
import { demoNodeCommand } from './demo-node.ts'
import { FAILED, INVALID, isInvalid } from './exit-codes.ts'
import { getCommand } from './get.ts'
import { keygenCommand } from './keygen.ts'
import { peersCommand } from './peers.ts'
import { putCommand } from './put.ts'
import { removeCommand } from './remove.ts'
import { serveCommand } from './serve.ts'
import { statsCommand } from './stats.ts'

// Whoever reads our output may stop reading: that ends the output, not the program.
process.stdout.on('error', (error) => {
  if (codeOf(error) !== 'EPIPE') throw error
})

try {
  await createProgram().parseAsync()
} catch (error) {
  process.exitCode = reportError(error)
}

function createProgram(): Command {
  const program = new Command('tlscached')
    .description(
      'Distributed TLS session cache: a session made on one node resumes on every other.',
    )
    .version(readVersion())
    .configureHelp({ showGlobalOptions: true })
    .addHelpText('after', '\nExit codes: 0 done, 1 failed, 2 wrong usage or configuration.')
  const commands = [
    serveCommand(),
    checkCommand(),
    keygenCommand(),
    demoCommand(),
    getCommand(),
    putCommand(),
    removeCommand(),
    statsCommand(),
    peersCommand(),
  ]
  for (const command of commands) program.addCommand(command)
  program.addCommand(demoNodeCommand(), { hidden: true })
  // Without this, commander ends the process by itself, with 1 for wrong usage.
  for (const command of [program, ...program.commands]) command.exitOverride()
  return program
}

/** Prints what a person can act on, never a stack trace, and gives the exit code. */
function reportError(error: unknown): number {
  // Commander has printed its own message.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : INVALID
  if (error instanceof TlscachedError) {
    console.error(error.message)
    return isInvalid(error.code) ? INVALID : FAILED
  }
  console.error(messageOf(error))
  return FAILED
}
