// Every frontend keeps to the one contract: a client of each, over real sockets.

import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { formatAddress } from '../../src/base/address.ts'
import { systemClock } from '../../src/base/world.ts'
import type { HttpBackend } from '../../src/frontends/http/backend.ts'
import { HttpFrontend } from '../../src/frontends/http/frontend.ts'
import { MemcachedFrontend } from '../../src/frontends/memcached/frontend.ts'
import { RpcFrontend } from '../../src/frontends/rpc/frontend.ts'
import { SessiondFrontend } from '../../src/frontends/sessiond/frontend.ts'
import { UwsgiFrontend } from '../../src/frontends/uwsgi/frontend.ts'
import { connectHooks } from '../../src/hooks/remote-hooks.ts'
import { formatDictionary } from '../../src/uwsgi/datagram.ts'
import type { CacheFixture } from '../support/cache-fixture.ts'
import { type FrontendClient, testFrontendContract } from '../support/frontend-contract.ts'
import { ask } from '../support/http.ts'
import { binaryAnswers, binaryRequest } from '../support/memcached-frames.ts'
import { SERVER_PROCESS } from '../support/memcached-peer.ts'
import { StreamClient } from '../support/stream-client.ts'

const ANY_PORT = { host: '127.0.0.1', port: 0 }
const NOTHING = Buffer.alloc(0)

/** Runs one call after the other, where the protocol has no numbers to tell answers apart. */
function inTurn() {
  let last: Promise<unknown> = Promise.resolve()
  return <Result>(call: () => Promise<Result>): Promise<Result> => {
    const result = last.then(call)
    last = result.catch(() => {})
    return result
  }
}

async function openHttp({ store, hooks, logger }: CacheFixture): Promise<FrontendClient> {
  const { limits, stats } = store
  const refuse = (...refusal: Parameters<typeof store.refuse>) => void store.refuse(...refusal)
  const backend: HttpBackend = {
    nodeName: 'a',
    caches: new Map([['ssl', { limits, singleUse: false, stats, hooks, refuse }]]),
    readiness: () => ({ isReady: true, isStrictlyReady: false, reason: 'alone' }),
    peers: () => [],
    syncStatus: () => undefined,
    replicationStats: () => undefined,
    metrics: () => ({ contentType: 'text/plain', text: '' }),
  }
  const parts = { isInsecure: false, backend, clock: systemClock, logger }
  const frontend = new HttpFrontend({ listen: ANY_PORT, ...parts })
  await frontend.start()
  const pathOf = (id: Buffer, context: Buffer, more: Record<string, string | undefined> = {}) => {
    const query = new URLSearchParams({ context_hex: context.toString('hex') })
    for (const [name, value] of Object.entries(more)) {
      if (value !== undefined) query.set(name, value)
    }
    return `/v1/caches/ssl/sessions/${id.toString('hex')}?${query}`
  }
  return {
    async put({ id, context, session, ttlSec, serverName }) {
      const path = pathOf(id, context, { ttl: String(ttlSec), server_name: serverName })
      const { status } = await ask(frontend.address, { method: 'PUT', path, body: session })
      return status === 201 ? 'stored' : 'refused'
    },
    async get(id, context, serverName) {
      const path = pathOf(id, context, { server_name: serverName })
      const { status, body } = await ask(frontend.address, { path })
      return status === 200 ? body : undefined
    },
    async remove(id, context) {
      const { status } = await ask(frontend.address, {
        method: 'DELETE',
        path: pathOf(id, context),
      })
      return status === 204
    },
    close: () => frontend.stop(),
  }
}

async function startMemcached({ hooks, clock, logger }: CacheFixture) {
  const frontend = new MemcachedFrontend({
    address: ANY_PORT,
    hooks,
    clock,
    logger,
    process: SERVER_PROCESS,
  })
  await frontend.start()
  const client = await StreamClient.connect(frontend.address)
  const close = async () => {
    client.close()
    await frontend.stop()
  }
  return { client, close, enqueue: inTurn() }
}

