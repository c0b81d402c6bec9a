// Three nodes on three hosts of their own find each other over one multicast group and hold the same.

import assert from 'node:assert/strict'
import type { ChildProcess, SpawnOptions } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemRandom } from '../../src/base/world.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import { ask } from '../support/http.ts'
import { until } from '../support/latch.ts'
import { INTERFACE, NetworkNamespaces, whyNoNamespaces } from '../support/network-namespaces.ts'
import { startServe, stopProcess, untilAllKnowEachOther } from '../support/node-processes.ts'

const SESSIONS_PER_NODE = 20
const QUIET: SpawnOptions = { stdio: ['ignore', 'ignore', 'inherit'] }

for (const [version, group] of [
  ['IPv4', '225.1.1.1:7171'],
  ['IPv6', '[ff15::7171]:7171'],
] as const) {
  test(`three hosts share sessions over the ${version} group ${group}`, {
    skip: whyNoNamespaces(),
  }, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'tlscached-multicast-'))
    const network = new NetworkNamespaces(`tlsc${version.at(-1)}`, 3)
    const children: ChildProcess[] = []
    t.after(async () => {
      await Promise.all(children.map(stopProcess))
      network.remove()
      rmSync(folder, { recursive: true })
    })
    const keys = [generateKey(systemRandom)]
    const starting = network.hosts.map(({ name }) => {
      const replication = { listen: group, interface: INTERFACE, keys }
      return startServe(folder, { node: { name }, replication }, (args) => {
        const child = network.spawn(name, process.execPath, args, QUIET)
        children.push(child)
        return child
      })
    })
    const nodes = await Promise.all(starting)
    await untilAllKnowEachOther(nodes)

    const sessions = nodes.flatMap((node) =>
      Array.from({ length: SESSIONS_PER_NODE }, () => ({
        madeOn: node,
        path: `/v1/caches/ssl/sessions/${randomBytes(32).toString('hex')}?context=shop`,
        body: randomBytes(130),
      })),
    )
    for (const { madeOn, path, body } of sessions) {
      const answer = await ask(madeOn.http, { method: 'PUT', path, body })
      assert.equal(answer.status, 201)
    }
    const isEverywhere = async (status: number) => {
      const answers = await Promise.all(
        nodes.flatMap(({ http }) => sessions.map(({ path }) => ask(http, { path }))),
      )
      return answers.every((answer) => answer.status === status)
    }
    await until('every session is on every node', () => isEverywhere(200))
    for (const { path, body } of sessions) {
      for (const { http } of nodes) {
        assert.deepEqual((await ask(http, { path })).body, body)
      }
    }

    // Removed on another node than the one that made it.
    const [remover] = nodes
    assert.ok(remover !== undefined)
    for (const { path } of sessions) await ask(remover.http, { method: 'DELETE', path })
    await until('no session is anywhere', () => isEverywhere(404))
  })
}
