// Shows on every Node.js release of node-releases.json, or on those named as arguments, that we run there. Each of them
// comes first in PATH for: the dependencies' own demands, the unit tests, the demo, and what is installed from a tarball
// and from git. No process may warn, and the demo writes nothing to standard error.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fetchRelease, readReleases } from './node-releases.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const TEST = fileURLToPath(new URL('..', import.meta.url))
/** Where `npm run build:tests` leaves the tests, for all releases. */
const COMPILED = join(ROOT, '.test-build/test')
/** Folders of tests that start other programs or take random input: those run on one release, with everything else. */
const NO_UNIT_TESTS = new Set(['e2e', 'fuzz', 'network', 'terminators'])
/** Any part of a release that takes longer has hung. */
const TIMEOUT_MS = 900_000

interface Part {
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  /** Whether `npm test` has it all, too. */
  readonly isInSuite?: boolean
  /** What is wrong although the command ended with code 0, or undefined. */
  readonly findFault?: (stdout: string, stderr: string) => string | undefined
}

const PARTS: readonly Part[] = [
  { name: 'npm ci', command: 'npm', args: ['ci', '--engine-strict', '--dry-run'] },
  { name: 'demo', command: 'npm', args: ['run', '--silent', 'demo'], findFault: findFaultOfDemo },
  {
    name: 'unit tests',
    command: 'node',
    args: testArgs(['--enable-source-maps'], unitTests()),
    isInSuite: true,
  },
  {
    name: 'install',
    command: 'node',
    args: testArgs(['--import', 'tsx'], [join(TEST, 'releases/install.releases.ts')]),
  },
]

if (spawnSync('npm', ['run', '--silent', 'build:tests'], { cwd: ROOT }).status !== 0) {
  throw new Error('npm run build:tests failed')
}
/** Where the first release leaves the tarball that the others install, too. */
const packed = mkdtempSync(join(tmpdir(), 'tlscached-packed-'))
const named = process.argv.slice(2)
const faults = (named.length > 0 ? named : readReleases()).flatMap(runRelease)
rmSync(packed, { recursive: true })
for (const fault of faults) process.stdout.write(`${fault}\n`)
if (faults.length > 0) process.exitCode = 1

/** What went wrong on this release, one text each. */
function runRelease(version: string): string[] {
  const path = `${fetchRelease(version)}${delimiter}${process.env['PATH']}`
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-releases-'))
  const warnings = join(folder, 'warnings')
  process.stdout.write(`Node.js ${version}:`)
  const found: string[] = []
  try {
    for (const part of PARTS) {
      // `npm test` runs them there, with everything else.
      if (part.isInSuite === true && version === process.versions.node) continue
      const startMs = performance.now()
      const isDemo = part.findFault !== undefined
      const fault = runPart(part, version, {
        ...process.env,
        PATH: path,
        PACKED_FOLDER: packed,
        // A warning of a process whose standard error nobody sees is one, too.
        ...(isDemo ? {} : { NODE_OPTIONS: `--trace-warnings --redirect-warnings=${warnings}` }),
      })
      const seconds = Math.round((performance.now() - startMs) / 1000)
      process.stdout.write(` ${part.name} ${fault === undefined ? '' : 'FAILED '}${seconds} s,`)
      if (fault !== undefined) found.push(`Node.js ${version}, ${part.name}: ${fault}`)
    }
    if (existsSync(warnings)) found.push(`Node.js ${version} warns:\n${readFileSync(warnings)}`)
  } finally {
    rmSync(folder, { recursive: true })
  }
  process.stdout.write(found.length === 0 ? ' ok\n' : ' FAILED\n')
  return found
}

function runPart(part: Part, version: string, env: NodeJS.ProcessEnv): string | undefined {
  const { command, args, findFault } = part
  const options = {
    cwd: ROOT,
    env,
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
    maxBuffer: 2 ** 28,
  } as const
  const here = spawnSync('node', ['--version'], options).stdout.trim()
  if (here !== `v${version}`) return `node in PATH is ${here}`
  const { status, error, stdout, stderr } = spawnSync(command, args, options)
  if (error !== undefined) return `${error.message}\n${onlyFailures(stdout)}${stderr}`
  if (status !== 0) return `ends with ${status}\n${onlyFailures(stdout)}${stderr}`
  return findFault?.(stdout, stderr)
}

/** The end of what the test runner prints, or everything when it is another program. */
function onlyFailures(stdout: string): string {
  return stdout.slice(Math.max(0, stdout.indexOf('failing tests:')))
}

function findFaultOfDemo(stdout: string, stderr: string): string | undefined {
  if (stderr !== '') return `standard error is not empty:\n${stderr}`
  return /^400 of 400 offers resumed/m.test(stdout) ? undefined : `not all resumed:\n${stdout}`
}

function testArgs(loader: readonly string[], files: readonly string[]): string[] {
  return [...loader, '--test', '--test-concurrency=2', '--test-reporter=spec', ...files]
}

function unitTests(): string[] {
  return readdirSync(TEST)
    .filter((folder) => !NO_UNIT_TESTS.has(folder))
    .filter((folder) => existsSync(join(TEST, folder, 'all.ts')))
    .map((folder) => join(COMPILED, folder, 'all.js'))
}
