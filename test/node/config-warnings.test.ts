// What `check` warns of: configurations that are valid and would not work as meant.

import assert from 'node:assert/strict'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { checkConfig } from '../../src/node/config.ts'
import type { ConfigInput } from '../../src/node/config-schema.ts'
import { findWarnings } from '../../src/node/config-warnings.ts'
import { whyWithoutRoot } from '../support/programs.ts'

function warningsOf(input: ConfigInput, uid?: number): string[] {
  const warnings = findWarnings(checkConfig(input, 'host'), uid)
  return warnings.map(({ key, message }) => `${key}: ${message}`)
}

function makeFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-warnings-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return folder
}

const memcached = '127.0.0.1:11211'
const sessiond = '127.0.0.1:5002'

test('the defaults are without a warning, and so is what works', (t) => {
  const folder = makeFolder(t)
  assert.deepEqual(warningsOf({}), [])
  const ours = '759ff6110637de74f518ad02e9318df6'
  assert.deepEqual(
    warningsOf({
      caches: [
        { name: 'a', contexts: [ours, 'hex:00ff'] },
        { name: 'b', contexts: ['shop'] },
      ],
      frontends: { memcached, sessiond, rpc: `unix:${folder}/rpc.sock` },
    }),
    [],
  )
})

test('contexts of text behind memcached: with the hash that Apache would have for it', () => {
  const input = { caches: [{ name: 'a', contexts: ['www.test'] }], frontends: { memcached } }
  const [warning = '', ...others] = warningsOf(input)
  assert.match(warning, /^caches\[0\]\.contexts: "www\.test" is text, but the sessions of Apache/)
  assert.match(warning, /for "www\.test:443" that is 759ff6110637de74f518ad02e9318df6$/)
  assert.deepEqual(others, [])
})

test('the contexts of stunnel and nghttpx are text', () => {
  const caches = [{ name: 'a', contexts: ['www', 'shrpx'] }]
  assert.deepEqual(warningsOf({ caches, frontends: { sessiond } }), [])
  const [warning, ...others] = warningsOf({ caches, frontends: { memcached } })
  assert.match(warning ?? '', /"www" is text/)
  assert.deepEqual(others, [])
})

test('the documented configurations list the contexts of their terminators', () => {
  const examples = fileURLToPath(new URL('../../deploy/terminators/', import.meta.url))
  const files = readdirSync(examples)
    .map((name) => join(examples, name, 'tlscached.yaml'))
    .filter((file) => existsSync(file))
  assert.ok(files.length > 5)
  for (const file of files) {
    const input: ConfigInput = parse(readFileSync(file, 'utf8'))
    const warnings = warningsOf(input).filter((warning) => warning.includes('contexts'))
    assert.deepEqual(warnings, [], file)
  }
})

test('a node on loopback whose peers are elsewhere', () => {
  const replication = (listen: string, ...peers: string[]) => ({
    replication: { listen, peers, insecure: true },
  })
  const [warning, ...others] = warningsOf(replication('127.0.0.1:7171', '10.0.0.2:7171'))
  assert.match(
    warning ?? '',
    /^replication\.listen: 127\.0\.0\.1:7171 .* to 10\.0\.0\.2:7171: take/,
  )
  assert.deepEqual(others, [])
  assert.deepEqual(warningsOf(replication('127.0.0.1:7171', '127.0.0.2:7171', 'a.example:1')), [])
  assert.deepEqual(warningsOf(replication('10.0.0.1:7171', '10.0.0.2:7171')), [])
})

test('a cache that no frontend reaches', () => {
  const caches = [{ name: 'a' }, { name: 'b' }]
  assert.deepEqual(warningsOf({ caches, frontends: { http: 'none', memcached } }), [
    'caches[1]: no frontend reaches the cache "b": nobody can get or put a session here',
  ])
  assert.deepEqual(warningsOf({ caches, frontends: { http: 'none', rpc: memcached } }), [])
})

test('a folder of a unix socket that is not there', (t) => {
  const path = join(makeFolder(t), 'missing', 'rpc.sock')
  assert.match(
    warningsOf({ frontends: { rpc: `unix:${path}` } }).join(),
    /^frontends\.rpc: there is no folder .+\/missing on this machine: make it/,
  )
})

test('a file of keys that only root can read', (t) => {
  const file = join(makeFolder(t), 'keys')
  writeFileSync(file, '')
  chmodSync(file, 0o600)
  const replication = { listen: '127.0.0.1:7171', keys_file: file }
  const isOfRoot = statSync(file).uid === 0
  const expected = isOfRoot
    ? [
        `replication.keys_file: only root can read ${file}: a unit with User= needs it as LoadCredential=, or owned by that user`,
      ]
    : []
  assert.deepEqual(warningsOf({ replication }, 0), expected)
  assert.deepEqual(warningsOf({ replication }, 33), [])
  chmodSync(file, 0o640)
  assert.deepEqual(warningsOf({ replication }, 0), [])
})

test('a file of keys of another user, for which root checks it', {
  skip: whyWithoutRoot(),
}, (t) => {
  const file = join(makeFolder(t), 'keys')
  writeFileSync(file, '', { mode: 0o600 })
  chownSync(file, 33, 33)
  const replication = { listen: '127.0.0.1:7171', keys_file: file }
  assert.deepEqual(warningsOf({ replication }, 0), [
    `replication.keys_file: ${file} belongs to user 33: only a node that runs as that user takes it`,
  ])
  assert.deepEqual(warningsOf({ replication }, 33), [])
})

test('a credential of a unit that does not run', () => {
  const file = '/run/credentials/tlscached-not-there.service/keys'
  const replication = { listen: '127.0.0.1:7171', keys_file: file }
  for (const uid of [0, 33]) {
    assert.deepEqual(warningsOf({ replication }, uid), [
      `replication.keys_file: ${file} was not checked: systemd shows it to the unit alone, while that runs`,
    ])
  }
})
