// Writes the table of deploy/CONFIGURATION.md out of the settings.

import { formatReference, type Setting } from '../../src/settings/schema.ts'

const REFERENCE_BEGIN = '<!-- begin of the generated configuration reference -->'
const REFERENCE_END = '<!-- end of the generated configuration reference -->'

/** Returns the text with everything between the two markers replaced. Throws when they are not there. */
export function replaceReference(text: string, settings: readonly Setting[]): string {
  const begin = text.indexOf(REFERENCE_BEGIN)
  const end = text.indexOf(REFERENCE_END)
  if (begin < 0 || end < begin) throw new Error('the text has no place for the reference')
  const before = text.slice(0, begin + REFERENCE_BEGIN.length)
  return `${before}\n\n${formatReference(settings)}\n\n${text.slice(end)}`
}
