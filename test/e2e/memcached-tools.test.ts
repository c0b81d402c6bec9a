// The tools of libmemcached against a real node: its own test of a server, and its commands for people.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { releasedCommand, whyWithoutReleased } from '../support/debian-release.ts'
import { freePorts } from '../support/free-ports.ts'
import { type NodeProcess, startServe, stopProcess } from '../support/node-processes.ts'

const run = promisify(execFile)
const TIMEOUT_MS = 60_000
/** Checks that libmemcached 1.1 makes in each protocol. */
const CHECKS = 27
/** The script of memcached's own package. */
const MEMCACHED_TOOL = '/usr/share/memcached/scripts/memcached-tool'

describe('libmemcached-tools', { skip: whyWithoutReleased('memccapable', '-V') }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-memcached-'))
  let node: NodeProcess | undefined
  let port = 0

  before(async () => {
    ;[port = 0] = await freePorts(1)
    node = await startServe(folder, {
      node: { name: 'tools' },
      frontends: { http: `unix:${join(folder, 'tools.sock')}`, memcached: `127.0.0.1:${port}` },
    })
  })

  after(async () => {
    if (node !== undefined) await stopProcess(node.child)
    rmSync(folder, { recursive: true })
  })

  function tool(name: string, args: readonly string[]) {
    const servers = `--servers=127.0.0.1:${port}`
    const command = releasedCommand(name, [servers, ...args], folder)
    return run(...command, { cwd: folder, timeout: TIMEOUT_MS })
  }

  for (const [protocol, option] of [
    ['text', '-a'],
    ['binary', '-b'],
  ] as const) {
    test(`memccapable passes whole, ${protocol} protocol`, async () => {
      const args = ['-h', '127.0.0.1', '-p', String(port), option]
      const { stdout } = await run(...releasedCommand('memccapable', args), { timeout: TIMEOUT_MS })
      const results = [...stdout.matchAll(/^(?:ascii|binary) .*\[(\w+)\]$/gm)]
      assert.ok(results.length >= CHECKS, stdout)
      for (const [line, result] of results) assert.equal(result, 'pass', line)
      assert.match(stdout, /All tests passed/)
    })
  }

  for (const protocol of [[], ['--binary']]) {
    test(`memccp stores files, memccat shows them ${protocol.join('')}`, async () => {
      const name = `file${protocol.length}`
      const text = `a value of ${name}\n`
      writeFileSync(join(folder, name), text)
      await tool('memccp', [...protocol, name])
      assert.equal((await tool('memccat', [...protocol, name])).stdout, `${text}\n`)
      await assert.rejects(tool('memccat', [...protocol, `not-${name}`]))
    })

    test(`memcstat shows what the node says of itself ${protocol.join('')}`, async () => {
      const { stdout } = await tool('memcstat', protocol)
      assert.match(stdout, /^Server: 127\.0\.0\.1 /m)
      assert.match(stdout, new RegExp(`^\\tpid: ${node?.child.pid}$`, 'm'))
      assert.match(stdout, /^\tcurr_items: \d+$/m)
      assert.match(stdout, /^\tcmd_set: [1-9]\d*$/m)
    })
  }

  test('memcached-tool ends in each of its modes', async () => {
    writeFileSync(join(folder, 'dumped'), 'a value')
    await tool('memccp', ['dumped'])
    for (const [mode, shown] of [
      ['dump', /^$/],
      ['keys', /^$/],
      ['display', /Item_Size/],
      ['sizes', /sizes_status +disabled/],
      ['settings', /item_size_max +\d+/],
      ['stats', /rusage_user +\d+\.\d{6}/],
    ] as const) {
      const command = releasedCommand(MEMCACHED_TOOL, [`127.0.0.1:${port}`, mode])
      const { stdout } = await run(...command, { timeout: TIMEOUT_MS })
      assert.match(stdout, shown, mode)
    }
  })
})
