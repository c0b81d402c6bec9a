// The documents say what is there: every setting and metric. handbook.test.ts looks at the pages for developers.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { silentLogger } from '../src/base/world.ts'
import { settings } from '../src/node/config-schema.ts'
import { createNode } from '../src/node/node.ts'
import { RepeaterNode } from '../src/node/repeater-node.ts'
import { NOTHING_SEEN } from '../src/prove/observations.ts'
import { resultOf } from '../src/prove/prove.ts'
import { metricsOf } from '../src/prove/report.ts'
import { REPLICATION_COUNTERS } from '../src/replication/stats.ts'
import { TerminatorMetrics } from '../src/terminator/metrics.ts'
import { readReleases, sentenceOf } from './releases/node-releases.ts'
import { replaceReference } from './support/config-reference.ts'
import { formatSection, replaceMetrics } from './support/metrics-reference.ts'

const README = readDocument('README.md')
const CONFIGURATION = readDocument('deploy/CONFIGURATION.md')
const METRICS = readDocument('deploy/METRICS.md')

const NOTHING_COUNTED = { workers: 0, restarts: 0, processes: [] }

test('the configuration reference is that of the schema', () => {
  assert.equal(
    replaceReference(CONFIGURATION, settings),
    CONFIGURATION,
    'run: node --import tsx test/support/write-reference.ts',
  )
})

test('the tables of the metrics are those of the declarations', () => {
  assert.equal(
    replaceMetrics(METRICS),
    METRICS,
    'run: node --import tsx test/support/write-reference.ts',
  )
})

test('one more reason in a declaration is in the tables', () => {
  const { dropped } = REPLICATION_COUNTERS
  const values = { ...dropped.values, sunspots: 'the sun was too active' }
  const declarations = { '': { dropped: { ...dropped, values } } }
  const text = formatSection({ title: 'Replication', declarations, measured: [] })
  assert.match(text, /^- `sunspots`: the sun was too active$/m)
})

test('every metric is explained, and none that does not exist', async () => {
  const node = createNode(
    {
      caches: [{ name: 'ssl' }],
      tickets: {
        groups: [{ name: 'www' }],
        targets: [{ kind: 'file', group: 'www', file: '/run/ticket-keys' }],
      },
      replication: {
        listen: '127.0.0.1:0',
        peers: [],
        listeners: [{ wire: 'uwsgi', listen: '127.0.0.1:0' }],
      },
      frontends: { memcached: '127.0.0.1:0', sessiond: '127.0.0.1:0' },
    },
    { logger: silentLogger },
  )
  const repeater = new RepeaterNode(
    {
      name: 'r',
      listen: { host: '::1', port: 0 },
      keysFile: undefined,
      isInsecure: false,
      http: undefined,
    },
    { logger: silentLogger, watchdogKills: 0 },
  )
  const metrics = await Promise.all([node.metrics(), repeater.metrics()])
  const ofTerminator = await new TerminatorMetrics('', async () => NOTHING_COUNTED).text()
  const text = [...metrics.map((one) => one.text), ofTerminator].join('')
  const existing = new Set([...text.matchAll(/^# TYPE (tlscached_\w+)/gm)].map(([, name]) => name))
  const explained = new Set([...METRICS.matchAll(/`(tlscached_\w+)`/g)].map(([, name]) => name))
  assert.deepEqual([...explained].sort(), [...existing].sort())
})

test('every metric of the alerts is explained', () => {
  const alerts = readDocument('deploy/prometheus/rules.yml')
  const named = new Set([...alerts.matchAll(/\btlscached_\w+/g)].map(([name]) => name))
  assert.ok(named.size >= 4)
  const explained = METRICS + readDocument('deploy/prove.md')
  for (const name of named) assert.ok(explained.includes(`\`${name}\``), name)
})

test('every metric of prove is explained, and none that does not exist', () => {
  const text = metricsOf(resultOf(NOTHING_SEEN), 0)
  const existing = [...text.matchAll(/^# TYPE (tlscached_\w+)/gm)].map(([, name]) => name)
  const page = readDocument('deploy/prove.md')
  const explained = [...page.matchAll(/`(tlscached_prove_\w+)`/g)].map(([, name]) => name)
  assert.deepEqual(explained.sort(), existing.sort())
})

test('the Node.js releases are those that the tests run on', () => {
  assert.ok(README.includes(sentenceOf(readReleases())), 'run: npm run raise:releases')
})

/** `path` is below the root of the project. */
function readDocument(path: string): string {
  return readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')
}
