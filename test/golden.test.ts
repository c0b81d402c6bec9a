// What others read of this program stays as it is: metrics, JSON, help, reference, and what is said of mistakes.

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { GOLDEN_FOLDER, goldenDocuments } from './support/golden-documents.ts'

const HINT = 'when that is meant, run "npm run golden:write" and commit what it changes'

const documents = await goldenDocuments()
const names = readdirSync(GOLDEN_FOLDER)

test('each file is one of the documents, and the reverse', () => {
  assert.deepEqual(names.sort(), [...documents.keys()].sort(), HINT)
})

for (const name of names) {
  test(`test/golden/${name}`, () => {
    const golden = readFileSync(new URL(name, GOLDEN_FOLDER), 'utf8')
    const text = documents.get(name) ?? ''
    assert.ok(text === golden, `${differences(text, golden)}\n${HINT}`)
  })
}

/** The lines that only one of the two texts has. */
function differences(text: string, golden: string): string {
  const [lines, goldenLines] = [text.split('\n'), golden.split('\n')]
  const gone = goldenLines.filter((line) => !lines.includes(line)).map((line) => `- ${line}`)
  const added = lines.filter((line) => !goldenLines.includes(line)).map((line) => `+ ${line}`)
  const all = [...gone, ...added]
  return all.length === 0 ? 'the same lines in another order' : all.slice(0, 40).join('\n')
}
