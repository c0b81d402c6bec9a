// Keyrings: what is accepted, what is refused with which line, and that keys are never shown.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { systemRandom } from '../../src/base/world.ts'
import {
  generateKey,
  Keyring,
  loadKeyring,
  parseKey,
  parseKeyring,
  publicKeyring,
  whyNotPrivate,
} from '../../src/wire/keyring.ts'
import { seededBytes } from '../support/seeded-random.ts'

const KEY_A = seededBytes('a')(32).toString('base64')
const KEY_B = seededBytes('b')(32).toString('base64')
const SENDER = Buffer.alloc(8, 1)
const BOOT = Buffer.alloc(8, 2)

function keyringError(message: RegExp, code = 'ERR_KEYRING') {
  return (error: unknown) => {
    assert.ok(error instanceof Error && 'code' in error)
    assert.equal(error.code, code)
    assert.match(error.message, message)
    assert.ok(!error.message.includes(KEY_A.slice(0, 8)), 'the error shows key text')
    return true
  }
}

test('the first key seals, every key opens', () => {
  const ring = parseKeyring(`# primary\n${KEY_A}\n\n  ${KEY_B}\r\n# end`)
  assert.equal(ring.size, 2)
  const onlyA = parseKeyring(KEY_A)
  const onlyB = parseKeyring(KEY_B)
  assert.equal(ring.primaryKeyId, onlyA.primaryKeyId)
  assert.ok(ring.has(onlyB.primaryKeyId))
  assert.ok(!onlyA.has(onlyB.primaryKeyId))
  assert.equal(onlyA.senderKey(onlyB.primaryKeyId, SENDER, BOOT), undefined)
})

test('every sender and every boot has a key of its own', () => {
  const ring = parseKeyring(`${KEY_A}\n${KEY_B}`)
  const keyIdB = parseKeyring(KEY_B).primaryKeyId
  const derived = [
    ring.senderKey(ring.primaryKeyId, SENDER, BOOT),
    ring.senderKey(ring.primaryKeyId, BOOT, BOOT),
    ring.senderKey(ring.primaryKeyId, SENDER, SENDER),
    ring.senderKey(keyIdB, SENDER, BOOT),
  ].map((key) => key?.export().toString('hex'))
  assert.equal(new Set(derived).size, 4)
  assert.ok(derived.every((key) => key?.length === 64))
})

const refused: readonly [string, string, RegExp][] = [
  ['no key at all', '# only a comment\n\n', /there is no key/],
  ['not base64', `${KEY_A}\n***`, /line 2 /],
  ['too short', `\n${KEY_A.slice(4)}`, /line 2 is not 32 bytes/],
  ['too long', `${KEY_A.slice(0, 43)}${KEY_A}`, /line 1 is not 32 bytes/],
  ['without padding', KEY_A.slice(0, 43), /line 1 is not 32 bytes/],
  ['two on a line', `${KEY_A} ${KEY_B}`, /line 1 /],
  ['a second spelling', `${'A'.repeat(42)}B=`, /line 1 /],
  ['twice the same', `${KEY_A}\n${KEY_B}\n#\n${KEY_A}`, /line 4 repeats the key of line 1/],
  [
    'too many',
    Array.from({ length: 65 }, (_, n) => seededBytes(`${n}`)(32).toString('base64')).join('\n'),
    /more than 64 keys/,
  ],
]

for (const [name, text, message] of refused) {
  test(`a keyring is refused: ${name}`, () => {
    assert.throws(() => parseKeyring(text), keyringError(message))
  })
}

test('keys given as bytes are checked as well', () => {
  assert.throws(() => new Keyring([Buffer.alloc(16)]), keyringError(/key 1 has 16 bytes/))
  const key = Buffer.alloc(32, 7)
  assert.throws(() => new Keyring([key, key]), keyringError(/key 2 is there twice/))
})

test('a generated key is a line of a keyring, new every time', () => {
  const lines = [generateKey(systemRandom), generateKey(systemRandom)]
  assert.notEqual(lines[0], lines[1])
  assert.equal(parseKeyring(lines.join('\n')).size, 2)
  assert.equal(parseKey(lines[0] ?? '')?.length, 32)
  assert.equal(parseKey(''), undefined)
})

test('the public keyring is the same everywhere and no other keyring', () => {
  assert.equal(publicKeyring().primaryKeyId, publicKeyring().primaryKeyId)
  assert.ok(!publicKeyring().has(parseKeyring(KEY_A).primaryKeyId))
})

test('a keyring never shows its keys', () => {
  const ring = parseKeyring(KEY_A)
  const hex = Buffer.from(KEY_A, 'base64').toString('hex')
  const shown = [
    `${ring}`,
    JSON.stringify({ ring }),
    inspect(ring),
    inspect({ ring }, { showHidden: true, depth: 9 }),
  ]
  for (const text of shown) {
    assert.ok(!text.includes(KEY_A.slice(0, 6)), text)
    assert.ok(!text.includes(hex.slice(0, 8)), text)
    assert.ok(!text.includes('KeyObject'), text)
    assert.match(text, /1 key|"keys":1/)
  }
})

