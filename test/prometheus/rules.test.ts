// The alerts of deploy/prometheus/rules.yml: each fires where it should, and not where it should not, as promtool sees it;
// each has a severity and a runbook that exists.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parse, stringify } from 'yaml'
import { whyWithout } from '../support/programs.ts'
import { ALERT_CASES, type AlertCase } from './alert-cases.ts'

interface Rule {
  readonly alert: string
  readonly labels: { readonly severity: string }
  readonly annotations: { readonly summary: string; readonly runbook: string }
}

const DEPLOY = fileURLToPath(new URL('../../deploy/', import.meta.url))
const FILE = join(DEPLOY, 'prometheus/rules.yml')
const RULES: readonly Rule[] = parse(readFileSync(FILE, 'utf8')).groups.flatMap(
  ({ rules }: { rules: Rule[] }) => rules,
)

test('every alert has a case in which it fires, and every case an alert', () => {
  const alerts = RULES.map(({ alert }) => alert)
  assert.deepEqual([...new Set(ALERT_CASES.map(({ alert }) => alert))].sort(), alerts.toSorted())
})

test('every alert is tried in a real Prometheus', () => {
  const files = ['alerts.prometheus.ts', 'alerts-sharing.prometheus.ts', 'yesterday.test.ts']
  const tried = files.map((name) => readFileSync(new URL(name, import.meta.url), 'utf8')).join('\n')
  const untried = RULES.filter(
    ({ alert }) => !new RegExp(`^  ${alert}: \\[|'${alert} `, 'm').test(tried),
  )
  assert.deepEqual(
    untried.map(({ alert }) => alert),
    [],
  )
})

for (const { alert, labels, annotations } of RULES) {
  test(`${alert} has a severity, and a runbook that exists`, () => {
    assert.match(labels.severity, /^(critical|warning)$/)
    const [page = '', anchor] = annotations.runbook.split('#')
    const text = readFileSync(join(DEPLOY, page), 'utf8')
    if (anchor === undefined) return
    const anchors = [...text.matchAll(/^##+ (.*)$/gm)].map(([, title = '']) =>
      title
        .toLowerCase()
        .replaceAll(/[^a-z0-9 -]/g, '')
        .replaceAll(' ', '-'),
    )
    assert.ok(anchors.includes(anchor), annotations.runbook)
  })
}

describe('promtool test rules', { skip: whyWithout('promtool') }, () => {
  for (const one of ALERT_CASES) {
    const { alert, labels, summary, at, series, quiet } = one
    const seen = Object.entries(series).map(([name, values]) => `${name} ${values}`)
    test(`${alert} fires with ${seen.join(', ')}`, () => {
      const rule = RULES.find((found) => found.alert === alert)
      const alerts = [
        {
          exp_labels: { severity: rule?.labels.severity, ...labels },
          exp_annotations: { ...rule?.annotations, summary },
        },
      ]
      testRules(one, series, { eval_time: at, alertname: alert, exp_alerts: alerts })
    })
    const others = Object.entries(quiet).map(([name, values]) => `${name} ${values}`)
    test(`${alert} does not fire with ${others.join(', ')}`, () => {
      const all = { ...series, ...quiet }
      testRules(one, all, { eval_time: at, alertname: alert, exp_alerts: [] })
    })
  }
})

function testRules(
  { interval = '1m' }: AlertCase,
  series: AlertCase['series'],
  expected: object,
): void {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-rules-'))
  const file = join(folder, 'test.yml')
  const input = Object.entries(series).map(([name, values]) => ({ series: name, values }))
  const tests = [{ interval, input_series: input, alert_rule_test: [expected] }]
  writeFileSync(
    file,
    stringify({ rule_files: [FILE], evaluation_interval: interval === '1m' ? '1m' : '5m', tests }),
  )
  const { status, stdout, stderr } = spawnSync('promtool', ['test', 'rules', file], {
    encoding: 'utf8',
  })
  rmSync(folder, { recursive: true })
  assert.equal(status, 0, `${stdout}${stderr}`)
}
