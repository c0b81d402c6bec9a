// A log that nobody takes: its reader has stopped, its disk is full, its descriptor is closed. It costs lines of the log,
// which are counted, and nothing else: gets and puts go on, health is told, and SIGTERM ends the process.

import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, type StdioOptions, spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { systemRandom } from '../../src/base/world.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import { freePorts } from '../support/free-ports.ts'
import { ask } from '../support/http.ts'
import { until } from '../support/latch.ts'
import { whyWithout } from '../support/programs.ts'
import { StreamClient } from '../support/stream-client.ts'

/** The built program, because tsx would also open the standard streams of the process. */
const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const LOOPBACK = '127.0.0.1'
const START_FAILSAFE_MS = 60_000
const END_FAILSAFE_MS = 20_000
/** Lines of 1,000 bytes: more than a pipe, a socket and the queue hold together. */
const MANY_LINES = 3000
/** More than a pipe or a socket holds, and less than the queue. */
const SOME_LINES = 500

const folder = mkdtempSync(join(tmpdir(), 'tlscached-log-'))
after(() => rmSync(folder, { recursive: true }))

/** Has the program log so many lines at SIGUSR2, by way of warnings of Node.js. */
function noise(lines: number): readonly string[] {
  const script = `process.on("SIGUSR2", () => {
    for (let line = 0; line < ${lines}; line += 1) process.emitWarning("x".repeat(1000))
  })`
  return ['--import', `data:text/javascript,${encodeURIComponent(script)}`]
}

interface Started {
  /** What was started here: the program itself, or one that runs it. */
  readonly child: ChildProcess
  /** Process ID of the program, asked for once it runs. */
  readonly pid: () => number
  /** Takes away what held up the log, after the program was told to stop. */
  readonly release?: () => void
}

interface Kind {
  readonly name: string
  readonly skip?: string | false
  /** Whether lines get lost. */
  readonly isLossy: boolean
  /** How the process ends, as its parent sees it; 0 where that is left out. A thread that hangs costs the exit code. */
  readonly end?: readonly [number | null, NodeJS.Signals | null]
  readonly start: (args: readonly string[]) => Started
}

function start(args: readonly string[], stdio: StdioOptions): Started {
  const child = spawn(process.execPath, args, { stdio })
  return { child, pid: () => child.pid ?? 0 }
}

/** Through a shell that changes what standard error is, and is then replaced by the program. */
function startInShell(script: string, args: readonly string[], wrapper: string[] = []): Started {
  const whole = [...wrapper, 'sh', '-c', `${script}`, 'sh', process.execPath, ...args]
  const [command = '', ...rest] = whole
  const child = spawn(command, rest, { stdio: 'ignore' })
  return { child, pid: () => child.pid ?? 0 }
}

/** A pipe that is full already, so that the first line waits. */
function startOnFullPipe(args: readonly string[]): Started {
  const pipe = join(folder, 'pipe')
  execFileSync('mkfifo', [pipe])
  const filling = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK)
  for (const chunk of [Buffer.alloc(4096), Buffer.alloc(1)]) {
    try {
      for (;;) writeSync(filling, chunk)
    } catch {
      // It takes no more.
    }
  }
  const blocking = openSync(pipe, 'r+')
  const started = start(args, ['ignore', blocking, blocking])
  closeSync(blocking)
  return started
}

/** A terminal whose program, `script`, is stopped once there is something to read. */
function startOnTerminal(args: readonly string[]): Started {
  const command = [process.execPath, ...args].map((part) => `'${part}'`).join(' ')
  const child = spawn('script', ['-qefc', `exec ${command}`, '/dev/null'], { stdio: 'ignore' })
  const terminal = child.pid ?? 0
  const pid = () => {
    const children = readFileSync(`/proc/${terminal}/task/${terminal}/children`, 'utf8')
    const [found = Number.NaN] = children.trim().split(' ').map(Number)
    child.kill('SIGSTOP')
    return found
  }
  return { child, pid, release: () => void child.kill('SIGCONT') }
}

const KINDS: readonly Kind[] = [
  {
    name: 'a pipe whose reader has stopped',
    isLossy: true,
    end: [null, 'SIGTERM'],
    start: startOnFullPipe,
  },
  {
    name: 'a stream socket whose reader has stopped',
    isLossy: true,
    end: [null, 'SIGTERM'],
    // What Node.js calls a pipe to a child is a pair of sockets.
    start: (args) => start(args, ['ignore', 'pipe', 'pipe']),
  },
  {
    name: 'a terminal whose program has stopped',
    skip: whyWithout('script'),
    isLossy: true,
    // So `script` tells of a program that SIGTERM ended.
    end: [143, null],
    start: startOnTerminal,
  },
  {
    name: 'a full disk',
    skip: whyNoMounts(),
    isLossy: true,
    start: (args) => {
      const mounted = `mount -t tmpfs -o size=16k none ${folder}/disk && cd ${folder}/disk`
      const script = `mkdir -p ${folder}/disk && ${mounted} && exec "$@" >>log 2>&1`
      return startInShell(script, args, ['unshare', '--mount'])
    },
  },
  {
    name: '/dev/full',
    isLossy: true,
    start: (args) => startInShell('exec "$@" >/dev/full 2>&1', args),
  },
  {
    // Node.js opens /dev/null in its place.
    name: 'a closed descriptor',
    isLossy: false,
    start: (args) => startInShell('exec "$@" >&- 2>&-', args),
  },
]

