// Commands that a document shows, run in order as they stand: on a host of their own, so that they keep their ports.

import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { NetworkNamespaces } from './network-namespaces.ts'
import { CLI_ARGS, finish } from './node-processes.ts'

/** Commands wait in loops that a program that does not start would never end. */
const MAX_SEC = 120

/**
 * Runs them with bash in `folder`, with the command `tlscached` in the path, and returns what they print. What they start
 * in the background is ended after them. `prefix` names the host, as for NetworkNamespaces.
 */
export async function runShown(
  t: TestContext,
  folder: string,
  prefix: string,
  commands: readonly string[],
): Promise<string> {
  const bin = join(folder, 'bin')
  mkdirSync(bin)
  const program = [process.execPath, ...CLI_ARGS].map((part) => `'${part}'`).join(' ')
  writeFileSync(join(bin, 'tlscached'), `#!/bin/sh\nexec ${program} "$@"\n`, { mode: 0o755 })
  const script = ["trap 'kill $(jobs -p) 2>kill.log; wait' EXIT", ...commands].join('\n')
  writeFileSync(join(folder, 'shown.sh'), script)

  const network = new NetworkNamespaces(prefix, 1)
  t.after(() => network.remove())
  const [host] = network.hosts
  assert.ok(host !== undefined)
  const child = network.spawn(host.name, 'timeout', [String(MAX_SEC), 'bash', 'shown.sh'], {
    cwd: folder,
    env: { ...process.env, PATH: `${bin}:${process.env['PATH']}` },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const { code, stdout } = await finish(child)
  assert.equal(code, 0, stdout)
  return stdout
}
