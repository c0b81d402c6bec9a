// A program: writes the generated parts of deploy/CONFIGURATION.md and deploy/METRICS.md.

import { readFileSync, writeFileSync } from 'node:fs'
import { settings } from '../../src/node/config-schema.ts'
import { replaceReference } from './config-reference.ts'
import { replaceMetrics } from './metrics-reference.ts'

const METRICS = new URL('../../deploy/METRICS.md', import.meta.url)
const PAGE = new URL('../../deploy/CONFIGURATION.md', import.meta.url)
writeFileSync(PAGE, replaceReference(readFileSync(PAGE, 'utf8'), settings))
writeFileSync(METRICS, replaceMetrics(readFileSync(METRICS, 'utf8')))
