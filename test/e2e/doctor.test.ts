// What doctor says of two real nodes: right, then with another file of keys on one of them.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { formatAddress } from '../../src/base/address.ts'
import type { Finding } from '../../src/doctor/finding.ts'
import { freePorts } from '../support/free-ports.ts'
import {
  runCli,
  startServe,
  stopProcess,
  untilAllKnowEachOther,
} from '../support/node-processes.ts'

const folder = mkdtempSync(join(tmpdir(), 'tlscached-doctor-'))
after(() => rmSync(folder, { recursive: true }))

async function findingsOf(name: string, http: string) {
  const file = join(folder, `${name}.json`)
  const { code, stdout } = await runCli(['doctor', file, '--http', http, '--json'])
  const { ok, findings }: { ok: boolean; findings: Finding[] } = JSON.parse(stdout)
  assert.equal(code, ok ? 0 : 1)
  return findings
}

function about(findings: readonly Finding[], check: string, message: RegExp) {
  const found = findings.find((one) => one.check === check && message.test(one.message))
  assert.ok(found !== undefined, `no finding of ${check} in ${JSON.stringify(findings, null, 1)}`)
  return found.level
}

test('two nodes that share keys are well, and one with other keys is named', async (t) => {
  const [first = 0, second = 0] = await freePorts(2)
  const keys = join(folder, 'keys')
  const otherKeys = join(folder, 'other-keys')
  for (const file of [keys, otherKeys]) await runCli(['keygen', '--out', file])
  const configOf = (name: string, port: number, peer: number, keysFile: string) => ({
    node: { name },
    replication: {
      listen: `127.0.0.1:${port}`,
      peers: [`127.0.0.1:${peer}`],
      keys_file: keysFile,
    },
  })
  const one = await startServe(folder, configOf('one', first, second, keys))
  t.after(() => stopProcess(one.child))
  const two = await startServe(folder, configOf('two', second, first, keys))
  t.after(() => stopProcess(two.child))
  await untilAllKnowEachOther([one, two])

  const http = formatAddress(one.http)
  const well = await findingsOf('one', http)
  assert.deepEqual(
    // Terminators of other tests may run here, too.
    well.filter(({ level, check }) => level === 'error' && check !== 'terminator'),
    [],
  )
  assert.equal(about(well, 'process', /one is ready/), 'ok')
  assert.equal(about(well, 'ports', /receives at/), 'ok')
  assert.equal(
    about(well, 'peers', /two .*UDP works both ways, TCP from here( and from there)?$/),
    'ok',
  )
  assert.equal(about(well, 'keys', /two .*has the same keys/), 'ok')

  await stopProcess(two.child)
  const stranger = await startServe(folder, configOf('two', second, first, otherKeys))
  t.after(() => stopProcess(stranger.child))
  const ill = await findingsOf('one', http)
  assert.equal(about(ill, 'keys', /lacks the key [0-9a-f]{8}, which this node seals with/), 'error')
})

test('a configuration with a mistake is an error with its place, and wrong usage is another code', async () => {
  const file = join(folder, 'wrong.yaml')
  writeFileSync(file, 'cashes: []\n')
  const { code, stdout } = await runCli(['doctor', file])
  assert.equal(code, 1)
  assert.match(stdout, /error +configuration +.*wrong\.yaml:1:1: cashes: unknown key/)
  const usage = await runCli(['doctor', '--no-such-option'])
  assert.equal(usage.code, 2)
})
