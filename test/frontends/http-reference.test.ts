// proto/HTTP.md says what the HTTP frontend does: every route, parameter, field and error, and commands that work.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import type { FastifyInstance } from 'fastify'
import { formatAddress, type HostAddress } from '../../src/base/address.ts'
import { ERROR_CODES } from '../../src/base/errors.ts'
import {
  answerNoHttp,
  faultOfRefusal,
  REFUSAL_CODES,
  STATUS_OF,
} from '../../src/frontends/http/error-replies.ts'
import { HttpFrontend } from '../../src/frontends/http/frontend.ts'
import { MAX_STREAMS } from '../../src/frontends/http/live.ts'
import type { SessionHooks } from '../../src/hooks/hooks.ts'
import type { RefusalReason } from '../../src/store/stats.ts'
import { ask } from '../support/http.ts'
import { Backend, clock, codeIn, LIMITS, PATH, SESSION, setUp } from '../support/http-app.ts'
import { openLiveStream } from '../support/live-stream.ts'
import { whyWithout } from '../support/programs.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

const PAGE = readFileSync(new URL('../../proto/HTTP.md', import.meta.url), 'utf8')
const METHODS = ['GET', 'HEAD', 'PUT', 'POST', 'PATCH', 'DELETE', 'OPTIONS'] as const

