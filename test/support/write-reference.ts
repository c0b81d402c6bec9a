// A program: writes the generated configuration reference into the README.

import { readFileSync, writeFileSync } from 'node:fs'
import { replaceReference } from '../../src/node/config-reference.ts'

const README = new URL('../../README.md', import.meta.url)
writeFileSync(README, replaceReference(readFileSync(README, 'utf8')))
