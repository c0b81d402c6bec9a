// A program: writes the generated configuration reference into deploy/CONFIGURATION.md.

import { readFileSync, writeFileSync } from 'node:fs'
import { replaceReference } from '../../src/node/config-reference.ts'

const PAGE = new URL('../../deploy/CONFIGURATION.md', import.meta.url)
writeFileSync(PAGE, replaceReference(readFileSync(PAGE, 'utf8')))
