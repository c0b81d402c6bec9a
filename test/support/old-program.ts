// The program as it was at version 1 of the replication protocol, taken out of the repository's own history.

import { execFileSync, spawn } from 'node:child_process'
import { symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { CLI_ARGS, type Spawner } from './node-processes.ts'

/** The last commit whose nodes speak version 1 only. */
export const OLD_COMMIT = 'ed8347bc830ef5c07ebaa1d15bda072a777ee7dd'
const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/**
 * Why the old program cannot be had, or false. A shallow clone fetches the one commit from where it was cloned. Where
 * every test must run (CI) its absence is an error.
 */
export function whyWithoutOldProgram(): string | false {
  if (hasOldCommit()) return false
  try {
    git('fetch', '--quiet', '--depth=1', 'origin', OLD_COMMIT)
  } catch {
    // There is no origin, or it does not hand out the commit: said below.
  }
  if (hasOldCommit()) return false
  const reason = `commit ${OLD_COMMIT} is not in this clone`
  if (process.env['REQUIRE_ALL_TESTS'] !== undefined) throw new Error(reason)
  return reason
}

/** Builds the old program in the folder, with the packages that are installed here; returns its main module. */
export function buildOldProgram(folder: string): string {
  const archive = execFileSync('git', ['archive', OLD_COMMIT], {
    cwd: ROOT,
    maxBuffer: 256 * 1024 * 1024,
  })
  execFileSync('tar', ['-x', '-C', folder, 'src', 'proto', 'package.json', 'tsconfig.json'], {
    input: archive,
  })
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  // Its types were checked at its time.
  const compiler = join(ROOT, 'node_modules', '.bin', 'tsc')
  execFileSync(compiler, ['-p', 'src', '--noCheck', '--declaration', 'false'], { cwd: folder })
  return join(folder, 'dist', 'cli', 'main.js')
}

/** Returns what starts the old program in place of this one. */
export function createOldSpawner(
  oldMain: string,
  onSpawn: (child: ReturnType<Spawner>) => void,
): Spawner {
  return (args) => {
    const oldArgs = [oldMain, ...args.slice(CLI_ARGS.length)]
    const child = spawn(process.execPath, oldArgs, { stdio: ['ignore', 'ignore', 'inherit'] })
    onSpawn(child)
    return child
  }
}

function hasOldCommit(): boolean {
  try {
    git('cat-file', '-e', `${OLD_COMMIT}^{commit}`)
    return true
  } catch {
    return false
  }
}

function git(...args: readonly string[]): void {
  execFileSync('git', args, { cwd: ROOT, stdio: 'ignore' })
}
