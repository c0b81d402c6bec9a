// Ends a process whose event loop hangs, so that those who wait for it without a limit, as Apache does, get a closed
// socket instead of silence. Only for programs of our own, never for one that uses the library.
//
// The event loop counts its turns in shared memory; a thread of its own looks at that count. It measures time by its own
// looks, not by a clock: a process that was stopped, suspended or starved as a whole got no looks either. While a debugger
// of JavaScript is listening (`--inspect`, SIGUSR1) nothing is ended.

import { url as inspectorUrl } from 'node:inspector'
import { SHARE_ENV, Worker } from 'node:worker_threads'
import { messageOf } from './errors.ts'
import { EXIT_AT_ONCE_SOURCE } from './exit-at-once.ts'
import { createLogger, type Logger, type LoggerOptions } from './logger.ts'
import { type OutputThread, PUT_LAST_SOURCE, STANDARD_ERROR } from './output-thread.ts'

export const DEFAULT_WATCHDOG_MS = 2000
/** A shorter one would end a process that is only slow. */
export const MIN_WATCHDOG_MS = 500
export const MAX_WATCHDOG_MS = 60_000

/** Looks of the thread at the event loop without a turn of it, until it counts as hung. */
const LOOKS = 20
const TURNS_PER_TIMEOUT = 10
/** Longest time without a turn while work goes on that is known to be long. */
const MAX_LONG_WORK_MS = 60_000
/** For the thread of the log to write the last line. */
const LAST_LINE_MS = 100
/** How the process ends where SIGKILL has no effect. */
const EXIT_CODE = 1

const TURNS = 0
const IS_DEBUGGED = 1
/** 1 at the end of the process. */
const IS_OVER = 2
const LONG_WORK = 3
const COUNTS = 4

/** JavaScript, as a worker loads no TypeScript on Node.js 20. */
const THREAD = `
const { workerData } = require('node:worker_threads')
const { memory, lookMs, queue, lastLine } = workerData
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
  /** Longest time without a turn of the event loop; 0 is off. */
  readonly timeoutMs: number
  readonly output: OutputThread
  /** How the last line is written. */
  readonly log: LoggerOptions
  readonly logger: Logger
}

/**
 * Does work that may take longer than the watchdog's timeout, such as reading large files. It has MAX_LONG_WORK_MS without
 * a turn of the event loop.
 */
export type LongWork = <T>(work: () => T) => T

/** Watches the event loop of this process from now to its end, and keeps no process running. */
export function startWatchdog({ timeoutMs, output, log, logger }: WatchdogOptions): LongWork {
  if (timeoutMs === 0) return (work) => work()
  const memory = new SharedArrayBuffer(COUNTS * Int32Array.BYTES_PER_ELEMENT)
  const counts = new Int32Array(memory)
  const turn = () => {
    Atomics.add(counts, TURNS, 1)
    Atomics.store(counts, IS_DEBUGGED, inspectorUrl() === undefined ? 0 : 1)
  }
  turn()
  const lastLine = lastLineOf(log, timeoutMs)
  const workerData = { memory, lookMs: timeoutMs / LOOKS, queue: output.memory, lastLine }
  const worker = new Worker(THREAD, {
    eval: true,
    name: 'tlscached-watchdog',
    workerData,
    // For these four, see OutputThread.
    stdout: true,
    stderr: true,
    execArgv: [],
    env: SHARE_ENV,
  })
  worker.on('error', (error) => {
    logger.error({ reason: messageOf(error) }, 'the watchdog ended: a hung process stays')
  })
  worker.unref()
  // Before the log is flushed: the process may then end by exit(3), beside which no thread may run JavaScript.
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
      // A turn first: the looks of before do not count towards the shorter time that holds from here on.
      turn()
      Atomics.store(counts, LONG_WORK, 0)
    }
  }
}

/** Formatted now, as the event loop will not do it then; the thread puts in the time. */
function lastLineOf(log: LoggerOptions, timeoutMs: number): string {
  let lastLine = ''
  const write = (_descriptor: number, line: string) => {
    lastLine = line
  }
  const message = 'the event loop hangs: the process is killed, so that nobody waits for it'
  createLogger(log, { write }).error({ timeoutMs }, message)
  return lastLine
}
