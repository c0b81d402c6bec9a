// A live uWSGI node whose Python API a test calls over HTTP, and whose caches it can ask over TCP.

import { type ChildProcess, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Address } from '../../src/base/address.ts'
import { ask } from './http.ts'
import { until } from './latch.ts'

export const UWSGI = 'uwsgi_python3'

/** Each request is a list of calls, `[name, argument..]`; bytes are written `hex:..` in both directions. */
const APPLICATION = `
import json, uwsgi

def to_argument(value):
    is_bytes = isinstance(value, str) and value.startswith('hex:')
    return bytes.fromhex(value[4:]) if is_bytes else value

def to_answer(value):
    return 'hex:' + value.hex() if isinstance(value, bytes) else value

def application(environ, start_response):
    length = int(environ.get('CONTENT_LENGTH') or 0)
    calls = json.loads(environ['wsgi.input'].read(length) or '[]')
    answers = [to_answer(getattr(uwsgi, call[0])(*map(to_argument, call[1:]))) for call in calls]
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps(answers).encode()]
`

export type UwsgiCall = readonly [name: string, ...values: (string | number | Buffer)[]]

export interface LiveUwsgi {
  readonly child: ChildProcess
  /** Calls functions of the module \`uwsgi\`, in order. */
  call(...calls: readonly UwsgiCall[]): Promise<unknown[]>
}

export type Launcher = (command: string, args: readonly string[]) => ChildProcess

const launchHere: Launcher = (command, args) => spawn(command, args, { stdio: 'ignore' })

/** Starts a node with one cache named ssl and waits until it answers. `lines` are further options. */
export async function startUwsgi(
  folder: string,
  name: string,
  lines: readonly string[],
  launch = launchHere,
): Promise<LiveUwsgi> {
  const http: Address = { path: join(folder, `${name}.http`) }
  const application = join(folder, `${name}.py`)
  const file = join(folder, `${name}.ini`)
  writeFileSync(application, APPLICATION)
  const ini = [
    '[uwsgi]',
    'plugins = python3,cache',
    'master = true',
    'cache-expire-freq = 1',
    `http-socket = ${http.path}`,
    'buffer-size = 65535',
    `wsgi-file = ${application}`,
    ...lines,
  ]
  writeFileSync(file, `${ini.join('\n')}\n`)
  const child = launch(UWSGI, ['--ini', file])
  const send = (calls: readonly UwsgiCall[]) =>
    ask(http, { method: 'POST', path: '/', body: Buffer.from(JSON.stringify(calls, toHex)) })
  await until(`${name} answers`, async () => {
    if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}`)
    const answer = await send([]).catch(() => undefined)
    return answer?.status === 200
  })
  return {
    child,
    async call(...calls) {
      const { body } = await send(calls)
      const answers: unknown = JSON.parse(body.toString())
      if (!Array.isArray(answers)) throw new Error('no list of answers')
      return answers.map(fromHex)
    },
  }
}

/** SIGTERM reloads a uWSGI, SIGINT ends it. */
export async function stopUwsgi({ child }: LiveUwsgi): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGINT')
  await ended
}

/** A Buffer has become an object by the time a replacer sees it. */
function toHex(_key: string, value: unknown): unknown {
  const isBuffer = typeof value === 'object' && value !== null && 'type' in value && 'data' in value
  if (!isBuffer || value.type !== 'Buffer' || !Array.isArray(value.data)) return value
  return `hex:${Buffer.from(value.data).toString('hex')}`
}

function fromHex(value: unknown): unknown {
  if (typeof value !== 'string' || !value.startsWith('hex:')) return value
  return Buffer.from(value.slice('hex:'.length), 'hex')
}
