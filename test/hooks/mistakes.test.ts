// What a program in JavaScript can give the library by mistake: each is an error that says what is wrong, at once.

import assert from 'node:assert/strict'
import { constants } from 'node:crypto'
import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:https'
import { describe, test } from 'node:test'
import {
  attachSessionCache,
  attachTicketKeys,
  connectHooks,
  connectTicketKeys,
  createNode,
  nodeConfig,
} from '../../src/index.ts'

const CONTEXT = 'shop.example'
const node = createNode({ node: { name: 'a' } })
const hooks = node.hooks('ssl')
const source = { view: () => ({ current: undefined, next: [], previous: [] }), onChange: () => {} }
const server = createServer({
  secureOptions: constants.SSL_OP_NO_TICKET,
  sessionIdContext: CONTEXT,
})
const ticketServer = createServer({ sessionIdContext: CONTEXT })
const plainServer = createHttpServer()

/** A call as a program without types makes it. */
type Call = (...values: unknown[]) => unknown

type Mistake = readonly [string, unknown[], string, RegExp]

const calls: readonly (readonly [string, Call, readonly Mistake[]])[] = [
  [
    'attachSessionCache',
    attachSessionCache as Call,
    [
      ['no server', [undefined, hooks, { context: CONTEXT }], 'ERR_SERVER', /no TLS server: give/],
      ['plain HTTP', [plainServer, hooks, { context: CONTEXT }], 'ERR_SERVER', /no TLS server/],
      ['no hooks', [server, undefined, { context: CONTEXT }], 'ERR_USAGE', /must be hooks/],
      ['the node for hooks', [server, node, { context: CONTEXT }], 'ERR_USAGE', /node\.hooks\(/],
      ['no options', [server, hooks], 'ERR_USAGE', /options must be an object/],
      ['no context', [server, hooks, {}], 'ERR_USAGE', /context must be text or bytes/],
      [
        'a misspelled option',
        [server, hooks, { context: CONTEXT, deadlinMs: 5 }],
        'ERR_USAGE',
        /unknown option "deadlinMs"; there are context, deadlineMs, /,
      ],
      ...[0, -1, Number.NaN, Number.POSITIVE_INFINITY, '50ms', null].map(
        (deadlineMs): Mistake => [
          `the deadline ${deadlineMs}`,
          [server, hooks, { context: CONTEXT, deadlineMs: deadlineMs ?? 60_001 }],
          'ERR_USAGE',
          /deadlineMs must be a number of milliseconds, above 0 and at most 60000/,
        ],
      ),
    ],
  ],
  [
    'attachTicketKeys',
    attachTicketKeys as Call,
    [
      ['no server', [null, source], 'ERR_SERVER', /no TLS server/],
      ['plain HTTP', [plainServer, source], 'ERR_SERVER', /no TLS server/],
      ['no source', [ticketServer], 'ERR_USAGE', /must be a source of keys/],
      ['hooks for a source', [ticketServer, hooks], 'ERR_USAGE', /node\.ticketKeys\(group\)/],
      [
        'a misspelled option',
        [ticketServer, source, { singelKey: true }],
        'ERR_USAGE',
        /singelKey/,
      ],
    ],
  ],
  [
    'connectHooks',
    connectHooks as Call,
    [
      ['nothing', [], 'ERR_USAGE', /options must be an object/],
      ['no address', [undefined, { cache: 'ssl' }], 'ERR_ADDRESS', /"undefined" is not host:port/],
      ['a path', ['/run/x.sock', { cache: 'ssl' }], 'ERR_ADDRESS', /write unix:\/run\/x\.sock/],
      [
        'a misspelled option',
        ['unix:/x', { cach: 'ssl' }],
        'ERR_USAGE',
        /"cach"; there are cache,/,
      ],
    ],
  ],
  [
    'connectTicketKeys',
    connectTicketKeys as Call,
    [
      ['no options', ['unix:/x'], 'ERR_USAGE', /options must be an object/],
      ['a path', ['/run/x.sock', { group: 'www' }], 'ERR_ADDRESS', /write unix:\/run\/x\.sock/],
    ],
  ],
  [
    'createNode',
    createNode as Call,
    [
      ['null', [null], 'ERR_CONFIG', /configuration must be an object/],
      ['the name of a file', ['tlscached.yaml'], 'ERR_CONFIG', /configuration must be an object/],
      ['a list', [[]], 'ERR_CONFIG', /configuration must be an object/],
      ['a misspelled option', [{}, { loger: console }], 'ERR_USAGE', /"loger"; there are .*logger/],
      ['no object for options', [{}, null], 'ERR_USAGE', /options must be an object/],
    ],
  ],
  ['nodeConfig', nodeConfig as Call, [['a number', [7], 'ERR_CONFIG', /must be an object/]]],
]

for (const [name, call, mistakes] of calls) {
  describe(name, () => {
    for (const [mistake, values, code, message] of mistakes) {
      test(`refuses ${mistake}`, () => {
        assert.throws(() => call(...values), { code, message })
      })
    }
  })
}

test('a server that was refused is as it was before', () => {
  for (const event of ['resumeSession', 'newSession', 'connection', 'secureConnection']) {
    const fresh = createServer()
    assert.equal(server.listenerCount(event), fresh.listenerCount(event), event)
  }
})
