// Writes the tables of deploy/METRICS.md out of the declarations of all metrics.

import {
  type Declaration,
  type Field,
  isField,
  labelsOf,
  type Metric,
} from '../../src/base/counters.ts'
import { PROCESS_METRICS } from '../../src/base/metrics.ts'
import { HTTP_COUNTERS } from '../../src/frontends/http/frontend.ts'
import { MEMCACHED_COUNTERS } from '../../src/frontends/memcached/stats.ts'
import { RPC_COUNTERS } from '../../src/frontends/rpc/stats.ts'
import { SESSIOND_COUNTERS } from '../../src/frontends/sessiond/frontend.ts'
import { STATS_COUNTERS } from '../../src/frontends/stats/frontend.ts'
import { UWSGI_COUNTERS } from '../../src/frontends/uwsgi/stats.ts'
import { HOOK_COUNTERS } from '../../src/hooks/stats.ts'
import { MEASURED } from '../../src/node/metrics.ts'
import { REPEATER_COUNTERS } from '../../src/replication/repeater/stats.ts'
import { REPLICATION_COUNTERS } from '../../src/replication/stats.ts'
import { SYNC_COUNTERS } from '../../src/replication/sync/stats.ts'
import { formatTable } from '../../src/settings/schema.ts'
import { CACHE_COUNTERS } from '../../src/store/stats.ts'
import { MEASURED as TERMINATOR_MEASURED } from '../../src/terminator/metrics.ts'
import {
  BACKEND_COUNTERS,
  HANDSHAKE_COUNTERS,
  TERMINATOR_COUNTERS,
} from '../../src/terminator/stats.ts'
import { RING_COUNTERS } from '../../src/tickets/ring.ts'
import { TARGET_COUNTERS } from '../../src/tickets/targets/target.ts'
import { CACHE_UDP_COUNTERS } from '../../src/uwsgi/stats.ts'

/** The metrics of the part of a program, in the order of the page. */
interface Section {
  readonly title: string
  readonly declarations: Readonly<Record<string, Declaration>>
  readonly measured: readonly Metric[]
}

const FRONTENDS = {
  memcached: MEMCACHED_COUNTERS,
  sessiond: SESSIOND_COUNTERS,
  rpc: RPC_COUNTERS,
  uwsgi: UWSGI_COUNTERS,
  stats: STATS_COUNTERS,
  http: HTTP_COUNTERS,
}

const SECTIONS: readonly Section[] = [
  {
    title: 'Caches',
    declarations: { '': { ...CACHE_COUNTERS, ...HOOK_COUNTERS } },
    measured: [MEASURED.itemsLimit, MEASURED.sweepDurations],
  },
  {
    title: 'Replication',
    declarations: { '': { ...REPLICATION_COUNTERS, sync: SYNC_COUNTERS } },
    measured: [
      MEASURED.sendErrors,
      MEASURED.unknownCaches,
      MEASURED.syncState,
      MEASURED.peerUp,
      MEASURED.peerSyncFailed,
      MEASURED.keyAgeSec,
    ],
  },
  {
    title: 'Ticket keys',
    declarations: { '': { ...RING_COUNTERS, ...TARGET_COUNTERS } },
    measured: [
      MEASURED.ticketKeyAgeSec,
      MEASURED.ticketKeys,
      MEASURED.ticketRotateSec,
      MEASURED.ticketWaitSec,
      MEASURED.ticketNextRotationSec,
      MEASURED.ticketRingDiffers,
      MEASURED.ticketUnknownGroups,
      MEASURED.targetLastSuccessSec,
      MEASURED.targetCurrent,
    ],
  },
  {
    title: 'Repeater',
    declarations: { '': REPEATER_COUNTERS },
    measured: [MEASURED.subscribers, MEASURED.subscribersLimit],
  },
  {
    title: "uWSGI's datagrams",
    declarations: { '': CACHE_UDP_COUNTERS },
    measured: [MEASURED.uwsgiSendErrors],
  },
  { title: 'Frontends', declarations: FRONTENDS, measured: [] },
  {
    title: 'Reference terminator',
    declarations: {
      '': { ...HANDSHAKE_COUNTERS, ...TERMINATOR_COUNTERS, ...BACKEND_COUNTERS },
    },
    measured: Object.values(TERMINATOR_MEASURED),
  },
  { title: 'Process', declarations: {}, measured: Object.values(PROCESS_METRICS) },
]

const MAX_ITEM_CHARACTERS = 120
const BEGIN = '<!-- The rest of this page is written by test/support/write-reference.ts. -->'

/** Returns the page with the tables as they should be. */
export function replaceMetrics(page: string): string {
  const begin = page.indexOf(BEGIN)
  if (begin < 0) throw new Error('the page has no place for the tables')
  return `${page.slice(0, begin)}${BEGIN}\n\n${SECTIONS.map(formatSection).join('\n')}`
}

export function formatSection({ title, declarations, measured }: Section): string {
  const fields = Object.values(declarations).flatMap(fieldsOf)
  const metrics = new Set(fields.flatMap(({ field }) => field.metric ?? []))
  const rows = [...metrics, ...measured].map((metric) => {
    const own = fields.filter(({ field }) => field.metric === metric)
    const labels = new Set([...metric.labels, ...own.flatMap(({ names }) => names)])
    return [`\`tlscached_${metric.name}\``, [...labels].join(', '), metric.help]
  })
  const lists = fields.flatMap(({ field }) => {
    if (field.kind !== 'by' || field.metric === undefined) return []
    const fixed = Object.entries(field.labels).map(([label, value]) => `${label}="${value}"`)
    const which = fixed.length === 0 ? '' : `{${fixed.join()}}`
    const title = `\`${field.label}\` of \`tlscached_${field.metric.name}\`${which && ` with \`${which}\``}`
    return [listOf(title, Object.entries(field.values))]
  })
  const events = Object.entries(declarations).flatMap(([group, declaration]) => {
    const meanings = fieldsOf(declaration).flatMap(({ name, field }) =>
      field.kind === 'one' && field.meaning !== ''
        ? [[labelsOf(name, field)['event'] ?? name, field.meaning] as const]
        : [],
    )
    return meanings.length === 0 ? [] : [listOf(`\`event\` of \`${group}\``, meanings)]
  })
  const table = formatTable(['Name', 'Labels', 'Meaning'], rows)
  return [`## ${title}\n\n${table}\n`, ...lists, ...events].join('\n')
}

interface NamedField {
  readonly name: string
  readonly field: Field
  /** Names of the labels that the field itself adds. */
  readonly names: readonly string[]
}

function fieldsOf(declaration: Declaration): NamedField[] {
  return Object.entries(declaration).flatMap(([name, field]) => {
    if (!isField(field)) return fieldsOf(field)
    if (field.kind === 'durations') return [{ name, field, names: [] }]
    const own = Object.keys(field.labels)
    return [{ name, field, names: field.kind === 'by' ? [...own, field.label] : own }]
  })
}

function listOf(title: string, values: readonly (readonly [string, string])[]): string {
  const lines = values.map(([value, meaning]) => wrapped(`- \`${value}\`: ${meaning}`))
  return `${title}:\n\n${lines.join('\n')}\n`
}

/** Breaks an item of a list as a person would, since test/docs.test.ts bounds the lines of pages. */
function wrapped(item: string): string {
  const lines = ['']
  for (const word of item.split(' ')) {
    const line = lines.at(-1) ?? ''
    if (line.length + 1 + word.length > MAX_ITEM_CHARACTERS) lines.push(`  ${word}`)
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`
  }
  return lines.join('\n')
}
