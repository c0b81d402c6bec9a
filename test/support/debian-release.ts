// Programs of another Debian release than this machine's, out of the folder that DEBIAN_FOLDER names: debootstrap
// made it (test/terminators/debian13.sh). Each runs with the folder as its root, in a mount namespace of its own, where
// it sees the machine's temporary folder with all that is mounted there; network and processes are the machine's. All of this needs root. Without the
// variable, programs are those of this machine.

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { whyWithout, whyWithoutFile } from './programs.ts'

const FOLDER = process.env['DEBIAN_FOLDER']
const ENTER = fileURLToPath(new URL('./enter-debian.sh', import.meta.url))
/** How a shell ends that found no such program. */
const NOT_FOUND = 127

export type CommandLine = readonly [program: string, args: string[]]

/** Whether programs come from a folder, and not from this machine. */
export function isOtherRelease(): boolean {
  return FOLDER !== undefined
}

/** The release as Debian numbers it, such as 13.2, or undefined on a machine of another kind. */
export function debianVersion(): string | undefined {
  try {
    return readFileSync(join(FOLDER ?? '/', 'etc/debian_version'), 'utf8').trim()
  } catch {
    return undefined
  }
}

/** What to spawn for this program and its arguments, in a working folder that is in the temporary one. */
export function releasedCommand(
  program: string,
  args: readonly string[],
  workingFolder = tmpdir(),
): CommandLine {
  if (FOLDER === undefined) return [program, [...args]]
  const enter = ['--mount', ENTER, FOLDER, tmpdir(), workingFolder]
  return ['unshare', [...enter, program, ...args]]
}

/** Why a test that needs the program is left out, or false when the program is there. */
export function whyWithoutReleased(program: string, versionArgument?: string): string | false {
  if (FOLDER === undefined) return whyWithout(program, versionArgument)
  const [command, args] = releasedCommand(program, [versionArgument ?? '--version'])
  const { status, error } = spawnSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'] })
  if (error !== undefined) throw error
  if (status === NOT_FOUND) throw new Error(`there is no ${program} in ${FOLDER}`)
  return false
}

/** Returns why a test must be skipped without this file of the release, which a program loads; false when it is there. */
export function whyWithoutReleasedFile(path: string): string | false {
  return whyWithoutFile(join(FOLDER ?? '/', path))
}
