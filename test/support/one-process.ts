// Runs all test files of a folder in one process. Starting a process and loading the program takes longer than most of
// these files do by themselves.

import { readdirSync } from 'node:fs'
import { describe } from 'node:test'

/** Makes one suite for each test file beside the module at `url`. Hooks at the top of a file belong to its suite. */
export function testFolderOf(url: string): void {
  const files = readdirSync(new URL('.', url)).filter((name) => name.endsWith('.test.ts'))
  for (const name of files.sort()) {
    describe(name, async () => {
      await import(new URL(name, url).href)
    })
  }
}
