// A hung event loop ends: the watchdog kills the process, so that whoever waits for it gets a closed connection. A process
// that was stopped and goes on is not killed for it.

import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ask } from '../support/http.ts'
import { until } from '../support/latch.ts'
import { StreamClient } from '../support/stream-client.ts'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const START_FAILSAFE_MS = 60_000
const STOPPED_MS = 2000
/** The event loop makes no further turn after SIGUSR2. */
const HANG = ['--import', 'data:text/javascript,process.on("SIGUSR2",()=>{for(;;);})']

const folder = mkdtempSync(join(tmpdir(), 'tlscached-watchdog-'))
after(() => rmSync(folder, { recursive: true }))

async function start(
  name: string,
  wrapper: readonly string[] = [],
  variables: Readonly<Record<string, string>> = {},
) {
  const http = { path: join(folder, `${name}.sock`) }
  const memcached = { path: join(folder, `${name}-memcached.sock`) }
  const file = join(folder, `${name}.json`)
  const frontends = { http: `unix:${http.path}`, memcached: `unix:${memcached.path}` }
  writeFileSync(file, JSON.stringify({ node: { name, watchdog: '500ms' }, frontends }))
  const [command = '', ...args] = [...wrapper, process.execPath, ...HANG, MAIN, 'serve', file]
  const env = { ...process.env, ...variables }
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'], env })
  let log = ''
  child.stderr.on('data', (chunk: Buffer) => {
    log += chunk.toString()
  })
  const isUp = () =>
    ask(http, { path: '/healthz' }).then(
      () => true,
      () => false,
    )
  await until(`${name} answers`, isUp, START_FAILSAFE_MS)
  return { child, http, memcached, log: () => log }
}

async function end(child: ChildProcess): Promise<unknown[]> {
  return child.exitCode === null && child.signalCode === null
    ? once(child, 'close')
    : [child.exitCode, child.signalCode]
}

test('a hung event loop: the process is killed, says why, and its clients are let go', async () => {
  const { child, memcached, log } = await start('hung')
  const client = await StreamClient.connect(memcached)
  client.send('get nothing\r\n')
  await client.until('END\r\n')
  child.kill('SIGUSR2')
  client.send('get nothing\r\n')
  await client.closed
  assert.deepEqual(await end(child), [null, 'SIGKILL'])
  const last = JSON.parse(log().trimEnd().split('\n').at(-1) ?? '')
  assert.match(last.msg, /the event loop hangs/)
  assert.deepEqual([last.level, last.timeoutMs], ['error', 500])
})

test('kills are counted where systemd keeps a folder, and the next process shows them', async () => {
  const variables = { RUNTIME_DIRECTORY: `${folder}:/other` }
  for (const kills of [0, 1, 2]) {
    const { child, http } = await start('counted', [], variables)
    const { body } = await ask(http, { path: '/metrics' })
    assert.match(body.toString(), new RegExp(`^tlscached_watchdog_kills_total ${kills}$`, 'm'))
    child.kill(kills === 2 ? 'SIGTERM' : 'SIGUSR2')
    await end(child)
  }
  // A clean end counts nothing; a folder that cannot be read is no reason not to start.
  assert.equal(readFileSync(join(folder, 'watchdog-kills'), 'utf8'), '2\n')
  writeFileSync(join(folder, 'watchdog-kills'), 'nonsense')
  const { child, http } = await start('counted', [], variables)
  const { body } = await ask(http, { path: '/metrics' })
  assert.match(body.toString(), /^tlscached_watchdog_kills_total 0$/m)
  child.kill('SIGTERM')
  await end(child)
})

test('work that is known to be long may take longer than the timeout, and a hang after it ends', async () => {
  const dist = new URL('../../dist/base/', import.meta.url).href
  const program = `
    const { startWatchdog } = await import('${dist}watchdog.js')
    const { OutputThread } = await import('${dist}output-thread.js')
    const log = { level: 'error', format: 'json', node: 'busy' }
    const longWork = startWatchdog({ timeoutMs: 500, output: new OutputThread(), log })
    const busyUntil = (endMs) => { while (performance.now() < endMs); }
    setTimeout(() => {
      longWork(() => busyUntil(performance.now() + ${STOPPED_MS}))
      process.stdout.write('done')
      setTimeout(() => busyUntil(Infinity), 200)
    }, 200)`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  let said = ''
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  assert.deepEqual([await end(child), said], [[null, 'SIGKILL'], 'done'])
})

test('a process that was stopped for longer, and goes on, is not killed', async () => {
  const { child, http } = await start('stopped')
  child.kill('SIGSTOP')
  // Time that only this test sees pass: four times what the watchdog allows.
  await new Promise((resolve) => setTimeout(resolve, STOPPED_MS))
  child.kill('SIGCONT')
  for (let count = 0; count < 10; count += 1) await ask(http, { path: '/healthz' })
  child.kill('SIGTERM')
  assert.deepEqual(await end(child), [0, null])
})

test('the first process of a container, which gets no SIGKILL of its own, ends too', {
  skip: whyNoProcessNamespaces(),
}, async () => {
  const { child } = await start('first', ['unshare', '--pid', '--fork'])
  const unshare = child.pid ?? 0
  const first = readFileSync(`/proc/${unshare}/task/${unshare}/children`, 'utf8')
  process.kill(Number(first), 'SIGUSR2')
  assert.deepEqual(await end(child), [1, null])
})

function whyNoProcessNamespaces(): string | false {
  try {
    execFileSync('unshare', ['--pid', '--fork', 'true'], { stdio: 'pipe' })
    return false
  } catch (error) {
    if (process.env['REQUIRE_ALL_TESTS'] !== undefined) throw error
    return 'process namespaces cannot be made here: needs root and unshare'
  }
}
