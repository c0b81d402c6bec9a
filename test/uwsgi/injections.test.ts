// Crafted datagrams, with what uWSGI 2.0.21 made of each (test/vectors/uwsgi/injection-table.txt) and what
// we do with it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type CraftedFields, craftDelete, craftSet } from '../support/cache-datagrams.ts'
import { setupCacheUdp } from '../support/cache-udp-fixture.ts'
import { readInjections } from '../support/uwsgi-vectors.ts'

interface Case {
  readonly datagram: Buffer
  /** undefined: stored, with this many seconds to live. */
  readonly dropped?: string
  readonly ttlSec?: number
  readonly removes?: boolean
  readonly why: string
}

/** When the table was made; the entry that lives longest had 60 seconds. */
const TABLE_SEC = 1_795_208_357
const FUTURE = String(TABLE_SEC + 60)
const TIMEOUT_SEC = 3600
const K64 = 'k'.repeat(64)
const SAME = 'the same here'
const FOREVER = 'nothing lives for ever: as long as the cache allows'
const NOT_SILENT = 'the same here, but counted by reason'

const set = (key: string, fields: CraftedFields = {}) => craftSet({ key, value: 'val', ...fields })

const CASES: Readonly<Record<string, Case>> = {
  'valid set from unlisted sender 127.9.9.9:40000': {
    datagram: set('inj1', { expiry: FUTURE }),
    ttlSec: 60,
    why: 'on loopback a sender cannot be told from a peer; beyond it, it is refused (test below)',
  },
  'set, expires absent (no explen field)': {
    datagram: set('inj2'),
    ttlSec: TIMEOUT_SEC,
    why: FOREVER,
  },
  'set, expires="0"': { datagram: set('inj3', { expiry: '0' }), ttlSec: TIMEOUT_SEC, why: FOREVER },
  'set, expires in the past': {
    datagram: set('inj4', { expiry: String(TABLE_SEC - 100) }),
    dropped: 'expired',
    why: 'there it is stored and served',
  },
  'set, expires="60" (relative value sent by naive peer)': {
    datagram: set('inj5', { expiry: '60' }),
    dropped: 'relative',
    why: 'there it is a time in 1970 and served for ever or never, as the sweeper runs',
  },
  'set, expires="abc"': {
    datagram: set('inj6', { expiry: 'abc' }),
    dropped: 'expiry',
    why: 'there its letters are taken for digits',
  },
  'set, expires="-5"': {
    datagram: set('inj7', { expiry: '-5' }),
    dropped: 'expiry',
    why: 'there the sign is taken for a digit',
  },
  'set, expires=2^64-1': {
    datagram: set('inj8', { expiry: '18446744073709551615' }),
    dropped: 'expiry',
    why: 'there it overflows to never',
  },
  'set, explen=0': { datagram: set('inj9', { expiry: '' }), ttlSec: TIMEOUT_SEC, why: FOREVER },
  'overwrite existing key inj1 from other sender': {
    datagram: craftSet({ key: 'inj1', value: 'OTHERVALUE', expiry: FUTURE }),
    ttlSec: 60,
    why: 'an update looks like that: this wire proves nobody, and is off unless asked for',
  },
  'empty datagram': { datagram: Buffer.alloc(0), dropped: 'short', why: NOT_SILENT },
  '3 bytes': { datagram: Buffer.from('6f0000', 'hex'), dropped: 'short', why: NOT_SILENT },
  '7 bytes "6f03000a010061"': {
    datagram: Buffer.from('6f03000a010061', 'hex'),
    dropped: 'truncated',
    why: NOT_SILENT,
  },
  'modifier1=110': {
    datagram: set('injB', { expiry: '0', modifier1: 110 }),
    dropped: 'modifier',
    why: NOT_SILENT,
  },
  'modifier2=0': {
    datagram: set('injC', { expiry: '0', modifier2: 0 }),
    dropped: 'modifier',
    why: NOT_SILENT,
  },
  'modifier2=12': {
    datagram: set('injD', { expiry: '0', modifier2: 12 }),
    dropped: 'modifier',
    why: NOT_SILENT,
  },
  'pktsize one too small': {
    datagram: set('injE', { expiry: '0', sizeError: -1 }),
    dropped: 'size',
    why: NOT_SILENT,
  },
  'pktsize one too big': {
    datagram: set('injF', { expiry: '0', sizeError: 1 }),
    dropped: 'size',
    why: NOT_SILENT,
  },
  '2 trailing bytes, pktsize adjusted': {
    datagram: set('injG', { expiry: '0', trailing: 'ZZ' }),
    dropped: 'trailing',
    why: 'no uWSGI sends that; there they are ignored',
  },
  'keylen beyond packet': {
    datagram: craftDelete({ modifier2: 10, key: 'injH' }).fill('60ea', 4, 6, 'hex'),
    dropped: 'truncated',
    why: NOT_SILENT,
  },
  'vallen beyond packet': {
    datagram: craftSet({ key: 'injI', value: 'v', valueError: 59_999 }),
    dropped: 'truncated',
    why: NOT_SILENT,
  },
  'explen beyond packet': {
    datagram: craftSet({ key: 'injJ', value: 'v', expiry: '9', expiryError: 499 }),
    dropped: 'truncated',
    why: NOT_SILENT,
  },
  'keylen=0': { datagram: set('', { expiry: '0' }), dropped: 'empty', why: NOT_SILENT },
  'vallen=0': {
    datagram: craftSet({ key: 'injK', value: '', expiry: '0' }),
    dropped: 'empty',
    why: NOT_SILENT,
  },
  'key 64 (=keysize)': { datagram: set(K64, { expiry: '0' }), ttlSec: TIMEOUT_SEC, why: SAME },
  'key 65 (>keysize)': {
    datagram: set(`${K64}k`, { expiry: '0' }),
    dropped: 'keysize',
    why: NOT_SILENT,
  },
  'value 4096 (=blocksize)': {
    datagram: craftSet({ key: 'injL', value: 'v'.repeat(4096), expiry: '0' }),
    ttlSec: TIMEOUT_SEC,
    why: SAME,
  },
  'value 4097 (>blocksize)': {
    datagram: craftSet({ key: 'injM', value: 'v'.repeat(4097), expiry: '0' }),
    dropped: 'blocksize',
    why: NOT_SILENT,
  },
  'datagram 65507 bytes (UDP max), value too big': {
    datagram: craftSet({ key: 'injN', value: 'v'.repeat(65_492), expiry: '0' }),
    dropped: 'blocksize',
    why: NOT_SILENT,
  },
  'garbage 100 bytes': {
    datagram: Buffer.concat([
      Buffer.from('4f116126fc4b9d9f344d42630b60bdbd2588af491053cc7d', 'hex'),
      Buffer.alloc(76, 0x5a),
    ]),
    dropped: 'modifier',
    why: NOT_SILENT,
  },
  'binary key with NUL and newline': {
    datagram: craftSet({ key: Buffer.from('000aff01', 'hex'), value: 'val', expiry: '0' }),
    ttlSec: TIMEOUT_SEC,
    why: SAME,
  },
  'delete exactly as uWSGI sends it (key inj1)': {
    datagram: craftDelete({ key: 'inj1' }),
    removes: true,
    why: 'there it is ignored: what one node deleted the others kept',
  },
  'delete with 2 pad bytes, pktsize adjusted': {
    datagram: craftDelete({ key: 'inj1', trailing: '\0\0' }),
    removes: true,
    why: SAME,
  },
  'padded delete of missing key': {
    datagram: craftDelete({ key: 'nokey', trailing: '\0\0' }),
    dropped: 'unknown',
    why: NOT_SILENT,
  },
}