test('a file of keys that everybody can read is refused, unless that is asked for', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'keyring-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const path = join(directory, 'keys')
  writeFileSync(path, `${KEY_A}\n`, { mode: 0o600 })
  utimesSync(path, 1_700_000_000, 1_700_000_000)
  assert.equal(loadKeyring(path).writtenWallMs, 1_700_000_000_000)

  for (const mode of [0o604, 0o601, 0o644, 0o444]) {
    chmodSync(path, mode)
    assert.throws(() => loadKeyring(path), keyringError(/keys: .*chmod 600.*keys_file_mode: any/))
    assert.equal(loadKeyring(path, 'any').size, 1)
  }
  chmodSync(path, 0o400)
  assert.equal(loadKeyring(path).size, 1)
  assert.equal(statSync(path).mode & 0o777, 0o400)
})

/** A service of user 990, group 990, which is in group 2000 as well. */
const SERVICE = { uid: 990, groups: [990, 2000] }
const files: readonly [string, { mode: number; uid: number; gid: number }, RegExp | undefined][] = [
  ['its own, for itself', { mode: 0o600, uid: 990, gid: 990 }, undefined],
  ["root's, for its group", { mode: 0o440, uid: 0, gid: 2000 }, undefined],
  ["root's, for group root or by a list", { mode: 0o440, uid: 0, gid: 0 }, undefined],
  ['its own, for its group', { mode: 0o660, uid: 990, gid: 990 }, undefined],
  ["root's, for another group", { mode: 0o440, uid: 0, gid: 33 }, /group 33, .*chmod 600/],
  ['another group may write', { mode: 0o420, uid: 0, gid: 33 }, /group 33/],
  ["somebody else's", { mode: 0o440, uid: 33, gid: 990 }, /user 33, .* 990: run chown/],
  ["root's, for everybody", { mode: 0o444, uid: 0, gid: 0 }, /everybody/],
  ['its own, for others only', { mode: 0o604, uid: 990, gid: 990 }, /everybody/],
]

for (const [name, status, reason] of files) {
  test(`who can read a file of keys: ${name}`, () => {
    const why = whyNotPrivate(status, SERVICE)
    if (reason === undefined) assert.equal(why, undefined)
    else assert.match(why ?? '', reason)
  })
}

test('two keyrings are the same when the same key seals and the same ones open', () => {
  const ring = parseKeyring(`${KEY_A}\n${KEY_B}`)
  assert.ok(ring.hasSameKeys(parseKeyring(`# again\n${KEY_A}\n${KEY_B}`)))
  assert.ok(!ring.hasSameKeys(parseKeyring(`${KEY_B}\n${KEY_A}`)))
  assert.ok(!ring.hasSameKeys(parseKeyring(KEY_A)))
})

test('a file of keys that cannot be used is named with its path', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'keyring-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const path = join(directory, 'keys')
  assert.throws(() => loadKeyring(path), keyringError(/there is no .*keys;/, 'ERR_NO_KEYS'))
  assert.throws(() => loadKeyring(directory), keyringError(/regular file/))
  writeFileSync(path, `${KEY_A}\nwrong`, { mode: 0o600 })
  assert.throws(() => loadKeyring(path), keyringError(/keys: keyring: line 2/))
  writeFileSync(path, '#'.repeat(70_000))
  assert.throws(() => loadKeyring(path), keyringError(/larger than/))
})

test('a key in the place of the path is not shown, nor in the cause', () => {
  try {
    loadKeyring(KEY_A)
    assert.fail('there is no such file')
  } catch (error) {
    assert.ok(keyringError(/there is no <hidden: /, 'ERR_NO_KEYS')(error))
    assert.ok(!inspect(error).includes(KEY_A.slice(0, 8)))
  }
})

test('a FIFO, a device and what only the system makes up are refused at once', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'keyring-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const fifo = join(directory, 'keys')
  execFileSync('mkfifo', ['-m', '600', fifo])
  assert.throws(() => loadKeyring(fifo), keyringError(/keys: not a regular file/))
  assert.throws(() => loadKeyring('/dev/zero', 'any'), keyringError(/not a regular file/))
  assert.throws(() => loadKeyring('/proc/self/environ', 'any'), keyringError(/line 1|larger/))
})

test('a file of keys that is not there: the setting and how to make one, and not a wrong configuration', () => {
  const path = '/nonexistent/keys'
  assert.throws(() => loadKeyring(path), {
    code: 'ERR_NO_KEYS',
    message:
      `replication.keys_file (of repeat: --keys-file): there is no ${path}; ` +
      `make it with "tlscached keygen --out ${path}" and copy it to every node`,
  })
})
