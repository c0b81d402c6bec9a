// The sessions of real servers in test/vectors/sessions, with what OpenSSL's own tool says about each.

import { readFileSync } from 'node:fs'

/** The second one for the two files that the first one leaves out. */
const PARSED = ['parsed.txt', 'parsed-uwsgi.txt']
const directory = new URL('../vectors/sessions/', import.meta.url)

export interface SessionVector {
  readonly name: string
  readonly bytes: Buffer
  readonly parsed: Readonly<Record<string, string | number>>
}

/** parsed*.txt: for each file a line `# <file> <n> bytes`, then one JSON object. */
export function readSessionVectors(): SessionVector[] {
  const texts = PARSED.map((name) => readFileSync(new URL(name, directory), 'utf8'))
  const sections = texts.flatMap((text) => text.split(/^# /m).slice(1))
  return sections.map((section) => {
    const name = section.slice(0, section.indexOf(' '))
    const parsed: SessionVector['parsed'] = JSON.parse(section.slice(section.indexOf('\n')))
    return { name, bytes: readFileSync(new URL(name, directory)), parsed }
  })
}
