// `npm run bench -- <name> [--json] [--quick]`: runs one benchmark and prints its rows beside the goals.

import { parseArgs } from 'node:util'
import { benchReplication } from './replication.ts'
import { benchStore } from './store.ts'
import { printTable, type Row } from './table.ts'
import { benchUwsgi } from './uwsgi.ts'

const BENCHES: Record<string, (isQuick: boolean) => Promise<Row[]>> = {
  store: benchStore,
  replication: benchReplication,
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
for (const name of names) {
  const bench = BENCHES[name]
  if (bench === undefined) {
    console.error(`no benchmark "${name}"; there are: ${Object.keys(BENCHES).join(', ')}`)
    process.exit(2)
  }
  const rows = await bench(values.quick)
  if (values.json) console.log(JSON.stringify({ bench: name, rows }))
  else printTable(name, rows)
}
