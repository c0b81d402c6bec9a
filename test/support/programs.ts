// Real programs that end-to-end tests call. Where every test must run (CI), a missing one is an error.

import { spawnSync } from 'node:child_process'

const CAN_BE_SKIPPED = process.env['REQUIRE_ALL_TESTS'] === undefined

/** Why a test that needs the program is left out, or false when the program is there. */
export function whyWithout(program: string, versionArgument = '--version'): string | false {
  const { error } = spawnSync(program, [versionArgument], { stdio: 'ignore' })
  if (error === undefined) return false
  if (!CAN_BE_SKIPPED) throw error
  return `${program} is not installed`
}