for (const injection of readInjections()) {
  const { name, bytes, beginning, isStoredThere } = injection
  const given = CASES[name]
  test(`injected: ${name}: ${given?.dropped ?? 'done'} (${given?.why})`, async (t) => {
    assert.ok(given !== undefined, 'a row without a test')
    const { datagram, ttlSec } = given
    assert.equal(datagram.length, bytes)
    assert.deepEqual(datagram.subarray(0, beginning.length), beginning)
    const { clock, hooks, receive, stats, dropped, sent, store } = await setupCacheUdp(t)
    clock.shiftWall(TABLE_SEC * 1000 - clock.wallMs())
    const isOverwrite = name.startsWith('overwrite')
    if (given.removes || isOverwrite) hooks.putOwn(Buffer.from('inj1'), Buffer.from('val'))
    const before = { items: store.stats.items, sent: sent().length }
    receive(datagram, { host: '127.9.9.9', port: 40_000 })
    assert.deepEqual(dropped(), given.dropped === undefined ? {} : { [given.dropped]: 1 })
    assert.equal(stats.stored, ttlSec === undefined ? 0 : 1)
    assert.equal(stats.removed, given.removes ? 1 : 0)
    assert.equal(sent().length, before.sent, 'nothing goes back')
    if (given.dropped !== undefined) {
      assert.equal(store.stats.items, before.items)
      return
    }
    if (ttlSec === undefined) return
    assert.ok(isStoredThere)
    const keyEnd = 6 + datagram.readUInt16LE(4)
    const found = hooks.getAny(datagram.subarray(6, keyEnd))
    assert.equal(Math.round((found?.ttlMs ?? 0) / 1000), ttlSec)
    const valueBytes = datagram.readUInt16LE(keyEnd)
    assert.deepEqual(found?.session, datagram.subarray(keyEnd + 2, keyEnd + 2 + valueBytes))
  })
}

test('the table has no case without a row', () => {
  assert.deepEqual(new Set(Object.keys(CASES)), new Set(readInjections().map(({ name }) => name)))
})
