// The load generators of bench/load, compiled on the spot: C, so that they take less of the two cores than
// what they measure. How busy one was is part of its answer.

import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { GENERATOR_CPU, pinned } from './pinned.ts'

const run = promisify(execFile)

/** Compiles bench/load/<name>.c with these libraries, as in `-lssl`; the program's path. */
export async function compile(name: string, ...libraries: readonly string[]): Promise<string> {
  const source = fileURLToPath(new URL(`./load/${name}.c`, import.meta.url))
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-bench-'))
  process.on('exit', () => rmSync(folder, { recursive: true }))
  const program = join(folder, name)
  await run('cc', ['-O2', '-Wall', '-o', program, source, ...libraries])
  return program
}

/** Compiles bench/load/<name>.c and returns a function that runs it and parses what it prints. */
export async function compileLoad<Report>(
  name: string,
): Promise<(args: readonly (string | number)[]) => Promise<Report>> {
  const program = await compile(name)
  return async (args) => {
    const [command, allArgs] = pinned(GENERATOR_CPU, program, args.map(String))
    const { stdout } = await run(command, allArgs)
    return JSON.parse(stdout)
  }
}
