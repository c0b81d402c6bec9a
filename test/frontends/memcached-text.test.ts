// memcached's text protocol: each conversation once in a table, run whole and byte by byte.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createCacheFixture } from '../support/cache-fixture.ts'
import { everyByte, MemcachedPeer } from '../support/memcached-peer.ts'

/** Tokens (cas) are 17 to 19 digits that nobody can foresee. */
const TOKEN = /(?<=[ c])\d{17,19}\b/g
const BLOCKSIZE = 64
const LONG_KEY = 'k'.repeat(251)
const LARGE = 'x'.repeat(100)

interface Conversation {
  readonly name: string
  readonly says: string
  readonly answers: string
  readonly closes?: boolean
}

const CONVERSATIONS: readonly Conversation[] = [
  {
    name: 'set and get keep flags and bytes',
    says: 'set a 4294967295 0 5\r\na\r\nb\0\r\nget a\r\n',
    answers: 'STORED\r\nVALUE a 4294967295 5\r\na\r\nb\0\r\nEND\r\n',
  },
  {
    name: 'an empty value',
    says: 'set a 0 0 0\r\n\r\nget a\r\n',
    answers: 'STORED\r\nVALUE a 0 0\r\n\r\nEND\r\n',
  },
  {
    name: 'a blank before the line end, as Apache writes it',
    says: 'set a 0 300 1 \r\n1\r\nget a\r\n',
    answers: 'STORED\r\nVALUE a 0 1\r\n1\r\nEND\r\n',
  },
  { name: 'a miss', says: 'get a\r\n', answers: 'END\r\n' },
  { name: 'a line that ends in a newline alone', says: 'get a\nmn\n', answers: 'END\r\nMN\r\n' },
  {
    name: 'many keys, with blanks between and behind',
    says: 'set a 0 0 1\r\n1\r\nset b 0 0 1\r\n2\r\nget  a  x b \r\n',
    answers: 'STORED\r\nSTORED\r\nVALUE a 0 1\r\n1\r\nVALUE b 0 1\r\n2\r\nEND\r\n',
  },
  {
    name: 'a key longer than the keysize is a miss, not an error',
    says: `get ${'k'.repeat(250)}\r\n`,
    answers: 'END\r\n',
  },
  {
    name: 'a key that no memcached has',
    says: `get a ${LONG_KEY} b\r\nset ${LONG_KEY} 0 0 2\r\nhi\r\ndelete ${LONG_KEY}\r\nmn\r\n`,
    answers: `${'CLIENT_ERROR bad command line format\r\n'.repeat(3)}MN\r\n`,
  },
  {
    name: 'a key that no memcached has, among others: none is answered, as with memcached',
    says: `set a 0 0 1\r\n1\r\nget a ${LONG_KEY}\r\ngat 100 a ${LONG_KEY} b\r\nget a\r\n`,
    answers: `STORED\r\n${'CLIENT_ERROR bad command line format\r\n'.repeat(2)}VALUE a 0 1\r\n1\r\nEND\r\n`,
  },
  {
    name: 'the value of a key that no memcached has is never read as a command',
    says: `set a 0 0 1\r\n1\r\nset ${LONG_KEY} 0 0 9\r\nflush_all\r\nms ${LONG_KEY} 9\r\nflush_all\r\nget a\r\n`,
    answers: `STORED\r\n${'CLIENT_ERROR bad command line format\r\n'.repeat(2)}VALUE a 0 1\r\n1\r\nEND\r\n`,
  },
  {
    name: 'a dump of all keys ends at once, and shows none',
    says: 'set a 0 0 1\r\n1\r\nlru_crawler metadump all\r\nlru_crawler mgdump all\r\nstats cachedump 1 10\r\nlru_crawler x\r\n',
    answers: 'STORED\r\nEND\r\nEN\r\nEND\r\nERROR\r\n',
  },
  {
    name: 'a key longer than the keysize is not stored',
    says: `set ${'k'.repeat(201)} 0 0 2\r\nhi\r\n`,
    answers: 'SERVER_ERROR key longer than the keysize of the cache\r\n',
  },
  {
    name: 'gets and cas',
    says: 'set a 0 0 1\r\n1\r\ngets a\r\ncas a 0 0 1 1\r\n2\r\ncas b 0 0 1 1\r\n2\r\nget a\r\n',
    answers:
      'STORED\r\nVALUE a 0 1 TOKEN\r\n1\r\nEND\r\nEXISTS\r\nNOT_FOUND\r\nVALUE a 0 1\r\n1\r\nEND\r\n',
  },
  {
    name: 'add and replace',
    says: 'replace a 0 0 1\r\n0\r\nadd a 0 0 1\r\n1\r\nadd a 0 0 1\r\n2\r\nreplace a 7 0 1\r\n3\r\nget a\r\n',
    answers: 'NOT_STORED\r\nSTORED\r\nNOT_STORED\r\nSTORED\r\nVALUE a 7 1\r\n3\r\nEND\r\n',
  },
  {
    name: 'append and prepend leave the flags as they are',
    says: 'append a 0 0 1\r\n0\r\nset a 7 0 1\r\n1\r\nappend a 0 0 1\r\n2\r\nprepend a 9 0 1\r\n0\r\nget a\r\n',
    answers: 'NOT_STORED\r\nSTORED\r\nSTORED\r\nSTORED\r\nVALUE a 7 3\r\n012\r\nEND\r\n',
  },
  {
    name: 'counting up wraps, counting down stops at 0',
    says: 'set n 0 0 20\r\n18446744073709551615\r\nincr n 2\r\ndecr n 5\r\nget n\r\nincr x 1\r\n',
    answers: 'STORED\r\n1\r\n0\r\nVALUE n 0 1\r\n0\r\nEND\r\nNOT_FOUND\r\n',
  },
  {
    name: 'counting what is no number',
    says: 'set n 0 0 1\r\nx\r\nincr n 1\r\nincr n x\r\nincr n\r\nset n 0 0 20\r\n18446744073709551616\r\ndecr n 1\r\n',
    answers:
      'STORED\r\nCLIENT_ERROR cannot increment or decrement non-numeric value\r\nCLIENT_ERROR invalid numeric delta argument\r\nERROR\r\nSTORED\r\nCLIENT_ERROR cannot increment or decrement non-numeric value\r\n',
  },
  {
    name: 'touch, gat and gats',
    says: 'touch a 10\r\nset a 0 0 1\r\n1\r\ntouch a 10\r\ngat 20 a b\r\ngats 20 a\r\ngat x a\r\ngat 10\r\ntouch a x\r\n',
    answers:
      'NOT_FOUND\r\nSTORED\r\nTOUCHED\r\nVALUE a 0 1\r\n1\r\nEND\r\nVALUE a 0 1 TOKEN\r\n1\r\nEND\r\nCLIENT_ERROR invalid exptime argument\r\nERROR\r\nCLIENT_ERROR invalid exptime argument\r\n',
  },
  {
    name: 'a lifetime that is past',
    says: 'set a 0 0 1\r\n1\r\nset a 0 -1 1\r\n2\r\nget a\r\nset a 0 0 1\r\n1\r\ntouch a -1\r\nget a\r\nset a 0 2592001 1\r\n1\r\nget a\r\nset a 0 0 1\r\n1\r\ngat -1 a\r\nget a\r\n',
    answers:
      'STORED\r\nSTORED\r\nEND\r\nSTORED\r\nTOUCHED\r\nEND\r\nSTORED\r\nEND\r\nSTORED\r\nVALUE a 0 1\r\n1\r\nEND\r\nEND\r\n',
  },
  {
    name: 'delete, with the 0 that Apache appends',
    says: 'set a 0 0 1\r\n1\r\ndelete a 0\r\ndelete a\r\ndelete a 0 noreply\r\ndelete a 5\r\ndelete\r\n',
    answers: 'STORED\r\nDELETED\r\nNOT_FOUND\r\nCLIENT_ERROR bad command line format\r\nERROR\r\n',
  },
  {
    name: 'noreply',
    says: 'set n 0 0 1 noreply\r\n1\r\nadd n 0 0 1 noreply\r\n2\r\nincr n 4 noreply\r\ntouch n 9 noreply\r\nverbosity 1 noreply\r\nget n\r\ndelete n noreply\r\nflush_all noreply\r\nget n\r\n',
    answers: 'VALUE n 0 1\r\n5\r\nEND\r\nEND\r\n',
  },
  {
    name: 'nobody reads the answer to a noreply, errors included',
    says: `set n 0 0 100 noreply\r\n${LARGE}\r\nset n x 0 1 noreply\r\n1\r\nset n 0 0 1 noreply\r\n12\r\nmn\r\n`,
    answers: 'MN\r\n',
  },
  {
    name: 'flush_all',
    says: 'set a 0 0 1\r\n1\r\nflush_all\r\nget a\r\nflush_all x\r\n',
    answers: 'STORED\r\nOK\r\nEND\r\nCLIENT_ERROR bad command line format\r\n',
  },
  {
    name: 'a value that is too large is skipped, and what was there stays',
    says: `set a 0 0 1\r\n1\r\nset a 0 0 100\r\n${LARGE}\r\nset a 0 0 65\r\n${'y'.repeat(65)}\r\nget a\r\n`,
    answers: `STORED\r\n${'SERVER_ERROR object too large for cache\r\n'.repeat(2)}VALUE a 0 1\r\n1\r\nEND\r\n`,
  },
  {
    name: 'more data than announced is skipped up to the line end',
    says: 'set a 0 0 1\r\n12345\r\nmn\r\n',
    answers: 'CLIENT_ERROR bad data chunk\r\nMN\r\n',
  },
  {
    name: 'less data than announced takes the next line along',
    says: 'set a 0 0 4\r\n1\r\nget b\r\nmn\r\n',
    answers: 'CLIENT_ERROR bad data chunk\r\nMN\r\n',
  },
  {
    name: 'data is never taken for a command',
    says: 'set a x 0 11\r\nflush_all\r\n\r\nset a 0 0 1 extra words\r\n1\r\nget a\r\n',
    answers: `${'CLIENT_ERROR bad command line format\r\n'.repeat(2)}END\r\n`,
  },
  {
    name: 'a length that is none',
    says: 'set a 0 0 -1\r\nset a 0 0 x\r\nset a 0 0 4294967295\r\nset a 0 0\r\n',
    answers: `${'CLIENT_ERROR bad data chunk\r\n'.repeat(3)}ERROR\r\n`,
  },
  {
    name: 'unknown commands and empty lines',
    says: 'bogus\r\n\r\nGET a\r\nget\r\ngets \r\nget\ta\r\n',
    answers: 'ERROR\r\n'.repeat(6),
  },
  {
    name: 'version and verbosity',
    says: 'version\r\nverbosity 1\r\nverbosity\r\nverbosity a b c\r\nverbosity noreply\r\n',
    answers: 'VERSION 1.6.0\r\nOK\r\nERROR\r\nERROR\r\n',
  },
  { name: 'quit', says: 'mn\r\nquit\r\nmn\r\n', answers: 'MN\r\n', closes: true },
  {
    name: 'a line without an end',
    says: `set ${'k'.repeat(2100)}`,
    answers: 'CLIENT_ERROR line too long\r\n',
    closes: true,
  },
  {
    name: 'the longest line',
    says: `${'x'.repeat(2048)}\r\n`.slice(1),
    answers: 'ERROR\r\n',
  },
  {
    name: 'a get may be longer',
    says: `set a 0 0 1\r\n1\r\nget ${'x '.repeat(20_000)}a\r\n`,
    answers: 'STORED\r\nVALUE a 0 1\r\n1\r\nEND\r\n',
  },
  {
    name: 'but not endless',
    says: `get ${'x '.repeat(33_000)}`,
    answers: 'CLIENT_ERROR line too long\r\n',
    closes: true,
  },
  {
    name: 'stats of unknown groups',
    says: 'stats bogus\r\nstats reset\r\nstats conns\r\n',
    answers: 'ERROR\r\nRESET\r\nEND\r\n',
  },
  {
    name: 'meta: no operation',
    says: 'mn\r\n',
    answers: 'MN\r\n',
  },
  {
    name: 'meta: get',
    says: 'mg a v\r\nmg a q v\r\nset a 7 100 2\r\nhi\r\nmg a\r\nmg a v\r\nmg a t f s k Oxyz v c\r\nmg a q s v\r\n',
    answers:
      'EN\r\nSTORED\r\nHD\r\nVA 2\r\nhi\r\nVA 2 t100 f7 s2 ka Oxyz cTOKEN\r\nhi\r\nVA 2 s2\r\nhi\r\n',
  },
  {
    name: 'meta: a missed get repeats opaque and key, as memcached 1.6.18',
    says: 'mg none k O1\r\nmg none O1 k v t\r\nmg none k O1 q\r\nmg bm9uZQ== b k O1\r\nmg bm9uZQ== b O1\r\n',
    answers: 'EN knone O1\r\nEN O1 knone\r\nEN kbm9uZQ== b O1\r\nEN O1\r\n',
  },
  {
    name: 'meta: get with a new lifetime',
    says: 'set a 0 100 1\r\n1\r\nmg a T50 t\r\nmg a t\r\nmg a T-1 v\r\nmg a v\r\n',
    answers: 'STORED\r\nHD t50\r\nHD t50\r\nVA 1\r\n1\r\nEN\r\n',
  },
  {
    name: 'meta: set',
    says: 'ms a 2 T100 F5 c\r\nhi\r\nms a 1 ME k O1\r\nx\r\nms b 1 MR\r\nx\r\nms a 1 MA q\r\n!\r\nms a 1 Mp\r\n>\r\nms b 1 MA N60\r\nz\r\nmg a v f t\r\nmg b v t\r\n',
    answers: 'HD cTOKEN\r\nNS ka O1\r\nNS\r\nHD\r\nHD\r\nVA 4 f5 t100\r\n>hi!\r\nVA 1 t60\r\nz\r\n',
  },
  {
    name: 'meta: compare',
    says: 'ms a 1 C1\r\n1\r\nms a 1\r\n1\r\nms a 1 C1 O9\r\n2\r\nmd a C1 q\r\nma a C1\r\nmg a v\r\n',
    answers: 'NF\r\nHD\r\nEX O9\r\nEX\r\nEX\r\nVA 1\r\n1\r\n',
  },
  {
    name: 'meta: delete',
    says: 'md a\r\nmd a q\r\nms a 1\r\n1\r\nmd a q k\r\nmg a\r\nms a 1\r\n1\r\nmd a k O5\r\n',
    answers: 'NF\r\nHD\r\nEN\r\nHD\r\nHD ka O5\r\n',
  },
  {
    name: 'meta: arithmetic',
    says: 'ma n\r\nma n q\r\nma n N100 J13 v t\r\nma n v\r\nma n D10 v\r\nma n MD D4 v k\r\nma n M- D100 v T50 t\r\nma n q\r\nms n 1\r\nx\r\nma n\r\n',
    answers:
      'NF\r\nVA 2 t100\r\n13\r\nVA 2\r\n14\r\nVA 2\r\n24\r\nVA 2 kn\r\n20\r\nVA 1 t50\r\n0\r\nHD\r\nCLIENT_ERROR cannot increment or decrement non-numeric value\r\n',
  },
  {
    name: 'meta: a key in base64',
    says: 'ms AAEg/w== 2 b k\r\nhi\r\nmg AAEg/w== b k v\r\nmg AAEg/w b v\r\n',
    answers: 'HD kAAEg/w== b\r\nVA 2 kAAEg/w== b\r\nhi\r\nCLIENT_ERROR bad command line format\r\n',
  },
  {
    name: 'meta: mistakes',
    says: `mg\r\nmg a h\r\nmg a v v\r\nms a x\r\nms a 1 MX\r\n1\r\nms a 1 Fx\r\n1\r\nms a 1 Tx\r\n1\r\nma a Dx\r\nma a MX\r\nmg a O${'o'.repeat(33)}\r\nms ${LONG_KEY} 1\r\n1\r\nms a 100\r\n${LARGE}\r\nms a 1\r\n12\r\n`,
    answers: [
      'CLIENT_ERROR bad command line format',
      'CLIENT_ERROR invalid flag',
      'CLIENT_ERROR duplicate flag',
      'CLIENT_ERROR bad data chunk',
      'CLIENT_ERROR invalid mode for ms',
      'CLIENT_ERROR bad token in command line format',
      'CLIENT_ERROR bad token in command line format',
      'CLIENT_ERROR bad token in command line format',
      'CLIENT_ERROR invalid mode for ma',
      'CLIENT_ERROR bad token in command line format',
      'CLIENT_ERROR bad command line format',
      'SERVER_ERROR object too large for cache',
      'CLIENT_ERROR bad data chunk',
      '',
    ].join('\r\n'),
  },
]

