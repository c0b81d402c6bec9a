// The reference of all settings as a Markdown table, for deploy/CONFIGURATION.md and `tlscached check --reference`.

import { type Setting, settings } from './config-settings.ts'

export const REFERENCE_BEGIN = '<!-- begin of the generated configuration reference -->'
export const REFERENCE_END = '<!-- end of the generated configuration reference -->'

/**
 * Returns a Markdown table with one row for each setting. The names of the variable and the flag follow from the key,
 * so they have no column. Cells are padded to the width of their column, as Markdown formatters do.
 */
export function formatReference(): string {
  const head = ['Key', 'Default', 'Form', 'Meaning']
  const rows = settings.map(toRow)
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  )
  const lines = [head, widths.map((width) => '-'.repeat(width)), ...rows]
  const padded = lines.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)))
  return padded.map((row) => `| ${row.join(' | ')} |`).join('\n')
}

/** Returns the text with everything between the two markers replaced. Throws when they are not there. */
export function replaceReference(text: string): string {
  const begin = text.indexOf(REFERENCE_BEGIN)
  const end = text.indexOf(REFERENCE_END)
  if (begin < 0 || end < begin) throw new Error('the text has no place for the reference')
  const before = text.slice(0, begin + REFERENCE_BEGIN.length)
  return `${before}\n\n${formatReference()}\n\n${text.slice(end)}`
}

function toRow({ key, defaultText = 'required', form, description }: Setting): string[] {
  return [`\`${key}\``, defaultText, form, description]
}
