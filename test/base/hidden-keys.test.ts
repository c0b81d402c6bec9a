// What looks like a key is hidden wherever it stands in a text, and nothing else is.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { messageOf, TlscachedError } from '../../src/base/errors.ts'
import { HIDDEN_KEY, hideKeys } from '../../src/base/hidden-keys.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import { seededBytes } from '../support/seeded-random.ts'

const random = seededBytes('hidden keys')
const KEYS = Array.from({ length: 1000 }, () => generateKey(random))

test('every key is hidden, also with a digit lost, one more, or without its padding', () => {
  for (const key of KEYS) {
    const bare = key.slice(0, -1)
    for (const text of [key, bare, bare.slice(1), `${bare.slice(1)}=`, `A${key}`, `${bare}==`]) {
      for (const around of [text, `"${text}"`, `[${text}, ${text}]`, `--keys=${text} x`]) {
        const shown = hideKeys(around)
        assert.ok(shown.includes(HIDDEN_KEY), around)
        assert.ok(!shown.includes(text.slice(1, 9)), shown)
      }
    }
  }
})

const LEFT_ALONE = [
  '/var/lib/kubernetes/pods/volumes/secrets/tlscached/keys',
  '/home/Operator/tlscached-AbCdEf/a-folder_with.dots/of/the/cluster/keys',
  'a6f1c3d29b7e4f0813572468ace013579bdf02468ace13579bdf02468ace1357',
  '-----------------------------------------------------------------',
  'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA',
  'replication.keys_file_mode',
]

test('paths, hexadecimal digits and words stay as they are', () => {
  for (const text of LEFT_ALONE) assert.equal(hideKeys(text), text)
})

test('no error shows a key that it was made of', () => {
  const [key = ''] = KEYS
  for (const error of [new Error(`no ${key}`), new TlscachedError('ERR_USAGE', `no ${key}`), key]) {
    assert.ok(!messageOf(error).includes(key.slice(0, 8)))
  }
  assert.ok(!new TlscachedError('ERR_USAGE', `no ${key}`).message.includes(key.slice(0, 8)))
})