const fixture = () => createCacheFixture({ blocksize: BLOCKSIZE, keysize: 200 })

function check(conversation: Conversation, isBytewise: boolean): void {
  const peer = new MemcachedPeer(fixture(), 'text')
  const bytes = Buffer.from(conversation.says, 'latin1')
  const answers = peer.sendInPieces(bytes, isBytewise ? everyByte(bytes) : [])
  assert.equal(answers.toString('latin1').replace(TOKEN, 'TOKEN'), conversation.answers)
  assert.equal(peer.isClosed, conversation.closes ?? false)
  if (!peer.isClosed) assert.equal(peer.isMidway, false)
}

for (const conversation of CONVERSATIONS) {
  test(`${conversation.name}, whole`, () => check(conversation, false))
  test(`${conversation.name}, byte by byte`, () => check(conversation, true))
}

test('cas with the token of gets stores, once', () => {
  const peer = new MemcachedPeer(fixture(), 'text')
  const say = (text: string) => peer.send(Buffer.from(text)).toString()
  say('set a 0 0 1\r\n1\r\n')
  const token = /VALUE a 0 1 (\d+)/.exec(say('gets a\r\n'))?.[1]
  assert.equal(say(`cas a 0 0 1 ${token}\r\n2\r\n`), 'STORED\r\n')
  assert.equal(say(`cas a 0 0 1 ${token} noreply\r\n3\r\n`), '')
  assert.equal(say(`cas a 0 0 1 ${token}\r\n3\r\n`), 'EXISTS\r\n')
  assert.equal(say('get a\r\n'), 'VALUE a 0 1\r\n2\r\nEND\r\n')
  assert.deepEqual([peer.stats.casHits, peer.stats.casMismatches, peer.stats.casMisses], [1, 2, 0])
})

