// Targets that are reached over a socket: HAProxy's runtime API and the API server of Kubernetes, both played by the
// test. What hangs has a timeout, what refuses is a failure with its reason, and no secret is in a message.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, type TestContext, test } from 'node:test'
import { rootCertificates } from 'node:tls'
import { silentLogger, systemClock } from '../../src/base/world.ts'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { TicketAuthority } from '../../src/tickets/authority.ts'
import { viewOf } from '../../src/tickets/rule.ts'
import { pushKeys } from '../../src/tickets/targets/haproxy.ts'
import { createTarget } from '../../src/tickets/targets/kinds.ts'
import type { TargetFailure } from '../../src/tickets/targets/target.ts'
import { type TargetSettings, targetSchema } from '../../src/tickets/targets/target-schema.ts'
import { findTargetProblems, TicketTargets } from '../../src/tickets/targets/targets.ts'
import { TicketKey } from '../../src/tickets/ticket-key.ts'
import { ringTimes } from '../../src/tickets/times.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { until } from '../support/latch.ts'
import { seededBytes } from '../support/seeded-random.ts'

const folder = mkdtempSync(join(tmpdir(), 'tlscached-services-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const HOUR_MS = 3_600_000
const times = ringTimes(
  { name: 'www', rotateMs: HOUR_MS, lifetimeMs: HOUR_MS, waitMs: HOUR_MS },
  [],
)

describe('the socket of HAProxy', () => {
  const file = '/run/tlscached/www.keys'
  const [k0, k1, k2, k3] = ['a', 'b', 'c', 'd'].map((letter) => Buffer.from(letter.repeat(108)))
  const wanted = [k1, k2, k3] as Buffer[]

  /** A HAProxy with three slots for the file, which answers as the real one does. */
  class Haproxy {
    readonly slots: string[]
    readonly pushed: string[] = []
    /** Lines with pushes. */
    asked = 0
    answer: ((command: string, socket: Socket) => boolean) | undefined
    readonly path: string
    readonly #server: Server

    constructor(t: TestContext, slots: readonly (Buffer | undefined)[]) {
      this.slots = slots.map(String)
      this.path = join(folder, `${t.name.replaceAll(/\W/g, '')}.sock`)
      this.#server = createServer((socket) => {
        socket.on('error', () => {})
        socket.once('data', (bytes: Buffer) => this.#answer(bytes.toString(), socket))
      }).listen(this.path)
      t.after(() => this.#server.close())
    }

    #answer(command: string, socket: Socket): void {
      if (this.answer?.(command, socket) === true) return
      const pushes = [...command.matchAll(/set ssl tls-key \S+ ([^\s;]+)[;\n]/g)]
      if (pushes.length === 0) {
        const shown = this.slots.map((slot, index) => `0.${index} ${slot}\n`).join('')
        socket.end(`# id (file)\n# 0 (${file})\n${shown}\n`)
        return
      }
      this.asked += 1
      for (const [, key = ''] of pushes) {
        this.pushed.push(key)
        this.slots.push(key)
        this.slots.shift()
        socket.write('TLS ticket key updated!\n\n')
      }
      socket.end()
    }
  }

  test('is given only what HAProxy lacks, as often as it is asked', async (t) => {
    const haproxy = new Haproxy(t, [k0, k1, k2])
    const socket = { path: haproxy.path, file, clock: systemClock }
    for (let round = 0; round < 3; round += 1)
      assert.equal(await pushKeys(socket, wanted), undefined)
    assert.deepEqual(haproxy.pushed, [String(k3)])
    assert.deepEqual(haproxy.slots, wanted.map(String))
  })

  test('is given three keys at most, after a restart of HAProxy with an old file', async (t) => {
    const haproxy = new Haproxy(t, [k0, k0, k0])
    assert.equal(
      await pushKeys({ path: haproxy.path, file, clock: systemClock }, wanted),
      undefined,
    )
    assert.deepEqual(haproxy.slots, wanted.map(String))
    assert.equal(haproxy.pushed.length, 3)
    // In one line: what is minted between two pushes may be thrown out by the next.
    assert.equal(haproxy.asked, 1)
  })

  test('that hangs is left after a while', async (t) => {
    const haproxy = new Haproxy(t, [k0, k1, k2])
    let asked = 0
    haproxy.answer = (_, socket) => {
      asked += 1
      t.after(() => socket.destroy())
      return true
    }
    const clock = new FakeClock()
    let failure: TargetFailure | undefined
    void pushKeys({ path: haproxy.path, file, clock }, wanted).then((result) => {
      failure = result
    })
    await until('HAProxy was asked', () => asked > 0)
    clock.advance(3000)
    await until('the push is given up', () => failure !== undefined)
    assert.equal(failure?.reason, 'refused')
    assert.match(failure?.message ?? '', /did not answer within 3000 ms; .* after its next reload/)
    assert.equal(clock.pendingCount, 0)
  })

  test('that has no such file, refuses, floods or is not there is a failure without a key', async (t) => {
    const haproxy = new Haproxy(t, [k0, k1, k2])
    const socket = { path: haproxy.path, file, clock: systemClock }
    const ended = (text: string) => (_: string, connection: Socket) => {
      connection.end(text)
      return true
    }
    const failures = [await pushKeys({ ...socket, file: '/other' }, wanted)]
    haproxy.answer = (command, connection) =>
      command.startsWith('set') && ended('Permission denied\n')(command, connection)
    failures.push(await pushKeys(socket, wanted))
    haproxy.answer = ended('#'.repeat(1024 * 1024 + 1))
    failures.push(await pushKeys(socket, wanted))
    failures.push(await pushKeys({ ...socket, path: join(folder, 'none.sock') }, wanted))
    const expected = [/shows no ticket keys of \/other/, /Permission denied/, /more than/, /ENOENT/]
    for (const [index, pattern] of expected.entries()) {
      assert.equal(failures[index]?.reason, 'refused')
      assert.match(failures[index]?.message ?? '', pattern)
      for (const key of wanted) assert.ok(!failures[index]?.message.includes(String(key)))
    }
  })
})

describe('a Secret of Kubernetes', () => {
  const random = seededBytes('kubernetes')
  const keys = [0, 1, 2].map((index) => ({
    key: TicketKey.generate(random),
    bornMs: (index - 2) * HOUR_MS,
    knownMs: -10 * HOUR_MS,
  }))
  const view = viewOf(keys, 1000, times)
  const written = {
    ...{ kind: 'kubernetes-secret', group: 'www', allow_disk: true },
    ...{ namespace: 'edge', secret: 'tickets', credentials: folder },
  }
  writeFileSync(join(folder, 'token'), 'a-token\n')
  writeFileSync(join(folder, 'ca.crt'), DEMO_CERTIFICATE.cert)

  interface Received {
    readonly method: string | undefined
    readonly url: string | undefined
    readonly headers: IncomingMessage['headers']
    readonly body: string
  }

  /** An API server that keeps what it is sent and answers as `answer` says. */
  async function serve(
    t: TestContext,
    answer: (response: ServerResponse) => void,
    isSecure = false,
  ): Promise<{ readonly url: string; readonly received: Received[] }> {
    const received: Received[] = []
    const onRequest = async (request: IncomingMessage, response: ServerResponse) => {
      let body = ''
      for await (const chunk of request) body += chunk
      const { method, url, headers } = request
      received.push({ method, url, headers, body })
      answer(response)
    }
    const server = isSecure
      ? createHttpsServer(
          DEMO_CERTIFICATE,
          (request, response) => void onRequest(request, response),
        )
      : createHttpServer((request, response) => void onRequest(request, response))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.after(() => {
      server.closeAllConnections()
      server.close()
    })
    const { port } = server.address() as AddressInfo
    const url = isSecure ? `https://localhost:${port}` : `http://127.0.0.1:${port}`
    return { url, received }
  }

  function push(api: string, more: object = {}, clock = systemClock) {
    const settings: TargetSettings = targetSchema.parse({ ...written, api, ...more })
    const target = createTarget(settings, { times, clock })
    const delivery = target.deliver(view, { monotonicMs: 0, wallMs: 0 })
    assert.deepEqual(delivery.files, [])
    return delivery.push?.() ?? Promise.resolve(undefined)
  }

  test('is applied in one call, with the fields that Cilium reads', async (t) => {
    const { url, received } = await serve(t, (response) => response.writeHead(201).end('{}'))
    assert.equal(await push(url), undefined)
    const [call] = received
    assert.equal(call?.method, 'PATCH')
    assert.equal(
      call?.url,
      '/api/v1/namespaces/edge/secrets/tickets?fieldManager=tlscached&force=true',
    )
    assert.equal(call?.headers['content-type'], 'application/apply-patch+yaml')
    assert.equal(call?.headers.authorization, undefined)
    const secret = JSON.parse(call?.body ?? '')
    assert.deepEqual(secret.metadata, { name: 'tickets', namespace: 'edge' })
    const names = ['tls.sessionticket.key', 'tls.sessionticket.key.1', 'tls.sessionticket.key.2']
    assert.deepEqual(Object.keys(secret.data), names)
    const first = Buffer.from(secret.data['tls.sessionticket.key'], 'base64')
    assert.equal(first.length, 80)
    assert.deepEqual(first.subarray(0, 16), view.current?.key.name)
  })

  test('goes over https with the token and the authority of the pod', async (t) => {
    const { url, received } = await serve(t, (response) => response.end('{}'), true)
    assert.equal(await push(url, { format: 'generic' }), undefined)
    assert.equal(received[0]?.headers.authorization, 'Bearer a-token')
    const field = JSON.parse(received[0]?.body ?? '').data['ticket-keys.json']
    assert.equal(JSON.parse(Buffer.from(field, 'base64').toString()).keys.length, 3)
    writeFileSync(join(folder, 'ca.crt'), rootCertificates[0] ?? '')
    const untrusted = await push(url)
    assert.equal(untrusted?.reason, 'refused')
  })

  test('is authorized with the token that is there now, and hangs on no file', async (t) => {
    const { url, received } = await serve(t, (response) => response.end('{}'), true)
    const own = mkdtempSync(join(folder, 'credentials-'))
    writeFileSync(join(own, 'ca.crt'), DEMO_CERTIFICATE.cert)
    for (const token of ['first', 'renewed']) {
      writeFileSync(join(own, 'token'), `${token}\n`)
      assert.equal(await push(url, { credentials: own }), undefined)
    }
    const tokens = received.map(({ headers }) => headers.authorization)
    assert.deepEqual(tokens, ['Bearer first', 'Bearer renewed'])
    // A FIFO without a writer would be read for ever.
    rmSync(join(own, 'token'))
    assert.equal(spawnSync('mkfifo', [join(own, 'token')]).status, 0)
    assert.match((await push(url, { credentials: own }))?.message ?? '', /not a regular file/)
    rmSync(join(own, 'token'))
    assert.match((await push(url, { credentials: own }))?.message ?? '', /ENOENT.*token/)
    assert.equal(received.length, 2)
  })

  test('is not sent back: the answer is asked to leave the data out', async (t) => {
    const { url, received } = await serve(t, (response) => response.end('{}'))
    assert.equal(await push(url), undefined)
    const [first] = received[0]?.headers.accept?.split(', ') ?? []
    assert.equal(first, 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1')
  })

  test('that is refused is a failure, and what the server repeats is not shown', async (t) => {
    let status = 403
    const { url } = await serve(t, (response) => {
      response.writeHead(status).end('{"kind":"Status","reason":"Forbidden","message":"key AAAA"}')
    })
    const forbidden = await push(url)
    assert.equal(forbidden?.reason, 'permission')
    assert.match(forbidden?.message ?? '', /Secret edge\/tickets at http.*status 403, Forbidden$/)
    status = 401
    assert.equal((await push(url))?.reason, 'permission')
    status = 500
    assert.equal((await push(url))?.reason, 'refused')
    // Somebody else creates the Secret in the same moment: tried again by the runner, as every failure is.
    status = 409
    const conflict = await push(url)
    assert.deepEqual(
      [conflict?.reason, conflict?.message.split(': ').at(-1)],
      ['refused', 'status 409, Forbidden'],
    )
    const closed = await push('http://127.0.0.1:1')
    assert.match(closed?.message ?? '', /ECONNREFUSED/)
  })

  test('is a failure without a reason when the answer has none, or one that is no word', async (t) => {
    const answers = [
      '',
      'not JSON',
      '{"reason"',
      '{"reason":"',
      '{"reason":"AAAA AAAA"}',
      `{"reason":"${'A'.repeat(41)}"}`,
      'x'.repeat(70_000),
    ]
    let answer = ''
    const { url } = await serve(t, (response) => {
      response.writeHead(422).end(answer)
    })
    for (answer of answers) {
      assert.match((await push(url))?.message ?? '', /status 422$/, answer.slice(0, 20))
    }
    answer = '{ "kind": "Status", "reason" : "Invalid" }'
    assert.match((await push(url))?.message ?? '', /status 422, Invalid$/)
  })

  for (const [what, begins] of [
    ['whose answer begins and never ends', true],
    ['that is not answered', false],
  ] as const) {
    test(`${what} is given up after 10 s`, async (t) => {
      const clock = new FakeClock()
      let asked = 0
      const { url } = await serve(t, (response) => {
        if (begins) response.writeHead(200).write('{')
        asked += 1
      })
      let failure: TargetFailure | undefined
      void push(url, {}, clock).then((result) => {
        failure = result
      })
      await until('the server was asked', () => asked > 0)
      clock.advance(10_000)
      await until('the call is given up', () => failure !== undefined)
      assert.match(failure?.message ?? '', /no answer within 10000 ms/)
      assert.equal(clock.pendingCount, 0)
    })
  }
})

test('the targets of a node are given their keys, with a probe and without one', async () => {
  const clock = new FakeClock()
  const groups = [{ name: 'www', times }]
  const random = seededBytes('targets')
  const authority = new TicketAuthority({ groups, nodeId: Buffer.from('n'), clock, random })
  const targets = ['a', 'b'].map((name) =>
    targetSchema.parse({
      ...{ kind: 'file', group: 'www', name, file: join(folder, name), allow_disk: true },
      ...(name === 'b' && { probe: { address: '127.0.0.1:1' } }),
    }),
  )
  const world = { clock, logger: silentLogger }
  const given = new TicketTargets({ targets, authority, world })
  const started = given.start()
  authority.mayMake()
  await started
  for (const { name, problem, lastSuccessMs } of given.reports()) {
    assert.deepEqual([problem, lastSuccessMs], [undefined, clock.wallMs()])
    assert.equal(readFileSync(join(folder, name)).length, 80)
  }
  await given.stop()
  authority.stop()
  assert.equal(clock.pendingCount, 0)
})

test('contradictions between targets name the target and the setting', () => {
  const targets = [
    { kind: 'nginx', group: 'www', dir: '/run/a' },
    { kind: 'nginx', group: 'www', dir: '/run/b' },
    { kind: 'h2o', group: 'ww', file: '/run/c' },
    { kind: 'apache', group: 'www', file: '/run/d' },
    {
      kind: 'kubernetes-secret',
      group: 'www',
      namespace: 'a',
      secret: 'b',
      api: 'http://10.0.0.1',
    },
    { kind: 'haproxy', group: 'www', file: '/run/e', socket: '/run/f', reload: ['x'] },
  ].map((one) => targetSchema.parse(one))
  const problems = findTargetProblems(targets, ['www'])
  assert.deepEqual(
    problems.map(({ index, setting }) => [index, setting]),
    [
      [1, 'name'],
      [2, 'group'],
      [3, 'insecure'],
      [4, 'allow_disk'],
      [4, 'api'],
      [5, 'reload'],
    ],
  )
})
