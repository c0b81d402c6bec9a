// What a summary tells of ticket keys, and which problems of keys and terminators it names.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { summarizeTickets, type TicketFacts, ticketProblems } from '../../src/status/tickets.ts'
import type { RingReport } from '../../src/tickets/report.ts'
import type { TargetReport } from '../../src/tickets/targets/runner.ts'

const HOUR_MS = 3_600_000
const WALL_MS = 1_767_225_600_000

function ringOf(...agesMs: number[]): RingReport {
  return {
    group: 'shop',
    rotateMs: HOUR_MS,
    lifetimeMs: 2 * HOUR_MS,
    waitMs: HOUR_MS / 4,
    keys: agesMs.map((ageMs, index) => ({
      name: `${index}a`.padEnd(32, '7'),
      state: index === 0 ? 'next' : 'current',
      ageMs,
      origin: 'self',
    })),
    nextKeyMs: 5000,
    nextCurrentMs: undefined,
  }
}

function targetOf(more: Partial<TargetReport> = {}): TargetReport {
  return {
    name: 'nginx',
    kind: 'nginx',
    group: 'shop',
    isCurrent: true,
    lastSuccessMs: WALL_MS - 42_000,
    failures: {} as TargetReport['failures'],
    problem: undefined,
    reloads: 1,
    ...more,
  }
}

function problemsOf(facts: Partial<TicketFacts>, uptimeMs = HOUR_MS) {
  return ticketProblems({ rings: [], targets: [], wallMs: WALL_MS, ...facts }, uptimeMs)
}

test('it has ages and the beginning of names, and times since, not times of day', () => {
  const told = summarizeTickets({
    rings: [ringOf(1000, HOUR_MS)],
    targets: [targetOf(), targetOf({ isCurrent: undefined, lastSuccessMs: undefined })],
    wallMs: WALL_MS,
  })
  const [group] = told.groups
  assert.deepEqual(group?.keys, [
    { name: '0a777777', state: 'next', age_ms: 1000 },
    { name: '1a777777', state: 'current', age_ms: HOUR_MS },
  ])
  assert.deepEqual([group?.next_key_ms, group?.next_current_ms], [5000, null])
  assert.deepEqual(
    told.targets.map(({ current, given_ms, problem }) => [current, given_ms, problem]),
    [
      [true, 42_000, null],
      [null, null, null],
    ],
  )
})

test('keys in time and a terminator that has them are no problem', () => {
  const rings = [ringOf(1.1 * HOUR_MS + 59_999, 2 * HOUR_MS)]
  assert.deepEqual(problemsOf({ rings, targets: [targetOf()] }), [])
  // A node that has only just started asks its peers first.
  assert.deepEqual(problemsOf({ rings: [ringOf()] }, 29_999), [])
})

test('no key, a late key, a terminator that fails or is behind: each is named', () => {
  const problem = { reason: 'write', message: '/run/keys: no space left on the device' } as const
  const rows = [
    problemsOf({ rings: [ringOf()] }, 30_000),
    problemsOf({ rings: [ringOf(1.1 * HOUR_MS + 120_000)] }),
    problemsOf({ targets: [targetOf({ problem, isCurrent: false })] }),
    problemsOf({ targets: [targetOf({ isCurrent: false })] }),
  ].map((problems) => problems.map(({ code, severity, subject }) => [code, severity, subject]))
  assert.deepEqual(rows, [
    [['no_ticket_key', 'error', 'shop']],
    [['ticket_keys_late', 'error', 'shop']],
    [['target_failing', 'error', 'nginx']],
    [['target_behind', 'warning', 'nginx']],
  ])
  const [late] = problemsOf({ rings: [ringOf(1.1 * HOUR_MS + 120_000)] })
  assert.match(late?.sentence ?? '', /is late by 2 min/)
  const [failing] = problemsOf({ targets: [targetOf({ problem })] })
  assert.match(failing?.sentence ?? '', /keeps its old ones: \/run\/keys: no space left/)
  const never = { problem, lastSuccessMs: undefined }
  const [first] = problemsOf({ targets: [targetOf(never)] })
  assert.match(first?.sentence ?? '', /was never given any: \/run\/keys: no space left/)
})

test('every link leads to a section that is there', () => {
  const page = readFileSync(new URL('../../deploy/troubleshooting.md', import.meta.url), 'utf8')
  const sections = [...page.matchAll(/^## (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .replaceAll(' ', '-'),
  )
  const problems = problemsOf({ rings: [ringOf()], targets: [targetOf({ isCurrent: false })] })
  for (const { link } of problems) assert.ok(sections.includes(link.split('#')[1] ?? ''), link)
})