test('expiry is relative up to 30 days, absolute above', () => {
  const cache = createCacheFixture({ timeoutMs: 90 * 86_400_000 })
  const peer = new MemcachedPeer(cache, 'text')
  const say = (text: string) => peer.send(Buffer.from(text)).toString()
  const nowSec = cache.clock.wallMs() / 1000
  say(`set a 0 2592000 1\r\n1\r\nset b 0 ${nowSec + 60} 1\r\n1\r\nset c 0 0 1\r\n1\r\n`)
  assert.equal(say('mg a t\r\nmg b t\r\nmg c t\r\n'), 'HD t2592000\r\nHD t60\r\nHD t7776000\r\n')
  cache.clock.advance(60_000)
  assert.equal(say('mg a t\r\nmg b t\r\n'), 'HD t2591940\r\nEN\r\n')
  // An append, too, leaves the lifetime as it was.
  assert.equal(
    say('append a 0 5 1\r\n1\r\nincr a 1\r\nmg a t\r\n'),
    'STORED\r\n12\r\nHD t2591940\r\n',
  )
})

test('flush_all with a delay', () => {
  const cache = fixture()
  const peer = new MemcachedPeer(cache, 'text')
  const say = (text: string) => peer.send(Buffer.from(text)).toString()
  assert.equal(
    say('set a 0 0 1\r\n1\r\nflush_all 10\r\nget a\r\n'),
    'STORED\r\nOK\r\nVALUE a 0 1\r\n1\r\nEND\r\n',
  )
  cache.clock.advance(10_000)
  assert.equal(say('get a\r\n'), 'END\r\n')
})

