// A program: writes the generated configuration reference into deploy/CONFIGURATION.md.

import { readFileSync, writeFileSync } from 'node:fs'
import { settings } from '../../src/node/config-schema.ts'
import { replaceReference } from '../../src/settings/schema.ts'

const PAGE = new URL('../../deploy/CONFIGURATION.md', import.meta.url)
writeFileSync(PAGE, replaceReference(readFileSync(PAGE, 'utf8'), settings))
