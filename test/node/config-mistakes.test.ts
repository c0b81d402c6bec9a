// Every mistake in a configuration is found, placed and explained, all of them at once.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { checkConfig, readConfig } from '../../src/node/config.ts'
import { ConfigError } from '../../src/settings/errors.ts'
import { mistakes, standaloneMistakes } from '../support/config-mistakes.ts'

const folder = mkdtempSync(join(tmpdir(), 'tlscached-config-'))
after(() => rmSync(folder, { recursive: true }))

const FILE = join(folder, 'tlscached.yaml')

function read(yaml: string) {
  writeFileSync(FILE, yaml)
  return readConfig({ file: FILE, hostName: 'host' })
}

/** Each problem as one line, the name of the file left out. */
function problemsOf(run: () => unknown): string[] {
  try {
    run()
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    assert.equal(error.code, 'ERR_CONFIG')
    return error.message.split('\n').map((line) => line.replace(`${FILE}:`, ''))
  }
  return []
}

for (const { name, yaml, expected } of mistakes) {
  test(`mistake: ${name}`, () => {
    assert.deepEqual(
      problemsOf(() => read(yaml)),
      [expected],
    )
  })
}

test('a file that is not YAML is reported with the line of the mistake', () => {
  const [problem = ''] = problemsOf(() => read('log: {\n  level: [info }\n'))
  assert.match(problem, /^2:\d+: /)
})

test('an alias that contains itself ends', () => {
  assert.notDeepEqual(
    problemsOf(() => read('log: &a { level: *a }')),
    [],
  )
})

test('all mistakes are found at once, in the order of the file', () => {
  const problems = problemsOf(() =>
    read('node: { nmae: x }\ncaches: [{ name: a, items: -1, full: x }]\nlog: { level: x }'),
  )
  assert.deepEqual(
    problems.map((problem) => problem.split(': ').slice(0, 2).join(' ')),
    ['1:9 node.nmae', '2:21 caches[0].items', '2:32 caches[0].full', '3:8 log.level'],
  )
})

for (const { name, sources, expected } of standaloneMistakes) {
  test(`mistake: ${name}`, () => {
    assert.deepEqual(
      problemsOf(() => readConfig({ hostName: 'host', ...sources })),
      [expected],
    )
  })
}

test('a file that cannot be read is a mistake', () => {
  const missing = join(folder, 'missing.yaml')
  const [problem = ''] = problemsOf(() => readConfig({ file: missing, hostName: 'host' }))
  assert.ok(problem.startsWith(`${missing}: cannot be read: ENOENT`), problem)
})

test('mistakes in an object are found like those in a file', () => {
  const input = { caches: [{ name: 'a', items: 0 }] }
  assert.deepEqual(
    problemsOf(() => checkConfig(input, 'host')),
    ['config: caches[0].items: must be a whole number, 1..16777216'],
  )
  assert.deepEqual(input, { caches: [{ name: 'a', items: 0 }] })
})

test('what Kubernetes sets for a Service called tlscached is no mistake, and no more than that', () => {
  const problemsWith = (name: string) =>
    problemsOf(() => readConfig({ hostName: 'host', environment: { [name]: '10.96.0.7' } }))
  const ofService = [
    'TLSCACHED_SERVICE_HOST',
    'TLSCACHED_SERVICE_PORT',
    'TLSCACHED_SERVICE_PORT_HTTP',
    'TLSCACHED_SERVICE_PORT_METRICS_2',
    'TLSCACHED_PORT',
    'TLSCACHED_PORT_5080_TCP',
    'TLSCACHED_PORT_5080_TCP_PROTO',
    'TLSCACHED_PORT_5080_TCP_PORT',
    'TLSCACHED_PORT_7171_UDP_ADDR',
  ]
  assert.deepEqual(ofService.flatMap(problemsWith), [])
  const ofNobody = [
    'TLSCACHED_SERVICE',
    'TLSCACHED_SERVICE_HOSTS',
    'TLSCACHED_SERVICE_PORTS',
    'TLSCACHED_PORTS',
    'TLSCACHED_PORT_HTTP',
    'TLSCACHED_PORT_5080',
    'TLSCACHED_PORT_5080_TCP_HOST',
    'TLSCACHED_EDGE_SERVICE_HOST',
  ]
  for (const name of ofNobody) {
    const [problem = ''] = problemsWith(name)
    assert.ok(problem.startsWith(`${name}: unknown variable`), `${name}: ${problem}`)
  }
})
