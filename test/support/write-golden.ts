// A program: writes the files of test/golden anew, and takes away those that are none any more.

import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { GOLDEN_FOLDER, goldenDocuments } from './golden-documents.ts'

const documents = await goldenDocuments()
mkdirSync(GOLDEN_FOLDER, { recursive: true })
for (const name of readdirSync(GOLDEN_FOLDER)) {
  if (!documents.has(name)) rmSync(new URL(name, GOLDEN_FOLDER))
}
for (const [name, text] of documents) writeFileSync(new URL(name, GOLDEN_FOLDER), text)
