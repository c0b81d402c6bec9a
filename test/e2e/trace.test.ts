// `tlscached trace` with two real nodes: where a session is, who made it, and what happens to it.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { formatAddress } from '../../src/base/address.ts'
import { freePorts } from '../support/free-ports.ts'
import { ask } from '../support/http.ts'
import { until } from '../support/latch.ts'
import {
  CLI_ARGS,
  type NodeProcess,
  runCli,
  startServe,
  stopProcess,
  untilAllKnowEachOther,
} from '../support/node-processes.ts'

const folder = mkdtempSync(join(tmpdir(), 'tlscached-trace-'))
const nodes: NodeProcess[] = []
const https: string[] = []

before(async () => {
  const keys = join(folder, 'keys')
  await runCli(['keygen', '--out', keys])
  const [first = 0, second = 0] = await freePorts(2)
  for (const [name, own, peer] of [
    ['edge-1', first, second],
    ['edge-2', second, first],
  ] as const) {
    const replication = {
      listen: `127.0.0.1:${own}`,
      peers: [`127.0.0.1:${peer}`],
      keys_file: keys,
    }
    const node = await startServe(folder, { node: { name }, replication })
    nodes.push(node)
    https.push(formatAddress(node.http))
  }
  await untilAllKnowEachOther(nodes)
})

after(async () => {
  await Promise.all(nodes.map(({ child }) => stopProcess(child)))
  rmSync(folder, { recursive: true })
})

const PREFIX = 'c0ffee00'
const ID = PREFIX.repeat(8)
const SESSION = `/v1/caches/ssl/sessions/${ID}`

test('both nodes hold the session; trace names the one that made it and a get on the other one', async () => {
  const [one = '', two = ''] = https
  const traceArgs = ['trace', `${PREFIX}..`, '--http', one, '--debug', '--json', '--for', '1m']
  const child = spawn(process.execPath, [...CLI_ARGS, ...traceArgs])
  let events = ''
  child.stdout.on('data', (chunk: Buffer) => {
    events += chunk.toString()
  })
  const heard = async (path: string) => {
    const { http } = nodes[1] ?? assert.fail()
    await ask(http, { path: `${SESSION}${path}` })
  }
  // The command is there when both nodes note something: asked for until then.
  await until('a miss on the second node is noted', async () => {
    await heard('?context=shop')
    return /"node":"edge-2",.*"what":"get","result":"miss"/.test(events)
  })
  await runCli(['put', ID, '--http', one, '--context', 'shop'], 'a session')
  await until('the change of the first node is noted on the second', () =>
    /"node":"edge-2",.*"what":"put","result":"done","by":"peer"/.test(events),
  )
  await heard('?context=mail')
  await until('a get under another context is noted', () => events.includes('context_mismatch'))
  await stopProcess(child)

  for (const http of [one, two]) {
    const { code, stdout } = await runCli(['trace', ID, '--http', http])
    assert.equal(code, 0)
    assert.match(stdout, /edge-1 +│ here +│ ssl +│ c0ffee00\.\. .*│ edge-1 +│ shop/)
    assert.match(stdout, /edge-2 +│ here +│ ssl +│ c0ffee00\.\. .*│ edge-1 +│ shop/)
  }
})

test('a session that is nowhere is exit code 1, and what is no ID 2', async () => {
  const [http = ''] = https
  const nowhere = await runCli(['trace', 'deadbeef', '--http', http])
  assert.equal(nowhere.code, 1)
  assert.match(nowhere.stdout, /edge-2 +│ not here/)
  assert.equal((await runCli(['trace', 'xyz', '--http', http])).code, 2)
  assert.equal((await runCli(['trace', 'c0ff', '--http', http])).code, 2)
})