/** Paths of an app, from the tree that fastify prints: four characters of indentation a level. */
async function pathsOf(app: FastifyInstance): Promise<string[]> {
  await app.ready()
  const above: string[] = []
  const lines = app.printRoutes({ commonPrefix: false }).split('\n')
  return lines.flatMap((line) => {
    const [, indent = '', segment] = /^([│ ]*)[├└]── (\S+) \(/.exec(line) ?? []
    if (segment === undefined) return []
    const level = indent.length / 4
    above[level] = `${above[level - 1] ?? ''}${segment}`
    return [above[level] ?? '']
  })
}

/** `status code` of every row of the table of errors. */
function documentedErrors(): string[] {
  const rows = [...PAGE.matchAll(/^\| (\d{3}) +\| `(ERR_\w+)`/gm)]
  return rows.map(([, status, code]) => `${status} ${code}`)
}

/** The error that a PUT is answered with when the hooks of the cache put like this. */
async function errorOfPut(put: SessionHooks['put']): Promise<string> {
  const backend = new Backend([LIMITS])
  for (const cache of backend.caches.values()) {
    Object.assign(cache, { hooks: { get: () => undefined, put, remove: () => false } })
  }
  const listen = { host: '127.0.0.1', port: 0 }
  const logger = new RecordingLogger()
  const app = new HttpFrontend({ listen, isInsecure: false, backend, clock, logger }).createApp()
  const { statusCode, body } = await app.inject({ method: 'PUT', url: PATH, payload: SESSION })
  await app.close()
  return `${statusCode} ${codeIn(JSON.parse(body))}`
}

const REASONS = Object.keys(REFUSAL_CODES) as RefusalReason[]

/** The answer when as many live streams are open as may be. */
async function errorOfFullStreams(): Promise<string> {
  const frontend = new HttpFrontend({
    listen: { host: '127.0.0.1', port: 0 },
    isInsecure: false,
    backend: new Backend([LIMITS]),
    clock,
    logger: new RecordingLogger(),
  })
  await frontend.start()
  const address = frontend.address as HostAddress
  const streams = await Promise.all(
    Array.from({ length: MAX_STREAMS }, () => openLiveStream(address)),
  )
  const { status, body } = await ask(address, { path: '/v1/cluster/live' })
  for (const stream of streams) stream.close()
  await frontend.stop()
  return `${status} ${codeIn(JSON.parse(body.toString()))}`
}

/** The answer on a connection whose bytes Node.js could not take as a request, for the code of its error. */
function errorOfConnection(code: string): string {
  const socket = new Socket()
  let answer = ''
  Object.defineProperty(socket, 'writable', { value: true })
  Object.defineProperty(socket, 'end', { value: (text: string) => (answer = text) })
  answerNoHttp(Object.assign(new Error('wrong'), { code }), socket)
  const [, status = '', json = ''] = /^HTTP\/1\.1 (\d+) [\s\S]*\r\n\r\n(.*)$/.exec(answer) ?? []
  return `${status} ${codeIn(JSON.parse(json))}`
}

test('every route has a heading, and no other', async () => {
  const { app } = setUp()
  const served: string[] = []
  for (const path of await pathsOf(app)) {
    const url = path.replace(':cache', 'ssl').replace(':id', 'a1b2')
    // The answer to a GET of a live stream does not end.
    const known = path.endsWith('/live') ? METHODS.filter((one) => one !== 'GET') : METHODS
    if (path.endsWith('/live')) served.push(`GET ${path}`)
    const answers = await Promise.all(known.map((method) => app.inject({ method, url })))
    served.push(
      ...known.filter((_, at) => answers[at]?.statusCode !== 405).map((one) => `${one} ${path}`),
    )
  }
  const headings = [...PAGE.matchAll(/^### `([A-Z]+) (\/\S*)`$/gm)]
  const documented = headings.flatMap(([, method, path]) =>
    // The page says it once for all of them.
    method === 'GET' && !path?.includes('/sessions/') && !path?.endsWith('/live')
      ? [`GET ${path}`, `HEAD ${path}`]
      : [`${method} ${path}`],
  )
  assert.ok(served.length > 10)
  assert.deepEqual(served.sort(), documented.sort())
})

test('every field of an answer is explained', async () => {
  const { send } = setUp()
  const names = new Set<string>()
  const collect = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    for (const [name, inner] of Object.entries(value)) {
      if (!Array.isArray(value)) names.add(name)
      collect(inner)
    }
  }
  for (const path of ['/v1/caches', '/v1/caches/ssl', '/v1/peers', '/v1/cluster']) {
    collect((await send('GET', path)).json)
  }
  assert.ok(names.size > 40)
  assert.deepEqual(
    [...names].filter((name) => !PAGE.includes(`\`${name}\``)),
    [],
  )
})

test('every parameter is explained, and none that does not exist', async () => {
  const { send } = setUp()
  const rows = [...PAGE.matchAll(/^\| `(\w+)` +\| (GET|PUT)([A-Z, ]*)\|/gm)]
  const documented = rows.map(([, name]) => name).sort()
  const { json } = await send('PUT', `${PATH}?nobody_knows=1`, SESSION)
  const [, known = ''] = /known are (.*)"/.exec(JSON.stringify(json)) ?? []
  assert.deepEqual(documented, known.split(', ').sort())
})

test('every error code is in the table with its status, or said not to be answered', () => {
  const documented = documentedErrors()
  const answered = new Set(documented.map((row) => row.split(' ')[1] ?? ''))
  const [, others = ''] = /never answered over HTTP;([\s\S]*?)\.\n/.exec(PAGE) ?? []
  const never = [...others.matchAll(/`(ERR_\w+)`/g)].map(([, code = '']) => code)
  assert.deepEqual([...answered, ...never].sort(), Object.keys(ERROR_CODES).sort())
  const fixed = [
    ...REASONS.map(faultOfRefusal).map(({ status, code }) => `${status} ${code}`),
    ...Object.entries(STATUS_OF).map(([code, status]) => `${status} ${code}`),
  ]
  for (const row of fixed) assert.ok(documented.includes(row), row)
})

test('every row of the table of errors is what is answered, and nothing else is', async () => {
  const { app, send } = setUp()
  const exposed = setUp([LIMITS], '0.0.0.0')
  const long = 'x'.repeat(33)
  const answers = [
    await send('GET', `${PATH}?unknown=1`),
    await send('GET', '/v1/caches/ssl/sessions/a1b'),
    await send('PUT', `${PATH}?ttl=0`, SESSION),
    await send('PUT', PATH),
    await send('PUT', `${PATH}?context=${long}`, SESSION),
    await exposed.send('GET', PATH),
    await send('GET', PATH),
    await send('GET', '/v1/caches/other'),
    await send('GET', '/v1/tickets/other'),
    await send('GET', '/other'),
    await send('POST', PATH),
  ].map(({ status, json }) => `${status} ${codeIn(json)}`)
  const foreign = await app.inject({ url: '/healthz', headers: { origin: 'http://mail.example' } })
  answers.push(
    `${foreign.statusCode} ${codeIn(foreign.json())}`,
    errorOfConnection('HPE_INVALID_METHOD'),
    errorOfConnection('ERR_HTTP_REQUEST_TIMEOUT'),
    await errorOfFullStreams(),
    await errorOfPut(() => {
      throw new Error('a bug')
    }),
  )
  for (const reason of REASONS) {
    answers.push(await errorOfPut(() => reason))
  }
  assert.deepEqual([...new Set(answers)].sort(), documentedErrors().sort())
})

test('the commands do what the page says', { skip: whyWithout('curl') }, async () => {
  const logger = new RecordingLogger()
  const backend = new Backend([LIMITS])
  const listen = { host: '127.0.0.1', port: 0 }
  const frontend = new HttpFrontend({ listen, isInsecure: false, backend, clock, logger })
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-http-'))
  await frontend.start()
  try {
    writeFileSync(join(folder, 'session.der'), SESSION)
    const commands = [...PAGE.matchAll(/^(curl .*\S) # (\d{3})$/gm)]
    assert.ok(commands.length >= 10)
    for (const [, command = '', status] of commands) {
      assert.ok(command.includes('127.0.0.1:5080'), command)
      const here = command.replace('127.0.0.1:5080', formatAddress(frontend.address))
      const line = `${here} --silent --show-error --write-out '\\n%{http_code}'`
      const { stdout } = await promisify(execFile)('sh', ['-c', line], { cwd: folder })
      assert.equal(stdout.split('\n').at(-1), status, command)
    }
    assert.deepEqual(readFileSync(join(folder, 'found.der')), SESSION)
    const scripts = [...PAGE.matchAll(/^```sh\n([\s\S]*?)^```$/gm)]
    const lines = scripts.flatMap(([, script = '']) => script.trimEnd().split('\n'))
    assert.equal(lines.length, commands.length, 'a command without its status')
  } finally {
    await frontend.stop()
    rmSync(folder, { recursive: true })
  }
})
