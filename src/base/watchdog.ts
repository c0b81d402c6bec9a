// Ends a process whose event loop hangs, so that clients that wait for it without a timeout, such as Apache, get a
// closed socket instead of silence. Only our own programs use it, never a program that uses the library.
//
// The event loop counts its turns in shared memory, and a separate thread looks at that count at a fixed interval. The
// thread measures time by the number of its looks, not by a clock: while the whole process is stopped or suspended, the
// thread does not look either. Where many others want the processors, an event loop that is only slow looks like one that
// hangs. While a JavaScript debugger is listening (`--inspect`, SIGUSR1) the process is never ended.

import { url as inspectorUrl } from 'node:inspector'
import { join } from 'node:path'
import { SHARE_ENV, Worker } from 'node:worker_threads'
import { messageOf } from './errors.ts'
import { EXIT_AT_ONCE_SOURCE } from './exit-at-once.ts'
import { createLogger, type LoggerOptions } from './logger.ts'
import { type OutputThread, PUT_LAST_SOURCE, STANDARD_ERROR } from './output-thread.ts'
import { readRegularFile } from './regular-file.ts'
import type { Logger } from './world.ts'

export const DEFAULT_WATCHDOG_MS = 2000
/** Shortest timeout other than 0 (off): a shorter one would end a process that is only slow. */
export const MIN_WATCHDOG_MS = 500
export const MAX_WATCHDOG_MS = 60_000

/** Looks of the thread in one timeout: after this many without a turn, the event loop counts as hung. */
const LOOKS = 20
/** Times in one timeout that the event loop counts a turn. */
const TURNS_PER_TIMEOUT = 10
/** Longest time without a turn of the event loop during LongWork. */
const MAX_LONG_WORK_MS = 60_000
/** Time that the output thread has to write the last line. */
const LAST_LINE_MS = 100
/** Exit code of the process where SIGKILL has no effect. */
const EXIT_CODE = 1

const TURNS = 0
const IS_DEBUGGED = 1
/** Index of a value that is 1 when the process exits, so that the thread ends first. */
const IS_OVER = 2
const LONG_WORK = 3
const COUNTS = 4

/** Source of the watching thread, in JavaScript because a worker loads no TypeScript on Node.js 20. */
const THREAD = `
const { workerData } = require('node:worker_threads')
const { memory, lookMs, queue, lastLine, kills } = workerData
const counts = new Int32Array(memory)
let turns = -1
let looks = 0
for (;;) {
  Atomics.wait(counts, ${IS_OVER}, 0, lookMs)
  if (Atomics.load(counts, ${IS_OVER}) === 1) break
  const now = Atomics.load(counts, ${TURNS})
  looks = now === turns && Atomics.load(counts, ${IS_DEBUGGED}) === 0 ? looks + 1 : 0
  turns = now
  if (looks < (Atomics.load(counts, ${LONG_WORK}) === 0 ? ${LOOKS} : ${MAX_LONG_WORK_MS} / lookMs)) continue
  if (kills !== undefined) {
    try {
      require('node:fs').writeFileSync(kills.file, kills.count + 1 + '\\n')
    } catch {}
  }
  const time = new Date().toISOString()
  putLast(queue, ${STANDARD_ERROR}, lastLine.replace(/\\d{4}-\\d\\d-\\d\\dT[0-9:.+Z]+/, time), ${LAST_LINE_MS})
  process.kill(process.pid, 'SIGKILL')
  // The first process of a container gets no SIGKILL of its own.
  Atomics.wait(counts, ${IS_OVER}, 0, 100)
  const exitAtOnce = ${EXIT_AT_ONCE_SOURCE}
  exitAtOnce(${EXIT_CODE})
}
${PUT_LAST_SOURCE}
`

export interface WatchdogOptions {
  /** Longest time without a turn of the event loop; 0 switches the watchdog off. */
  readonly timeoutMs: number
  readonly output: OutputThread
  /** Level, format and node name of the last line. */
  readonly log: LoggerOptions
  readonly logger: Logger
  /** Where one more kill is counted. */
  readonly kills?: Kills | undefined
}

/** The number of times that the watchdog killed a service, in a file that the next process of the service reads. */
export interface Kills {
  readonly file: string
  /** Kills until this process started, since the machine did. */
  readonly count: number
}

const KILLS_FILE = 'watchdog-kills'
const MAX_KILLS_FILE_BYTES = 16

/**
 * Reads how often the service was killed before; undefined without RUNTIME_DIRECTORY, systemd's name for a folder on a
 * file system in memory. A file that is missing or unreadable counts as no kill.
 */
export function readKills({ RUNTIME_DIRECTORY }: NodeJS.ProcessEnv): Kills | undefined {
  const [folder] = RUNTIME_DIRECTORY?.split(':') ?? []
  if (!folder) return undefined
  const file = join(folder, KILLS_FILE)
  try {
    const { text } = readRegularFile(file, MAX_KILLS_FILE_BYTES)
    return { file, count: /^\d{1,9}\n$/.test(text) ? Number(text) : 0 }
  } catch {
    return { file, count: 0 }
  }
}

/**
 * Runs synchronous work that may take longer than the watchdog's timeout, such as reading large files, and returns its
 * result. The process is ended when the work takes longer than MAX_LONG_WORK_MS.
 */
export type LongWork = <T>(work: () => T) => T

/** Watches the event loop until the process ends, without keeping the process running. Returns how to run long work. */
export function startWatchdog(options: WatchdogOptions): LongWork {
  const { timeoutMs, output, log, logger, kills } = options
  if (timeoutMs === 0) return (work) => work()
  const memory = new SharedArrayBuffer(COUNTS * Int32Array.BYTES_PER_ELEMENT)
  const counts = new Int32Array(memory)
  const turn = () => {
    Atomics.add(counts, TURNS, 1)
    Atomics.store(counts, IS_DEBUGGED, inspectorUrl() === undefined ? 0 : 1)
  }
  turn()
  const lastLine = lastLineOf(log, timeoutMs)
  const workerData = { memory, lookMs: timeoutMs / LOOKS, queue: output.memory, lastLine, kills }
  const worker = new Worker(THREAD, {
    eval: true,
    name: 'tlscached-watchdog',
    workerData,
    // OutputThread says why a worker gets its own streams and none of the modules that are preloaded.
    stdout: true,
    stderr: true,
    execArgv: [],
    env: SHARE_ENV,
  })
  worker.on('error', (error) => {
    logger.error({ reason: messageOf(error) }, 'the watchdog ended: a hung process stays')
  })
  worker.unref()
  // This listener runs before that of OutputThread, which may call exit(3): no thread may run JavaScript during that.
  process.prependOnceListener('exit', () => {
    Atomics.store(counts, IS_OVER, 1)
    Atomics.notify(counts, IS_OVER)
  })
  setInterval(turn, timeoutMs / TURNS_PER_TIMEOUT).unref()
  return (work) => {
    Atomics.store(counts, LONG_WORK, 1)
    try {
      return work()
    } finally {
      // Count a turn first: looks during the long work must not count towards the shorter timeout that applies again.
      turn()
      Atomics.store(counts, LONG_WORK, 0)
    }
  }
}

/** Formats the last line in advance, since a hung event loop cannot do it; the thread replaces the time in it. */
function lastLineOf(log: LoggerOptions, timeoutMs: number): string {
  let lastLine = ''
  const write = (_descriptor: number, line: string) => {
    lastLine = line
  }
  const message = 'the event loop hangs: the process is killed, so that nobody waits for it'
  createLogger(log, { write }).error({ timeoutMs }, message)
  return lastLine
}
