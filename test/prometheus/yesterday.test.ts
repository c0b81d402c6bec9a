// The alerts that compare with yesterday, in a real Prometheus with a day of history that promtool wrote: they fire for
// the node where something changed, and for no other.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { until } from '../support/latch.ts'
import { whyWithout } from '../support/programs.ts'
import { startPrometheus } from './scraping-prometheus.ts'

const RULES = new URL('../../deploy/prometheus/rules.yml', import.meta.url)
const STEP_SEC = 60
const HISTORY_SEC = 26 * 3600
/** Today begins so long ago. */
const TODAY_SEC = 90 * 60

/** Hits and misses each minute, yesterday and today. */
type Rates = readonly [hits: number, misses: number]
const NODES: Readonly<Record<string, { readonly yesterday: Rates; readonly today: Rates }>> = {
  'edge-fell': { yesterday: [90, 10], today: [60, 40] },
  'edge-steady': { yesterday: [90, 10], today: [85, 15] },
  'edge-risen': { yesterday: [60, 40], today: [90, 10] },
  'edge-quiet': { yesterday: [0.9, 0.1], today: [0.1, 0.9] },
  'edge-tickets': { yesterday: [90, 10], today: [0, 0] },
}

/** Counters in the text format of OpenMetrics, until now. */
function history(nowSec: number): string {
  const lines = ['# TYPE tlscached_gets counter']
  for (const [index, result] of ['hit', 'miss'].entries()) {
    for (const [node, { yesterday, today }] of Object.entries(NODES)) {
      let count = 0
      for (let ago = HISTORY_SEC; ago >= 0; ago -= STEP_SEC) {
        count += (ago > TODAY_SEC ? yesterday : today)[index] ?? 0
        const labels = `job="tlscached",instance="${node}",cache="ssl",result="${result}"`
        lines.push(`tlscached_gets_total{${labels}} ${count} ${nowSec - ago}`)
      }
    }
  }
  return [...lines, '# EOF', ''].join('\n')
}

const skip = whyWithout('promtool') || whyWithout('prometheus')
test('a hit ratio that fell, and gets that stopped, against backfilled history', {
  skip,
}, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-yesterday-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'history.txt')
  writeFileSync(file, history(Math.floor(Date.now() / 1000)))
  const args = ['tsdb', 'create-blocks-from', 'openmetrics', file, join(folder, 'data')]
  const { status, stdout, stderr } = spawnSync('promtool', args, { encoding: 'utf8' })
  assert.equal(status, 0, `${stdout}${stderr}`)

  // At once: how long an alert waits before it fires is tried by promtool.
  const rules = readFileSync(RULES, 'utf8').replaceAll(/^( *for:) .*$/gm, '$1 0s')
  const options = { targets: [], rules, scrapeInterval: '15s', evaluationInterval: '200ms' }
  const prometheus = await startPrometheus(folder, options)
  t.after(() => prometheus.stop())
  const firing = async () => {
    const samples = await prometheus.query('ALERTS{alertstate="firing"}')
    return samples.map(({ labels }) => `${labels['alertname']} ${labels['instance']}`).sort()
  }
  const expected = ['TlscachedHitRatioFell edge-fell', 'TlscachedNoGets edge-tickets']
  await until(`both fire`, async () => (await firing()).length >= expected.length)
  assert.deepEqual(await firing(), expected)
})
