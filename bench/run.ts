// `npm run bench -- [<name> ...] [--json] [--quick]`: runs benchmarks and prints their rows beside the goals. All
// of them at full length are written to RESULTS.md, too; growth at full length is drawn in plots/.

import { parseArgs } from 'node:util'
import { Progress } from '../src/cli/terminal.ts'
import { benchGrowth } from './growth.ts'
import { benchMemcached } from './memcached.ts'
import { benchProfile } from './profile.ts'
import { benchReplication } from './replication.ts'
import { type BenchResult, writeResults } from './results.ts'
import { benchResumption } from './resumption.ts'
import { benchSessiond } from './sessiond.ts'
import { benchStore } from './store.ts'
import { printTable, type Row } from './table.ts'
import { benchTerminators } from './terminators.ts'
import { benchUwsgi } from './uwsgi.ts'

/** One table each. */
const BENCHES: Record<string, (isQuick: boolean) => Promise<Row[]>> = {
  store: benchStore,
  replication: benchReplication,
  memcached: benchMemcached,
  sessiond: benchSessiond,
  resumption: benchResumption,
  terminators: benchTerminators,
  uwsgi: benchUwsgi,
}
/** Several tables each. */
const SERIES: Record<string, (isQuick: boolean) => Promise<BenchResult[]>> = {
  growth: benchGrowth,
  profile: benchProfile,
}
const NAMES = [...Object.keys(BENCHES), ...Object.keys(SERIES)]

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
  },
})
const names = positionals.length > 0 ? positionals : NAMES
const unknown = names.find((name) => !NAMES.includes(name))
if (unknown !== undefined) {
  console.error(`no benchmark "${unknown}"; there are: ${NAMES.join(', ')}`)
  process.exit(2)
}
const startMs = performance.now()
const results: BenchResult[] = []
const progress = new Progress()
for (const [index, name] of names.entries()) {
  progress.show(`${name}, benchmark`, index + 1, names.length)
  const tables = await run(name)
  progress.clear()
  for (const result of tables) {
    const { name: bench, rows } = result
    if (values.json) console.log(JSON.stringify({ bench, rows }))
    else printTable(bench, rows)
    results.push(result)
  }
}
// Only a whole run says what the machine does.
if (positionals.length === 0 && !values.quick) writeResults(results, new Date())
// Apart from the results, which a program may be reading.
console.error(`took ${Math.round((performance.now() - startMs) / 1000)} s`)

async function run(name: string): Promise<readonly BenchResult[]> {
  const rows = await BENCHES[name]?.(values.quick)
  if (rows !== undefined) return [{ name, rows }]
  return (await SERIES[name]?.(values.quick)) ?? []
}
