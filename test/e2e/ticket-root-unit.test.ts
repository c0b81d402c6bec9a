// The root unit of deploy/systemd that takes ticket keys over from a node without privileges: it takes nothing but keys,
// whatever the node's user puts there, and the terminator keeps what it has when something is wrong.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { keyBytes, nginxKey } from '../../src/tickets/layouts/binary.ts'
import {
  h2oFile,
  haproxyFile,
  nginxInclude,
  stunnelOptions,
} from '../../src/tickets/layouts/key-files.ts'
import { type AgedKey, openedKeys, viewOf } from '../../src/tickets/rule.ts'
import { TicketKey } from '../../src/tickets/ticket-key.ts'
import { ringTimes } from '../../src/tickets/times.ts'
import { whyWithoutRoot } from '../support/programs.ts'
import { seededBytes } from '../support/seeded-random.ts'

const SCRIPT = fileURLToPath(new URL('../../deploy/systemd/tlscached-tickets', import.meta.url))
const HOUR_MS = 3_600_000
/** The user that a node runs as. */
const NODE_UID = 1
const OWNER_UID = 33

describe('the root unit for ticket keys', { skip: whyWithoutRoot() }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-root-unit-'))
  const memory = join(folder, 'run')
  const from = join(memory, 'node')
  const to = join(memory, 'terminator')
  const ran = join(folder, 'ran')
  const random = seededBytes('root unit')
  const settings = { name: 'www', rotateMs: HOUR_MS, lifetimeMs: HOUR_MS, waitMs: HOUR_MS }
  const times = ringTimes(settings, [])
  const aged = [0, 1.2, 2.4].map(
    (hours): AgedKey => ({
      key: TicketKey.generate(random),
      bornMs: -hours * HOUR_MS,
      knownMs: -1e9,
    }),
  )
  const view = viewOf(aged, 1000, times)
  const keys = openedKeys(view).map(({ key }) => key)
  const [first] = keys

  before(() => {
    mkdirSync(memory)
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', memory])
    assert.equal(mounted.status, 0, mounted.stderr.toString())
  })
  after(() => {
    spawnSync('umount', ['-l', memory])
    rmSync(folder, { recursive: true, force: true })
  })
  beforeEach(() => {
    for (const name of readdirSync(memory)) rmSync(join(memory, name), { recursive: true })
    rmSync(ran, { force: true })
    mkdirSync(from)
    mkdirSync(to)
    chownSync(from, NODE_UID, NODE_UID)
  })

  function put(name: string, bytes: string | Buffer): void {
    writeFileSync(join(from, name), bytes, { mode: 0o400 })
    chownSync(join(from, name), NODE_UID, NODE_UID)
  }

  function putNginx(): void {
    for (const key of keys) put(`${key.hexName}.key`, nginxKey(key, 80))
    put('tickets.conf', nginxInclude(from, keys))
  }

  /** Runs the script; the reload leaves a mark. */
  function take(
    kind: string,
    source: string,
    target: string,
    check = 'true',
    reload = `touch ${ran}`,
  ) {
    const args = [kind, source, target, `${OWNER_UID}:${OWNER_UID}`, check, reload]
    const { status, stderr } = spawnSync(SCRIPT, args, { encoding: 'utf8', timeout: 20_000 })
    const names = readdirSync(memory).filter((name) => name.startsWith('.tlscached'))
    const marks = status === 0 ? 0 : names.filter((name) => name.endsWith('.pending')).length
    assert.equal(names.length, marks, `left behind: ${names}`)
    const isReloaded = existsSync(ran)
    rmSync(ran, { force: true })
    return { status, stderr, isReloaded }
  }

  function refuse(kind: string, source: string, target: string, pattern: RegExp): void {
    const before = readdirSync(to).map((name) => readFileSync(join(to, name), 'hex'))
    const { status, stderr, isReloaded } = take(kind, source, target)
    assert.equal(status, 1)
    assert.match(stderr, pattern)
    assert.equal(isReloaded, false)
    assert.deepEqual(
      readdirSync(to).map((name) => readFileSync(join(to, name), 'hex')),
      before,
    )
  }

  test('gives nginx its own copies, names them anew, and removes those of retired keys', () => {
    putNginx()
    const old = join(to, `${'ab'.repeat(16)}.key`)
    writeFileSync(old, Buffer.alloc(80))
    writeFileSync(join(to, 'mine.key'), 'mine')
    const { status, stderr, isReloaded } = take('nginx', from, to)
    assert.equal(status, 0, stderr)
    assert.ok(isReloaded)
    assert.deepEqual(readFileSync(join(to, 'tickets.conf')), nginxInclude(to, keys))
    assert.deepEqual(
      readdirSync(to).sort(),
      [...keys.map(({ hexName }) => `${hexName}.key`), 'mine.key', 'tickets.conf'].sort(),
    )
    const { uid, mode } = statSync(join(to, `${first?.hexName}.key`))
    assert.deepEqual([uid, mode & 0o777], [OWNER_UID, 0o400])
  })

  test('takes the files of every other kind', () => {
    assert.ok(first !== undefined)
    const one: [string, string, Buffer][] = [
      ['haproxy', 'keys', haproxyFile(view, times, 80)],
      ['apache', 'keys', keyBytes(first, 'hmac_aes', 48)],
      ['h2o', 'keys', h2oFile(view, times, { monotonicMs: 1000, wallMs: Date.now() })],
    ]
    for (const [kind, name, bytes] of one) {
      put(name, bytes)
      const { status, stderr } = take(kind, join(from, name), join(to, name))
      assert.equal(status, 0, stderr)
      assert.deepEqual(readFileSync(join(to, name)), bytes)
    }
    // By the second of the change h2o tells whether it has read a file.
    put('h2o', h2oFile(view, times, { monotonicMs: 1000, wallMs: Date.now() }))
    utimesSync(join(from, 'h2o'), 2e9, 2e9)
    assert.equal(take('h2o', join(from, 'h2o'), join(to, 'h2o')).status, 0)
    assert.equal(statSync(join(to, 'h2o')).mtimeMs, 2e12)
    put('ticket.conf', stunnelOptions(first))
    for (const name of ['current', 'next', 'previous', 'older'])
      put(`${name}.key`, keyBytes(first, 'aes_hmac', 80))
    for (const kind of ['stunnel', 'nghttpx']) assert.equal(take(kind, from, to).status, 0)
  })

  test('refuses whatever is no key: directives, links, wrong sizes, devices', () => {
    assert.ok(first !== undefined)
    putNginx()
    assert.equal(take('nginx', from, to).status, 0)
    const include = nginxInclude(from, keys).toString()
    put('tickets.conf', `${include}root /;\n`)
    refuse('nginx', from, to, /a line that names no key/)
    rmSync(join(from, 'tickets.conf'))
    put('tickets.conf', include)
    const key = join(from, `${first.hexName}.key`)
    rmSync(key)
    symlinkSync('/etc/shadow', key)
    refuse('nginx', from, to, /cannot read/)
    rmSync(key)
    put(`${first.hexName}.key`, Buffer.alloc(47))
    refuse('nginx', from, to, /has 47 bytes, not 48 80/)
    rmSync(key)
    spawnSync('mkfifo', [key])
    refuse('nginx', from, to, /is no file/)
    put('ticket.conf', `${stunnelOptions(first)}exec = /bin/sh\n`)
    refuse('stunnel', from, to, /a line that is no ticket key/)
    for (const length of [0, 47, 49, 80]) {
      put(`apache-${length}`, Buffer.alloc(length, 1))
      refuse('apache', join(from, `apache-${length}`), join(to, 'apache'), /bytes, not 48/)
    }
    refuse('apache', join(from, 'nothing'), join(to, 'apache'), /cannot read/)
  })

  test('refuses a text that is cut, which would take keys in use away', () => {
    putNginx()
    assert.equal(take('nginx', from, to).status, 0)
    const texts: [string, string, Buffer][] = [
      ['nginx', 'tickets.conf', nginxInclude(from, keys)],
      ['h2o', 'h2o', h2oFile(view, times, { monotonicMs: 1000, wallMs: Date.now() })],
      ['haproxy', 'haproxy', haproxyFile(view, times, 80)],
    ]
    for (const [kind, name, bytes] of texts) {
      rmSync(join(from, name), { force: true })
      put(name, bytes.subarray(0, -3))
      const isFolder = kind === 'nginx'
      refuse(kind, isFolder ? from : join(from, name), isFolder ? to : join(to, name), / is cut$/m)
    }
  })

  test('brings the old files back when the terminator does not take the new ones', () => {
    assert.ok(first !== undefined)
    putNginx()
    assert.equal(take('nginx', from, to).status, 0)
    const before = new Map(
      readdirSync(to).map((name) => [name, readFileSync(join(to, name), 'hex')]),
    )
    const other = TicketKey.generate(random)
    put(`${other.hexName}.key`, nginxKey(other, 80))
    rmSync(join(from, 'tickets.conf'))
    put('tickets.conf', nginxInclude(from, [other]))
    const { status, isReloaded, stderr } = take('nginx', from, to, 'false')
    assert.deepEqual([status, isReloaded], [1, false])
    assert.match(stderr, /does not take the new files: the old ones are back/)
    const now = new Map(readdirSync(to).map((name) => [name, readFileSync(join(to, name), 'hex')]))
    assert.deepEqual(now, before)
  })

  test('reloads no terminator that has these keys, as after a restart of the node, until one is damaged', () => {
    putNginx()
    assert.equal(take('nginx', from, to).isReloaded, true)
    assert.deepEqual(take('nginx', from, to), { status: 0, stderr: '', isReloaded: false })
    for (const damage of [
      (path: string) => chownSync(path, NODE_UID, NODE_UID),
      (path: string) => rmSync(path),
      (path: string) => writeFileSync(path, Buffer.alloc(80)),
    ]) {
      damage(join(to, `${first?.hexName}.key`))
      assert.deepEqual(take('nginx', from, to), { status: 0, stderr: '', isReloaded: true })
    }
  })

  test('repeats a reload that failed, although the files are the new ones by then', () => {
    putNginx()
    assert.equal(take('nginx', from, to, 'true', 'false').status, 1)
    assert.equal(take('nginx', from, to, 'true', 'false').status, 1)
    // The check may fail, too: the terminator has not read what it brings back.
    assert.equal(take('nginx', from, to, 'false').status, 1)
    assert.deepEqual(take('nginx', from, to), { status: 0, stderr: '', isReloaded: true })
    assert.equal(take('nginx', from, to).isReloaded, false)
  })

  test('writes to no disk', () => {
    assert.ok(first !== undefined)
    put('keys', keyBytes(first, 'hmac_aes', 48))
    const { status, stderr } = take('apache', join(from, 'keys'), join(folder, 'keys'))
    assert.equal(status, 1)
    assert.match(stderr, /is not on tmpfs or ramfs/)
    assert.equal(existsSync(join(folder, 'keys')), false)
  })
})
