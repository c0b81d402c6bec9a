// Real programs that end-to-end tests call. Where every test must run (CI), a missing one is an error.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

const CAN_BE_SKIPPED = process.env['REQUIRE_ALL_TESTS'] === undefined

/** Why a test that needs the program is left out, or false when the program is there. */
export function whyWithout(program: string, versionArgument = '--version'): string | false {
  const { error } = spawnSync(program, [versionArgument], { stdio: 'ignore' })
  if (error === undefined) return false
  if (!CAN_BE_SKIPPED) throw error
  return `${program} is not installed`
}

/** Returns why a test must be skipped without this file, which a program loads; false when it is there. */
export function whyWithoutFile(path: string): string | false {
  if (existsSync(path)) return false
  if (!CAN_BE_SKIPPED) throw new Error(`there is no ${path}`)
  return `there is no ${path}`
}

/** Why a test that acts as several users is left out, or false where it runs as root. */
export function whyWithoutRoot(): string | false {
  if (process.getuid?.() === 0) return false
  if (!CAN_BE_SKIPPED) throw new Error('this test needs root')
  return 'this test needs root'
}