/** Returns the memcached key that Apache makes of a session ID. */
function apacheKey(id: Buffer): string {
  return `mod_ssl-sess:${id.toString('hex')}`
}

async function openMemcachedText(cache: CacheFixture): Promise<FrontendClient> {
  const { client, close, enqueue } = await startMemcached(cache)
  const line = async (text: string) => {
    client.send(text)
    return client.until('\r\n')
  }
  return {
    put: ({ id, session, ttlSec }) =>
      enqueue(async () => {
        const head = `set ${apacheKey(id)} 0 ${ttlSec} ${session.length}\r\n`
        const answer = await line(`${head}${session.toString('latin1')}\r\n`)
        if (answer !== 'STORED\r\n') assert.match(answer, /^SERVER_ERROR /)
        return answer === 'STORED\r\n' ? 'stored' : 'refused'
      }),
    get: (id) =>
      enqueue(async () => {
        const head = await line(`get ${apacheKey(id)}\r\n`)
        if (head === 'END\r\n') return undefined
        const length = Number(/ (\d+)\r\n$/.exec(head)?.[1])
        const rest = await client.until('\r\nEND\r\n')
        return Buffer.from(rest, 'latin1').subarray(0, length)
      }),
    remove: (id) =>
      enqueue(async () => (await line(`delete ${apacheKey(id)}\r\n`)) === 'DELETED\r\n'),
    close,
  }
}

async function openMemcachedBinary(cache: CacheFixture): Promise<FrontendClient> {
  const { client, close, enqueue } = await startMemcached(cache)
  const NOOP = 0x0a
  /** The answer to the request; a no-op behind it shows where that ends. */
  const call = async (request: Buffer) => {
    const end = binaryRequest(NOOP, { opaque: 0x656e6421 })
    client.send(Buffer.concat([request, end]).toString('latin1'))
    const mark = Buffer.concat([Buffer.from('end!'), Buffer.alloc(8)]).toString('latin1')
    const answers = binaryAnswers(Buffer.from(await client.until(mark), 'latin1'))
    assert.equal(answers.length, 2)
    return answers[0]
  }
  return {
    put: ({ id, session: value, ttlSec }) =>
      enqueue(async () => {
        const extras = Buffer.alloc(8)
        extras.writeUInt32BE(ttlSec, 4)
        const answer = await call(binaryRequest(0x01, { key: apacheKey(id), extras, value }))
        return answer?.status === 0 ? 'stored' : 'refused'
      }),
    get: (id) =>
      enqueue(async () => {
        const answer = await call(binaryRequest(0x00, { key: apacheKey(id) }))
        return answer?.status === 0 ? answer.value : undefined
      }),
    remove: (id) =>
      enqueue(async () => (await call(binaryRequest(0x04, { key: apacheKey(id) })))?.status === 0),
    close,
  }
}

async function openSessiond(cache: CacheFixture): Promise<FrontendClient> {
  const frontend = new SessiondFrontend({ ...cache, address: ANY_PORT, removePolicy: 'honour' })
  await frontend.start()
  const { host, port } = frontend.address
  const socket = createSocket('udp4')
  const enqueue = inTurn()
  const packet = (type: number, id: Buffer, ttlSec = 0, session: Buffer = NOTHING) =>
    Buffer.concat([Buffer.from([1, type, ttlSec >> 8, ttlSec & 0xff]), id, session])
  const get = async (id: Buffer): Promise<Buffer | undefined> => {
    const answered = new Promise<Buffer>((resolve) => socket.once('message', resolve))
    socket.send(packet(1, id), port, host)
    const answer = await answered
    return answer[1] === 0x81 ? answer.subarray(36) : undefined
  }
  const NOBODY = Buffer.alloc(32, 0xff)
  /** Datagrams stay in order here, so what was sent before a get that is answered has been carried out. */
  const send = (datagram: Buffer) =>
    enqueue(async () => {
      socket.send(datagram, port, host)
      await get(NOBODY)
      return undefined
    })
  return {
    put: ({ id, session, ttlSec }) => send(packet(0, id, ttlSec, session)),
    get: (id) => enqueue(() => get(id)),
    remove: (id) => send(packet(2, id)),
    async close() {
      socket.close()
      await frontend.stop()
    },
  }
}

