// Two processes swap rings over real TLS: neither has a part of a key in its memory afterwards, on any release of Node.js.

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { searchMemory, whileStopped } from '../support/process-memory.ts'
import { SecretSearch } from '../support/secret-search.ts'

const SWAPPER = fileURLToPath(new URL('../support/ring-swapper.ts', import.meta.url))
const TSX = import.meta.resolve('tsx')
/** For the last turns of the event loop. */
const SETTLE_MS = 300

test('neither side of a swap keeps a part of a key', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-ring-memory-'))
  const file = join(folder, 'secret')
  const secret = randomBytes(96)
  writeFileSync(file, secret)
  const children: ChildProcess[] = []
  t.after(() => {
    for (const child of children) child.kill('SIGKILL')
    rmSync(folder, { recursive: true })
  })
  const start = async (...args: string[]) => {
    const child = spawn(process.execPath, ['--import', TSX, SWAPPER, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    children.push(child)
    const [line]: Buffer[] = await once(child.stdout, 'data')
    return { pid: child.pid ?? 0, line: line?.toString().trim() ?? '' }
  }
  const called = await start('called', file)
  const caller = await start('caller', file, called.line)
  assert.equal(caller.line, 'done')
  await sleep(SETTLE_MS)
  const search = new SecretSearch()
  search.add('key', secret)
  for (const { pid } of [called, caller]) {
    const { found } = whileStopped([pid], () => searchMemory(pid, search))
    assert.deepEqual(
      found.map(({ form, pieceAt, mapping, around }) => ({ form, pieceAt, mapping, around })),
      [],
    )
  }
})
