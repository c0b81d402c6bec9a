// Reads the version of this program from its package.json.

import { readFileSync } from 'node:fs'

/** The file is two levels above src/base as well as dist/base. */
const PACKAGE_FILE = new URL('../../package.json', import.meta.url)

export function readVersion(): string {
  const description: unknown = JSON.parse(readFileSync(PACKAGE_FILE, 'utf8'))
  const hasVersion =
    typeof description === 'object' && description !== null && 'version' in description
  return hasVersion ? String(description.version) : 'unknown'
}
