// The configuration of a repeater: file, environment and flags, in the language of a node's configuration.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type ConfigSources, readConfig } from '../../src/node/config.ts'
import { readRepeaterConfig } from '../../src/node/repeater-config.ts'
import { ConfigError } from '../../src/settings/errors.ts'

const folder = mkdtempSync(join(tmpdir(), 'tlscached-repeater-config-'))
after(() => rmSync(folder, { recursive: true }))
const file = join(folder, 'repeater.yaml')

const read = (sources: Partial<ConfigSources>) =>
  readRepeaterConfig({ hostName: 'host', ...sources })

function complaint(sources: Partial<ConfigSources>): string {
  try {
    read(sources)
  } catch (error) {
    if (error instanceof ConfigError) return error.message
    throw error
  }
  return 'no mistake'
}

test('flags are stronger than the environment, which is stronger than the file', () => {
  const lines = ['listen: 10.0.0.1:1', 'name: file', 'insecure: true', 'log: { level: debug }']
  writeFileSync(file, lines.join('\n'))
  const environment = { TLSCACHED_REPEAT_NAME: 'variable', TLSCACHED_REPEAT_LOG_LEVEL: 'warn' }
  const config = read({ file, environment, flags: new Map([['name', 'flag']]) })
  assert.deepEqual(config, {
    name: 'flag',
    listen: { host: '10.0.0.1', port: 1 },
    keysFile: undefined,
    keysFileMode: 'private',
    isInsecure: true,
    http: undefined,
    log: { level: 'warn', format: 'json' },
    watchdogMs: 2000,
  })
  assert.equal(read({ flags: new Map([['listen', '10.0.0.1:1']]) }).name, 'host-repeater')
})

test('every mistake is told with its place and the nearest known name', () => {
  writeFileSync(file, 'listen: 10.0.0.1\nkeys-file: x\nwatchdog: 2m\n')
  const environment = { TLSCACHED_REPEAT_HTP: '127.0.0.1:1' }
  assert.deepEqual(complaint({ file, environment }).split('\n'), [
    `${file}:1:1: listen: "10.0.0.1" is not host:port or [ipv6]:port`,
    `${file}:2:1: keys-file: unknown key; the nearest known one is keys_file`,
    `${file}:3:1: watchdog: must be 0 (off) or a duration, 500ms..1m (as in 2s)`,
    'TLSCACHED_REPEAT_HTP: unknown variable; the nearest known one is TLSCACHED_REPEAT_HTTP',
  ])
  assert.equal(complaint({}), 'config: listen: is required')
})

test('variables of a node and of a repeater do not meet, nor do those of Kubernetes', () => {
  const environment = {
    TLSCACHED_NODE_NAME: 'node',
    TLSCACHED_REPEAT_NAME: 'repeater',
    TLSCACHED_REPEAT_LISTEN: '127.0.0.1:0',
    TLSCACHED_REPEAT_PORT: 'tcp://10.0.0.1:7272',
    TLSCACHED_REPEAT_SERVICE_HOST: '10.0.0.1',
  }
  assert.equal(read({ environment }).name, 'repeater')
  assert.equal(readConfig({ environment, hostName: 'host' }).nodeName, 'node')
})