async function openRpc({ hooks: local, logger }: CacheFixture): Promise<FrontendClient> {
  const caches = new Map([['ssl', local]])
  const frontend = new RpcFrontend({ address: ANY_PORT, caches, clock: systemClock, logger })
  await frontend.start()
  const hooks = connectHooks(formatAddress(frontend.address), { cache: 'ssl', deadlineMs: 10_000 })
  return {
    put: ({ context, id, session, ttlSec, serverName }) =>
      hooks.put({ context, id, session, ttlMs: ttlSec * 1000, serverName }),
    get: async (id, context, serverName) => (await hooks.get(context, id, serverName))?.session,
    remove: (id, context) => hooks.remove(context, id),
    async close() {
      await hooks.close()
      await frontend.stop()
    },
  }
}

testFrontendContract({
  name: 'http',
  namesContext: true,
  namesServer: true,
  tellsPuts: 'refusal',
  tellsRemoves: true,
  hasFixedIds: false,
  open: openHttp,
})

for (const [name, open] of [
  ['memcached text', openMemcachedText],
  ['memcached binary', openMemcachedBinary],
] as const) {
  testFrontendContract({
    name,
    namesContext: false,
    namesServer: false,
    tellsPuts: 'refusal',
    tellsRemoves: true,
    hasFixedIds: false,
    open,
  })
}

testFrontendContract({
  name: 'sessiond',
  namesContext: false,
  namesServer: false,
  tellsPuts: 'nothing',
  tellsRemoves: false,
  maxSessionBytes: 512,
  hasFixedIds: true,
  open: openSessiond,
})

testFrontendContract({
  name: 'rpc',
  namesContext: true,
  namesServer: true,
  tellsPuts: 'result',
  tellsRemoves: true,
  hasFixedIds: false,
  open: openRpc,
})

async function openUwsgi({ hooks, clock }: CacheFixture): Promise<FrontendClient> {
  const frontend = new UwsgiFrontend({
    address: ANY_PORT,
    hooks: new Map([['ssl', hooks]]),
    defaultCache: 'ssl',
    clock,
  })
  await frontend.start()
  /** The answer, without its packet's header; undefined when there was none. */
  const request = async (
    pairs: readonly (readonly [string, string | Buffer])[],
    value: Buffer = NOTHING,
  ): Promise<Buffer | undefined> => {
    const client = await StreamClient.connect(frontend.address)
    client.send(Buffer.concat([formatDictionary(17, pairs), value]).toString('latin1'))
    await client.closed
    const answer = Buffer.from(client.received, 'latin1')
    return answer.length === 0 ? undefined : answer.subarray(4 + answer.readUInt16LE(1))
  }
  return {
    async put({ id, session, ttlSec }) {
      const size = ['size', String(session.length)] as const
      const pairs = [['cmd', 'update'], ['key', id], ['expires', String(ttlSec)], size] as const
      return (await request(pairs, session)) === undefined ? 'refused' : 'stored'
    },
    get: (id) =>
      request([
        ['cmd', 'get'],
        ['key', id],
      ]),
    async remove(id) {
      const answer = await request([
        ['cmd', 'del'],
        ['key', id],
      ])
      return answer !== undefined
    },
    close: () => frontend.stop(),
  }
}

testFrontendContract({
  name: 'uwsgi',
  namesContext: false,
  namesServer: false,
  tellsPuts: 'refusal',
  tellsRemoves: true,
  hasFixedIds: false,
  open: openUwsgi,
})
