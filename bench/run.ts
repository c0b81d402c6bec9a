// `npm run bench -- [<name> ...] [--json] [--quick]`: runs benchmarks and prints their rows beside the goals. All
// of them at full length are written to RESULTS.md, too.

import { parseArgs } from 'node:util'
import { benchMemcached } from './memcached.ts'
import { benchReplication } from './replication.ts'
import { type BenchResult, writeResults } from './results.ts'
import { benchSessiond } from './sessiond.ts'
import { benchStore } from './store.ts'
import { printTable, type Row } from './table.ts'
import { benchTerminators } from './terminators.ts'
import { benchUwsgi } from './uwsgi.ts'

const BENCHES: Record<string, (isQuick: boolean) => Promise<Row[]>> = {
  store: benchStore,
  replication: benchReplication,
  memcached: benchMemcached,
  sessiond: benchSessiond,
  terminators: benchTerminators,
  uwsgi: benchUwsgi,
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
  },
})
const names = positionals.length > 0 ? positionals : Object.keys(BENCHES)
const unknown = names.find((name) => BENCHES[name] === undefined)
if (unknown !== undefined) {
  console.error(`no benchmark "${unknown}"; there are: ${Object.keys(BENCHES).join(', ')}`)
  process.exit(2)
}
const results: BenchResult[] = []
for (const name of names) {
  const rows = (await BENCHES[name]?.(values.quick)) ?? []
  if (values.json) console.log(JSON.stringify({ bench: name, rows }))
  else printTable(name, rows)
  results.push({ name, rows })
}
// Only a whole run says what the machine does.
if (positionals.length === 0 && !values.quick) writeResults(results, new Date())
