// bench/RESULTS.md: what a whole run of the benchmarks printed, with the machine, the versions and the date.
// Nobody edits it by hand.

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readVersion } from '../src/base/version.ts'
import { cellsOf, HEAD, type Row } from './table.ts'

/** always, madvise or never; absent where the kernel has no huge pages. */
const HUGE_PAGES = '/sys/kernel/mm/transparent_hugepage/enabled'
const FILE = fileURLToPath(new URL('./RESULTS.md', import.meta.url))
/** Bytes in a GiB. */
const GIB = 2 ** 30

/** Programs that are measured against, and how each says its version. */
const PROGRAMS: readonly (readonly string[])[] = [
  ['memcached', '--version'],
  ['redis-server', '--version'],
  ['uwsgi-core', '--version'],
  ['openssl', 'version'],
  ['stunnel', '-version'],
  ['hitch', '--version'],
  ['/usr/sbin/apache2', '-v'],
]

export interface BenchResult {
  readonly name: string
  readonly rows: readonly Row[]
  /** Files in bench/plots that show them. */
  readonly plots?: readonly { readonly file: string; readonly title: string }[]
}

export function writeResults(results: readonly BenchResult[], date: Date): void {
  const sections = results.map(({ name, rows, plots = [] }) => [
    `## ${name}`,
    '',
    line(HEAD),
    line(HEAD.map(() => '---')),
    ...rows.map((row) => line(cellsOf(row))),
    '',
    ...plots.flatMap(({ file, title }) => [`![${title}](plots/${file})`, '']),
  ])
  const text = [
    '# Results of `npm run bench`',
    '',
    `Written by the command itself on ${date.toISOString().slice(0, 10)}; "goal" is that of the project's design.`,
    'Each figure is a median, but profiles are of one run; the machine has two cores, which the load generators share.',
    '',
    ...machine().map((fact) => `- ${fact}`),
    '',
    ...sections.flat(),
  ]
  writeFileSync(FILE, text.join('\n'))
}

function machine(): string[] {
  const [cpu] = cpus()
  return [
    `${cpus().length} x ${cpu?.model ?? 'unknown processor'}, ${Math.round(totalmem() / GIB)} GiB, Linux ${release()}`,
    ...hugePages(),
    `tlscached ${readVersion()}, Node ${process.versions.node}, OpenSSL ${process.versions.openssl} in it`,
    ...PROGRAMS.flatMap((command) => versionOf(command)),
  ]
}

/** Whether memory comes in large pages decides what a look into a large store costs. */
function hugePages(): string[] {
  if (!existsSync(HUGE_PAGES)) return []
  const choice = readFileSync(HUGE_PAGES, 'utf8').trim()
  const tunables = process.env['GLIBC_TUNABLES'] ?? 'not set'
  return [
    `huge pages: ${choice}; GLIBC_TUNABLES of all programs but the node of sessiond: ${tunables}`,
  ]
}

function versionOf([program = '', ...args]: readonly string[]): string[] {
  const { stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' })
  const said = `${stdout ?? ''}\n${stderr ?? ''}`.split('\n').find((one) => /\d\.\d/.test(one))
  return said === undefined ? [] : [`${basename(program)}: ${said.trim()}`]
}

function line(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`
}
