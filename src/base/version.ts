// The version of this program, from the package it came in.

import { readFileSync } from 'node:fs'

/** Two levels above src/base and above dist/base. */
const PACKAGE_FILE = new URL('../../package.json', import.meta.url)

export function readVersion(): string {
  const description: unknown = JSON.parse(readFileSync(PACKAGE_FILE, 'utf8'))
  const hasVersion =
    typeof description === 'object' && description !== null && 'version' in description
  return hasVersion ? String(description.version) : 'unknown'
}
