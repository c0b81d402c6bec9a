#!/usr/bin/env -S node --no-memory-reducer --max-semi-space-size=4 --no-parallel-scavenge
// The command line `tlscached`: one command per file, and one place that turns errors into exit codes.
//
// The options in the first line keep pauses short, because stunnel waits only 5 ms. V8 reads them only when it starts:
//   no-memory-reducer      an idle process skips two extra collections of some 10 ms each, which would give memory back
//   max-semi-space-size    new garbage is collected at 4 MB: in 0.8 ms at 10,000 datagrams a second, instead of 2.2 ms
//   no-parallel-scavenge   the main thread collects new garbage without helpers, because hardly any of it survives

import { setFlagsFromString } from 'node:v8'
import { Command, CommanderError } from 'commander'
import { codeOf, messageOf } from '../base/errors.ts'
import { hideKeys } from '../base/hidden-keys.ts'
import { readVersion } from '../base/version.ts'
import { exitCodeOf, INVALID } from './exit-codes.ts'
import { replaceStandardStreams } from './standard-streams.ts'

// A get passes through some forty small functions. By default V8 inlines functions of up to 460 bytes of bytecode, and
// 920 bytes in total. With these limits a node answers 2 % more gets a second; with 1500 and 8000, which inline all
// but the last and smallest functions, no more than that (measured over memcached's protocol).
setFlagsFromString('--max-inlined-bytecode-size=700')
setFlagsFromString('--max-inlined-bytecode-size-cumulative=2500')

/** The commands, loaded on demand: most need little of the program and start sooner that way. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  serve: async () => (await import('./serve.ts')).serveCommand(),
  terminate: async () => (await import('./terminate.ts')).terminateCommand(),
  repeat: async () => (await import('./repeat.ts')).repeatCommand(),
  convert: async () => (await import('./convert.ts')).convertCommand(),
  check: async () => (await import('./check.ts')).checkCommand(),
  keygen: async () => (await import('./keygen.ts')).keygenCommand(),
  demo: async () => (await import('./demo.ts')).demoCommand(),
  get: async () => (await import('./session.ts')).getCommand(),
  put: async () => (await import('./session.ts')).putCommand(),
  remove: async () => (await import('./session.ts')).removeCommand(),
  stats: async () => (await import('./stats.ts')).statsCommand(),
  top: async () => (await import('./top.ts')).topCommand(),
  prove: async () => (await import('./prove.ts')).proveCommand(),
  trace: async () => (await import('./trace.ts')).traceCommand(),
  tickets: async () => (await import('./tickets.ts')).ticketsCommand(),
  'log-level': async () => (await import('./log-level.ts')).logLevelCommand(),
  doctor: async () => (await import('./doctor.ts')).doctorCommand(),
  peers: async () => (await import('./stats.ts')).peersCommand(),
}
/** Commands that only `demo` starts; the help leaves them out. */
const HIDDEN: typeof COMMANDS = {
  'demo-node': async () => (await import('./demo-node.ts')).demoNodeCommand(),
}

/** Commands that run until they are stopped. */
const SERVICES = new Set(['serve', 'repeat', 'terminate'])

try {
  const asked = process.argv[2] ?? ''
  if (SERVICES.has(asked)) replaceStandardStreams()
  else endQuietlyWithReader()
  const program = await createProgram(asked)
  await program.parseAsync()
} catch (error) {
  process.exitCode = reportError(error)
}

async function createProgram(asked: string): Promise<Command> {
  const program = new Command('tlscached')
    .description(
      'Distributed TLS session cache: a session made on one node resumes on every other.',
    )
    .version(readVersion())
    .addHelpText('after', '\nExit codes: 0 done, 1 failed, 2 wrong usage or configuration.')
  const known = { ...COMMANDS, ...HIDDEN }
  const names = Object.hasOwn(known, asked) ? [asked] : Object.keys(COMMANDS)
  for (const name of names) {
    const command = await known[name]?.()
    if (command !== undefined) program.addCommand(command, { hidden: name in HIDDEN })
  }
  for (const command of [program, ...program.commands]) {
    // Without this, commander would end the process itself, with 1 for wrong usage.
    command.exitOverride()
    // Commander quotes arguments that it does not understand, and one of them may be a key.
    command.configureOutput({ outputError: (text, write) => write(hideKeys(text)) })
  }
  return program
}

/** Lets a reader of the output that goes away, such as `head`, end the output but not the program. */
function endQuietlyWithReader(): void {
  process.stdout.on('error', (error) => {
    if (codeOf(error) !== 'EPIPE') throw error
  })
}

/** Prints a message that a person can act on, never a stack trace, and returns the exit code. */
function reportError(error: unknown): number {
  // Commander has printed its own message.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : INVALID
  console.error(hideKeys(messageOf(error)))
  return exitCodeOf(error)
}
