// The walk through uWSGI's three set-ups, deploy/uwsgi/README.md: its files and commands, run in order as they stand.

import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { whyNoNamespaces } from '../support/network-namespaces.ts'
import { whyWithout } from '../support/programs.ts'
import { runShown } from '../support/shown-commands.ts'

const PAGE = readFileSync(new URL('../../deploy/uwsgi/README.md', import.meta.url), 'utf8')
const REUSED_ALONE = 4
const REUSED_BALANCED = 9

const skip =
  whyNoNamespaces() ||
  whyWithout('openssl', 'version') ||
  whyWithout('haproxy', '-v') ||
  whyWithout('curl')

describe('the walk through the set-ups of uWSGI', { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-uwsgi-walk-'))
  after(() => rmSync(folder, { recursive: true }))

  test('a session resumes in every process and on every node, and hits rise', async (t) => {
    const [, walk = ''] =
      /uwsgi-walk\.test\.ts runs everything([\s\S]*?)## What became of each option/.exec(PAGE) ?? []
    const blocks = [...walk.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)]
    const [ini, balancer] = ['ini', 'haproxy'].map((language) => {
      const [, , text = ''] = blocks.find(([, other]) => other === language) ?? []
      assert.notEqual(text, '', `the walk has no ${language}`)
      return text
    })
    const commands = blocks.flatMap(([, language, text = '']) => (language === 'sh' ? [text] : []))
    writeFileSync(join(folder, 'node-1.ini'), ini ?? '')
    writeFileSync(join(folder, 'balancer.cfg'), balancer ?? '')
    const stdout = await runShown(t, folder, 'tlscwk', commands)
    const verdicts = [...stdout.matchAll(/^(New|Reused), TLSv1\.2/gm)].map(([, verdict]) => verdict)
    const reused = (count: number) => Array.from({ length: count }, () => 'Reused')
    assert.deepEqual(verdicts, ['New', ...reused(REUSED_ALONE), 'New', ...reused(REUSED_BALANCED)])
    const hits = [...stdout.matchAll(/^node [123]: "hits": *(\d+)$/gm)].map(([, count]) =>
      Number(count),
    )
    assert.equal(hits.length, 3)
    for (const count of hits) assert.ok(count >= REUSED_BALANCED / 3, stdout)
  })
})