test('a full cache that refuses says so', () => {
  const peer = new MemcachedPeer(createCacheFixture({ items: 1, full: 'refuse' }), 'text')
  const say = (text: string) => peer.send(Buffer.from(text)).toString()
  assert.equal(
    say('set a 0 0 1\r\n1\r\nset b 0 0 1\r\n1\r\n'),
    'STORED\r\nSERVER_ERROR out of memory storing object\r\n',
  )
  assert.equal(say('get a b\r\n'), 'VALUE a 0 1\r\n1\r\nEND\r\n')
  assert.equal(peer.stats.refused, 1)
})

test('stats under the names of memcached', () => {
  const peer = new MemcachedPeer(fixture(), 'text')
  const say = (text: string) => peer.send(Buffer.from(text)).toString()
  say('set a 0 0 3\r\nabc\r\nget a\r\nget b c\r\ndelete x\r\nbogus\r\n')
  const general = new Map(
    say('stats\r\n')
      .split('\r\n')
      .filter((line) => line.startsWith('STAT '))
      .map((line) => [line.split(' ')[1], line.split(' ')[2]]),
  )
  const expected = {
    curr_items: '1',
    total_items: '1',
    bytes: '3',
    cmd_get: '3',
    get_hits: '1',
    get_misses: '2',
    cmd_set: '1',
    delete_misses: '1',
    max_connections: '10',
    limit_maxbytes: String(100 * BLOCKSIZE),
    rusage_user: '1.500000',
    rusage_system: '0.250000',
  }
  for (const [name, value] of Object.entries(expected)) assert.equal(general.get(name), value, name)
  assert.match(say('stats settings\r\n'), /STAT item_size_max 64\r\n/)
  assert.match(say('stats items\r\n'), /STAT items:1:number 1\r\n/)
  assert.match(say('stats slabs\r\n'), /STAT 1:used_chunks 1\r\n(?:.*\r\n)*STAT active_slabs 1\r\n/)
  assert.equal(peer.stats.malformed, 1)
})

test('an endless value or line takes little memory', () => {
  const peer = new MemcachedPeer(fixture(), 'text')
  const chunk = Buffer.alloc(65_536, 'x')
  peer.send(Buffer.from('set a 0 0 2000000000\r\n'))
  for (let sent = 0; sent < 100; sent += 1) peer.send(chunk)
  assert.equal(peer.input.length, 0)
  assert.equal(peer.isMidway, true)
})
