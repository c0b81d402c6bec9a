// The commands of the README that start two nodes with a key: run in order as they stand.

import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { whyNoNamespaces } from '../support/network-namespaces.ts'
import { whyWithout } from '../support/programs.ts'
import { runShown } from '../support/shown-commands.ts'

const README = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')

describe('two nodes with a key', { skip: whyNoNamespaces() || whyWithout('curl') }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-readme-two-nodes-'))
  after(() => rmSync(folder, { recursive: true }))

  test('a session put on one node is on the other, and each is a peer of the other', async (t) => {
    const [, commands = ''] =
      /readme-two-nodes\.test\.ts[^`]*```sh\n([\s\S]*?)```/.exec(README) ?? []
    assert.notEqual(commands, '')
    const stdout = await runShown(t, folder, 'tlsctn', [commands])
    assert.match(stdout, /replicating with one/)
    assert.match(stdout, /^a session$/m)
    assert.match(stdout, /two .* up /)
  })
})