describe('a log that nobody takes costs lines of the log only', () => {
  for (const [index, kind] of KINDS.entries()) {
    const { name, skip = false, isLossy, end = [0, null], start: startOn } = kind
    test(name, { skip }, async () => {
      const http = { path: join(folder, `${index}.sock`) }
      const [memcached = 0, replication = 0] = await freePorts(2)
      const file = join(folder, `${index}.json`)
      const config = {
        node: { name: `node-${index}` },
        replication: {
          listen: `${LOOPBACK}:${replication}`,
          keys: [generateKey(systemRandom)],
        },
        frontends: { http: `unix:${http.path}`, memcached: `${LOOPBACK}:${memcached}` },
      }
      writeFileSync(file, JSON.stringify(config))
      const args = [
        ...noise(isLossy ? MANY_LINES : SOME_LINES),
        MAIN,
        'serve',
        '--config',
        file,
        '--json',
      ]
      const { child, pid, release } = startOn(args)
      const ended = once(child, 'exit')
      const health = async () => (await ask(http, { path: '/healthz' })).status
      try {
        const isUp = () => health().catch(() => 0)
        await until('the node answers', async () => (await isUp()) === 200, START_FAILSAFE_MS)
        const program = pid()
        const flagsBefore = flagsOf(program)
        process.kill(program, 'SIGUSR2')
        await sendForged(replication)
        const client = await StreamClient.connect({ host: LOOPBACK, port: memcached })
        for (let count = 0; count < 100; count += 1) {
          client.send(`set key-${count} 0 60 5\r\nvalue\r\nget key-${count}\r\n`)
          const answer = await client.until('END\r\n')
          assert.equal(answer, `STORED\r\nVALUE key-${count} 0 5\r\nvalue\r\nEND\r\n`)
        }
        client.close()
        assert.equal(await health(), 200)
        const metrics = (await ask(http, { path: '/metrics' })).body.toString()
        const [, dropped = 'none'] =
          /^tlscached_log_lines_dropped_total (\d+)$/m.exec(metrics) ?? []
        assert.equal(Number(dropped) > 0, isLossy, `${dropped} lines were dropped`)
        assert.match(metrics, /dropped_total\{reason="(malformed|unauthenticated)"\} [1-9]/)
        // No descriptor that others share was made non-blocking.
        assert.deepEqual(flagsOf(program), flagsBefore)
        assert.ok(flagsBefore.every((flags) => (flags & constants.O_NONBLOCK) === 0))
        process.kill(program, 'SIGTERM')
        await until('the program has ended', () => !isRunning(program), END_FAILSAFE_MS)
        release?.()
        assert.deepEqual(await ended, end)
      } finally {
        release?.()
        child.kill('SIGKILL')
      }
    })
  }
})

test('lines of the end arrive where the reader only sleeps for a moment', async () => {
  const file = join(folder, 'slow.json')
  writeFileSync(file, JSON.stringify({ frontends: { http: `unix:${join(folder, 'slow.sock')}` } }))
  const args = [...noise(SOME_LINES), MAIN, 'serve', '--config', file]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = once(child, 'close')
  await once(child.stdout, 'data')
  child.kill('SIGUSR2')
  child.kill('SIGTERM')
  // A second of grace begins at the end of the program; the reader comes while it is waited for.
  await until('the socket is gone', () => !isThere(join(folder, 'slow.sock')))
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  assert.deepEqual(await ended, [0, null])
  const last = said.trimEnd().split('\n').at(-1) ?? ''
  assert.ok(said.includes('"msg":"stopping"'), last)
  for (const line of said.trimEnd().split('\n')) assert.ok('level' in JSON.parse(line))
})

/** A hundred datagrams of 100 bytes that no key sealed. */
async function sendForged(port: number): Promise<void> {
  const socket = createSocket('udp4')
  for (let count = 0; count < 100; count += 1) socket.send(systemRandom(100), port, LOOPBACK)
  await new Promise<void>((resolve) =>
    socket.send(systemRandom(100), port, LOOPBACK, () => resolve()),
  )
  socket.close()
}

/** Status flags of standard output and standard error of a process. */
function flagsOf(pid: number): number[] {
  return [1, 2].map((descriptor) => {
    const info = readFileSync(`/proc/${pid}/fdinfo/${descriptor}`, 'utf8')
    return Number.parseInt(/^flags:\s+(\d+)$/m.exec(info)?.[1] ?? '', 8)
  })
}

/** A process that has ended and was not waited for counts as ended. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

function isThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined
}

function whyNoMounts(): string | false {
  try {
    execFileSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'none', tmpdir()], {
      stdio: 'pipe',
    })
    return false
  } catch (error) {
    if (process.env['REQUIRE_ALL_TESTS'] !== undefined) throw error
    return 'file systems cannot be mounted here: needs root and unshare'
  }
}
