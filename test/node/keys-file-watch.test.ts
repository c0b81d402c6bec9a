// A changed file of keys is noticed without a signal, and only a whole one counts.

import assert from 'node:assert/strict'
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, beforeEach, test } from 'node:test'
import {
  ConfiguredKeys,
  type KeySettings,
  LOOK_PERIOD_MS,
  systemKeysFiles,
} from '../../src/node/keys.ts'
import { type KeysFileMode, parseKeyring } from '../../src/wire/keyring.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { seededBytes } from '../support/seeded-random.ts'

const folder = mkdtempSync(join(tmpdir(), 'tlscached-watch-'))
after(() => rmSync(folder, { recursive: true }))

const KEY_A = seededBytes('a')(32).toString('base64')
const KEY_B = seededBytes('b')(32).toString('base64')

let clock: FakeClock
let logger: RecordingLogger
let keys: ConfiguredKeys | undefined
/** How often the file was read since it is followed, with or without success. */
let reads: number
let path: string
let files = 0

beforeEach((t) => {
  clock = new FakeClock()
  logger = new RecordingLogger()
  keys = undefined
  reads = 0
  files += 1
  path = join(folder, `keys-${files}`)
  'after' in t && t.after(() => keys?.stop())
})

function settingsOf(keysFile: string | undefined): KeySettings {
  return { listen: { host: '127.0.0.1', port: 0 }, keysFile, isInsecure: false }
}

/** Loads the keys of a file, which must be there, and follows it. */
function follow(file: string): ConfiguredKeys {
  const load = (from: string, mode?: KeysFileMode) => {
    reads += 1
    return systemKeysFiles.load(from, mode)
  }
  const world = { clock, logger, random: seededBytes('world') }
  keys = new ConfiguredKeys(settingsOf(file), world, { ...systemKeysFiles, load })
  keys.start()
  reads = 0
  return keys
}

/** Lets the watch look `count` times. */
async function look(count: number): Promise<void> {
  for (let done = 0; done < count; done += 1) {
    clock.advance(LOOK_PERIOD_MS)
    await keys?.settled()
  }
}

function write(text: string): void {
  writeFileSync(path, text, { mode: 0o600 })
}

function isLast(text: string): boolean {
  return keys?.current.hasSameKeys(parseKeyring(text)) === true
}

test('a file that was written anew is read when it stays as it is, and only once', async () => {
  write(KEY_A)
  follow(path)
  await look(5)
  assert.equal(reads, 1)
  write(`${KEY_B}\n${KEY_A}\n`)
  await look(1)
  assert.equal(reads, 1, 'it may be being written')
  await look(1)
  assert.ok(isLast(`${KEY_B}\n${KEY_A}`))
  await look(10)
  assert.equal(reads, 2)
  assert.deepEqual(
    logger.lines.map(({ level, message }) => `${level} ${message}`),
    ['info the file of keys was changed and read again'],
  )
})

test("Kubernetes' swap of a link is noticed, although size and time are the same", async () => {
  const volume = join(folder, 'volume')
  const put = (version: string, key: string) => {
    mkdirSync(join(volume, version), { recursive: true })
    writeFileSync(join(volume, version, 'keys'), key, { mode: 0o600 })
    utimesSync(join(volume, version, 'keys'), 1_700_000_000, 1_700_000_000)
    symlinkSync(version, join(volume, '..data_tmp'))
    renameSync(join(volume, '..data_tmp'), join(volume, '..data'))
  }
  put('..2026_1', KEY_A)
  symlinkSync('..data/keys', join(volume, 'keys'))
  follow(join(volume, 'keys'))
  await look(2)
  assert.ok(isLast(KEY_A))
  put('..2026_2', KEY_B)
  await look(2)
  assert.ok(isLast(KEY_B))
})

const unusable: readonly [string, () => void, RegExp][] = [
  ['half-written', () => write(`${KEY_A}\n${KEY_B.slice(0, 20)}`), /line 2/],
  ['empty', () => write(''), /there is no key/],
  ['gone', () => rmSync(path), /there is no /],
  ['readable by everybody', () => chmodSync(path, 0o644), /keys_file_mode: any/],
]

for (const [name, spoil, reason] of unusable) {
  test(`a file that is ${name} changes nothing and is logged once; a whole one counts`, async () => {
    write(KEY_A)
    follow(path)
    await look(2)
    spoil()
    await look(10)
    assert.equal(reads, 2, 'once before and once after')
    assert.ok(isLast(KEY_A))
    assert.equal(logger.lines.length, 1)
    assert.match(String(logger.lines[0]?.fields['reason']), reason)
    assert.match(logger.lines[0]?.message ?? '', /the keys stay as they were/)
    rmSync(path, { force: true })
    write(`${KEY_A}\n${KEY_B}`)
    await look(2)
    assert.ok(isLast(`${KEY_A}\n${KEY_B}`))
    assert.deepEqual(
      logger.lines.map(({ level }) => level),
      ['error', 'info'],
    )
  })
}

test('a file that is being written at every look is read when that ends', async () => {
  write(KEY_A)
  follow(path)
  await look(2)
  for (let line = 0; line < 5; line += 1) {
    appendFileSync(path, '\n#')
    await look(1)
  }
  assert.equal(reads, 1)
  await look(1)
  assert.equal(reads, 2)
})

test('after the stop, and while no file is configured, nothing is looked at', async () => {
  write(KEY_A)
  const followed = follow(path)
  followed.reload(settingsOf(undefined))
  assert.equal(clock.pendingCount, 0)
  followed.reload(settingsOf(path))
  reads = 0
  clock.advance(LOOK_PERIOD_MS)
  followed.stop()
  await followed.settled()
  assert.equal(clock.pendingCount, 0)
  assert.equal(reads, 0)
  followed.reload(settingsOf(path))
  assert.equal(clock.pendingCount, 0, 'a reload does not start what is stopped')
})

test('a reload that fails leaves the keys and the file that is followed as they were', async () => {
  write(KEY_A)
  const followed = follow(path)
  assert.throws(() => followed.reload(settingsOf(`${path}-not-there`)), { code: 'ERR_NO_KEYS' })
  assert.ok(isLast(KEY_A))
  write(KEY_B)
  await look(2)
  assert.ok(isLast(KEY_B))
})
