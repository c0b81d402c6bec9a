// `tlscached prove`: shakes hands with real servers, and says what resumes where and why not.

import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { Command, InvalidArgumentError, Option } from 'commander'
import { codeOf, messageOf, TlscachedError } from '../base/errors.ts'
import { hideKeys } from '../base/hidden-keys.ts'
import { readRegularFile } from '../base/regular-file.ts'
import { NOTHING_SEEN } from '../prove/observations.ts'
import {
  DEFAULT_LATER_MS,
  DEFAULT_TRIES,
  MAX_TRIES,
  type ProveOptions,
  type ProveResult,
  prove,
  resultOf,
} from '../prove/prove.ts'
import { documentOf, linesOf, matrixOf, metricsOf } from '../prove/report.ts'
import { TLS_VERSIONS, type TlsVersion } from '../tls-client/handshake.ts'
import { STARTTLS_PROTOCOLS, type StartTlsProtocol } from '../tls-client/starttls.ts'
import { FAILED } from './exit-codes.ts'
import { formatTable } from './stats.ts'
import { duration, interval, outputColumns, Progress, wrapped } from './terminal.ts'

interface ProveCommandOptions {
  readonly via?: string
  readonly serverName?: string
  readonly tls: readonly TlsVersion[]
  readonly starttls?: StartTlsProtocol
  readonly cert?: string
  readonly key?: string
  readonly ca?: string
  readonly tries: number
  readonly again: number
  readonly node?: readonly string[]
  readonly json?: boolean
  readonly watch?: number
  readonly textfile?: string
}

/** Longest file of certificates or a key. */
const MAX_PEM_BYTES = 1024 * 1024

export function proveCommand(): Command {
  return new Command('prove')
    .description(
      'Make TLS sessions on real servers, offer them to each, and say why not all resume.',
    )
    .argument('<server...>', 'HOST, HOST:PORT or [IPV6]:PORT; each address of a name is a server')
    .option('--via <balancer>', 'address that spreads connections over the servers')
    .option('--server-name <name>', 'server name (SNI), by default the first name given')
    .addOption(
      new Option('--tls <versions>', 'versions of TLS')
        .argParser(versions)
        .default(TLS_VERSIONS, TLS_VERSIONS.join(',')),
    )
    .addOption(
      new Option('--starttls <protocol>', 'what is spoken before TLS').choices(STARTTLS_PROTOCOLS),
    )
    .option('--cert <file>', 'certificate of the client, PEM')
    .option('--key <file>', 'key of the certificate, PEM')
    .option('--ca <file>', 'authorities that must have signed the certificates, PEM')
    .option('--tries <count>', 'sessions for each pair of servers', tries, DEFAULT_TRIES)
    .addOption(
      new Option('--again <duration>', 'offer sessions again after this time, 0s for never')
        .argParser(duration)
        .default(DEFAULT_LATER_MS, `${DEFAULT_LATER_MS / 1000}s`),
    )
    .option(
      '--node <address>',
      'HTTP frontend of a node, which tells what it was asked; may be repeated',
      (address: string, before: readonly string[] = []) => [...before, address],
    )
    .option('--json', 'print one JSON document for each run')
    .option('--watch <interval>', 'run again and again, until stopped', interval)
    .option('--textfile <file>', "write metrics for node_exporter's textfile collector")
    .action(run)
}

async function run(targets: readonly string[], options: ProveCommandOptions): Promise<void> {
  const { via, serverName, starttls: startTls, node: nodes } = options
  const settings = {
    ...{ targets, tls: options.tls, tries: options.tries, laterMs: options.again },
    ...(via !== undefined && { via }),
    ...(serverName !== undefined && { serverName }),
    ...(startTls !== undefined && { startTls }),
    ...(nodes !== undefined && { nodes }),
    ...readPem('cert', options.cert),
    ...readPem('key', options.key),
    ...readPem('ca', options.ca),
  }
  const progress = new Progress()
  const onHandshake = (count: number) => progress.show('handshakes made:', count)
  for (;;) {
    const startMs = performance.now()
    const isAllResumed = await runOnce({ ...settings, onHandshake }, options, progress)
    if (options.watch === undefined) {
      if (!isAllResumed) process.exitCode = FAILED
      return
    }
    await delay(Math.max(0, startMs + options.watch - performance.now()))
  }
}

/** Whether all sessions resumed. Rejects for wrong usage only: a name or node out of reach is printed. */
async function runOnce(
  settings: ProveOptions,
  options: ProveCommandOptions,
  progress: Progress,
): Promise<boolean> {
  let result: ProveResult
  try {
    result = await prove(settings)
    progress.clear()
    print(result, options.json === true)
  } catch (error) {
    progress.clear()
    if (codeOf(error) !== 'ERR_UNREACHABLE') throw error
    console.error(hideKeys(messageOf(error)))
    result = resultOf(NOTHING_SEEN)
  }
  if (options.textfile !== undefined) writeMetrics(options.textfile, result)
  return result.isAllResumed
}

function print(result: ProveResult, isJson: boolean): void {
  if (isJson) {
    console.log(JSON.stringify(documentOf(result)))
    return
  }
  const { head, rows } = matrixOf(result)
  const lines = linesOf(result).flatMap((line) => {
    const indent = line.length - line.trimStart().length
    return wrapped(line, outputColumns(), indent + 2)
  })
  console.log([formatTable(head, rows), '', ...lines].join('\n'))
}

/** Replaces the file as a whole, since a collector may read it at any time. */
function writeMetrics(file: string, result: ProveResult): void {
  const unfinished = `${file}.${process.pid}.tmp`
  try {
    writeFileSync(unfinished, metricsOf(result, Date.now()), { mode: 0o644 })
    renameSync(unfinished, file)
  } catch (error) {
    rmSync(unfinished, { force: true })
    throw new Error(`--textfile: ${messageOf(error)}`, { cause: error })
  }
}

function readPem(name: 'cert' | 'key' | 'ca', file: string | undefined) {
  if (file === undefined) return {}
  try {
    return { [name]: readRegularFile(file, MAX_PEM_BYTES).text }
  } catch (error) {
    throw new TlscachedError('ERR_USAGE', `--${name}: ${messageOf(error)}`)
  }
}

function versions(text: string): readonly TlsVersion[] {
  const asked = text.split(',')
  const known = TLS_VERSIONS.filter((version) => asked.includes(version))
  if (known.length === new Set(asked).size) return known
  throw new InvalidArgumentError(`must be some of ${TLS_VERSIONS.join(',')}`)
}

function tries(text: string): number {
  const count = /^\d{1,4}$/.test(text) ? Number(text) : 0
  if (count >= 1 && count <= MAX_TRIES) return count
  throw new InvalidArgumentError(`must be a whole number, 1..${MAX_TRIES}`)
}
