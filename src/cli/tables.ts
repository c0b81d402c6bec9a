// Formats tables for people.

import Table from 'cli-table3'

/** Returns a table as text; columns of numbers are aligned to the right. */
export function formatTable(
  head: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): string {
  const first = rows[0] ?? []
  const table = new Table({
    head: [...head],
    colAligns: head.map((_, column) => (typeof first[column] === 'number' ? 'right' : 'left')),
    style: { head: [], border: [], compact: true },
  })
  for (const row of rows) table.push([...row])
  return table.toString()
}
