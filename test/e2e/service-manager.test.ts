// What systemd is told, by a receiver in its place: a datagram socket of the unix kind, which Node.js does not have.

import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { until } from '../support/latch.ts'
import { whyWithout } from '../support/programs.ts'

const UNITS = fileURLToPath(new URL('../../deploy/systemd', import.meta.url))
const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const FAILSAFE_MS = 60_000
/** Prints each message on a line of its own, its variables with blanks between. */
const RECEIVER = `
use Socket; $| = 1;
socket(my $socket, PF_UNIX, SOCK_DGRAM, 0) or die $!;
bind($socket, sockaddr_un($ARGV[0])) or die $!;
print "bound\\n";
while (defined recv($socket, my $message, 4096, 0)) { $message =~ s/\\n/ /g; print "$message\\n" }
`

const folder = mkdtempSync(join(tmpdir(), 'tlscached-notify-'))
after(() => rmSync(folder, { recursive: true }))
const skip = whyWithout('systemd-notify') || whyWithout('perl')

async function receive(path: string): Promise<{ child: ChildProcess; messages: string[] }> {
  const child = spawn('perl', ['-e', RECEIVER, path], { stdio: ['ignore', 'pipe', 'inherit'] })
  const messages: string[] = []
  createInterface({ input: child.stdout }).on('line', (line) => messages.push(line))
  await until('the receiver is there', () => messages.includes('bound'))
  return { child, messages }
}

test('systemd is told of the start, of life, of a reload and of the end', { skip }, async () => {
  const path = join(folder, 'notify')
  const { child: receiver, messages } = await receive(path)
  const args = ['serve', '--frontends-http', '127.0.0.1:0', '--log-level', 'error']
  const env = { ...process.env, NOTIFY_SOCKET: path, WATCHDOG_USEC: '400000' }
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: 'ignore', env })
  const ended = once(child, 'exit')
  const told = (pattern: RegExp) =>
    until(String(pattern), () => messages.some((line) => pattern.test(line)), FAILSAFE_MS)
  try {
    await told(/^READY=1 STATUS=no replication/)
    await told(/^WATCHDOG=1/)
    const readyBefore = messages.filter((line) => line.startsWith('READY=1')).length
    child.kill('SIGHUP')
    await told(/^RELOADING=1 MONOTONIC_USEC=\d{4,}/)
    await until('it is ready again', () => {
      return messages.filter((line) => line.startsWith('READY=1')).length > readyBefore
    })
    child.kill('SIGTERM')
    await told(/^STOPPING=1/)
    assert.deepEqual(await ended, [0, null])
  } finally {
    child.kill('SIGKILL')
    receiver.kill('SIGKILL')
  }
})

test('systemd understands every line of the units', { skip: whyWithout('systemd-analyze') }, () => {
  const units = readdirSync(UNITS).filter((name) => /\.(service|path)$/.test(name))
  assert.ok(units.length >= 3)
  const copies = units.map((name) => {
    // Commands have to be there; the rest of the unit stays as it is.
    const text = readFileSync(join(UNITS, name), 'utf8')
    const copy = join(folder, name)
    writeFileSync(
      copy,
      text.replace(/^(Exec(?:Start|Reload)=)\S*tlscached\S*/gm, `$1${process.execPath}`),
    )
    return copy
  })
  const verify = (paths: string[]) => {
    const args = ['verify', '--man=no', ...paths]
    const { status, stderr } = spawnSync('systemd-analyze', args, { encoding: 'utf8' })
    return [status, stderr.trim()]
  }
  assert.deepEqual(verify(copies), [0, ''])
  // It only warns about a line that it does not know.
  const first = copies.find((path) => path.endsWith('.service')) ?? ''
  appendFileSync(first, '[Service]\nNoNewPrivilege=yes\n')
  assert.match(String(verify(copies)[1]), /Unknown key/)
})
