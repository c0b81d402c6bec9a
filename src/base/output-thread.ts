// Lines for standard output and standard error, written by a thread of its own from a bounded queue, so that the event
// loop never waits for the reader of a pipe, a disk, a socket or a terminal. A line for which the queue has no room, or
// whose write fails, is dropped and counted.
//
// The thread writes synchronously: no thread of libuv's pool waits for the reader, and the flags of the descriptors,
// which other processes may share, stay as they are. (The streams of `process` make a pipe or a terminal non-blocking.)
//
// Layout of the queue, in shared memory:
//   4 bytes  WRITTEN  bytes ever queued, modulo 2^32; changed by the event loop, or by `putLast` when that hangs
//   4 bytes  TAKEN    bytes whose lines are written or dropped, modulo 2^32; only the thread changes it
//   4 bytes  DROPPED  lines dropped
//   4 bytes  PAUSE    always 0; the thread waits on it before it tries a write again
//   4 bytes  READY    1 as soon as the thread runs
//   then a ring of QUEUE_BYTES with one record per line: 1 byte descriptor, 4 bytes length (little endian), the line.
//   A record with the descriptor END_OF_OUTPUT ends the thread.

import { SHARE_ENV, Worker } from 'node:worker_threads'
import { exitAtOnce } from './exit-at-once.ts'
import { systemClock } from './world.ts'

export const STANDARD_OUTPUT = 1
export const STANDARD_ERROR = 2

/** Most bytes that may wait in the queue; a power of two, so that positions may wrap around. */
export const QUEUE_BYTES = 1 << 20
/** Longest wait at the end of the process for lines that are not written yet. */
export const FLUSH_TIMEOUT_MS = 1000
/** Longest wait for the thread to start, so that even a busy machine still prints why a process could not start. */
const START_TIMEOUT_MS = 10_000

const WRITTEN = 0
const TAKEN = 1
const DROPPED = 2
const PAUSE = 3
const READY = 4
const COUNTS = 5
const COUNTS_BYTES = COUNTS * Int32Array.BYTES_PER_ELEMENT
const RECORD_HEADER_BYTES = 5
/** In place of a descriptor; that of standard input, to which nothing is written. */
const END_OF_OUTPUT = 0
const NO_BYTES = Buffer.alloc(0)

/**
 * Source of the writing thread, in JavaScript because a worker loads no TypeScript on Node.js 20. When a write fails in
 * the middle of a line, the next line begins with a line break. EAGAIN means that another process made the descriptor,
 * which both share, non-blocking; the thread then tries again every 20 ms.
 */
const THREAD = `
const { workerData } = require('node:worker_threads')
const { writeSync } = require('node:fs')
const counts = new Int32Array(workerData, 0, ${COUNTS})
const ring = new Uint8Array(workerData, ${COUNTS_BYTES})
const torn = new Set()
Atomics.store(counts, ${READY}, 1)
Atomics.notify(counts, ${READY})
for (;;) {
  const taken = counts[${TAKEN}]
  const written = Atomics.load(counts, ${WRITTEN})
  if (taken === written) {
    Atomics.wait(counts, ${WRITTEN}, written)
    continue
  }
  const header = read(taken, ${RECORD_HEADER_BYTES})
  const length = header.readUInt32LE(1)
  const line = read(taken + ${RECORD_HEADER_BYTES}, length)
  if (header[0] === ${END_OF_OUTPUT}) {
    Atomics.store(counts, ${TAKEN}, (taken + ${RECORD_HEADER_BYTES}) | 0)
    break
  }
  try {
    write(header[0], line)
  } catch {
    Atomics.add(counts, ${DROPPED}, 1)
  }
  Atomics.store(counts, ${TAKEN}, (taken + ${RECORD_HEADER_BYTES} + length) | 0)
  Atomics.notify(counts, ${TAKEN})
}
function read(position, length) {
  const bytes = Buffer.allocUnsafe(length)
  const start = position & (ring.length - 1)
  const end = Math.min(start + length, ring.length)
  bytes.set(ring.subarray(start, end))
  bytes.set(ring.subarray(0, length - (end - start)), end - start)
  return bytes
}
function write(descriptor, line) {
  const bytes = torn.has(descriptor) ? Buffer.concat([Buffer.from('\\n'), line]) : line
  let done = 0
  while (done < bytes.length) {
    try {
      done += writeSync(descriptor, bytes, done)
    } catch (error) {
      if (error.code !== 'EAGAIN') {
        if (done > 0) torn.add(descriptor)
        throw error
      }
      Atomics.wait(counts, ${PAUSE}, 0, 20)
    }
  }
  torn.delete(descriptor)
}
`

/**
 * JavaScript source of a function `putLast(memory, descriptor, line, waitMs)`, for the thread that ends a process whose
 * event loop hangs. The function queues one more line if there is room, and gives the writing thread `waitMs` for it.
 */
export const PUT_LAST_SOURCE = `
function putLast(memory, descriptor, line, waitMs) {
  const counts = new Int32Array(memory, 0, ${COUNTS})
  const ring = new Uint8Array(memory, ${COUNTS_BYTES})
  const bytes = Buffer.concat([Buffer.alloc(${RECORD_HEADER_BYTES}), Buffer.from(line)])
  bytes[0] = descriptor
  bytes.writeUInt32LE(bytes.length - ${RECORD_HEADER_BYTES}, 1)
  const written = counts[${WRITTEN}]
  const taken = Atomics.load(counts, ${TAKEN})
  if (((written - taken) >>> 0) + bytes.length > ring.length) return
  for (const [index, byte] of bytes.entries()) ring[(written + index) & (ring.length - 1)] = byte
  Atomics.store(counts, ${WRITTEN}, (written + bytes.length) | 0)
  Atomics.notify(counts, ${WRITTEN})
  Atomics.wait(counts, ${TAKEN}, taken, waitMs)
}
`

export class OutputThread {
  /** The queue and its counters; `putLast` needs them. */
  readonly memory = new SharedArrayBuffer(COUNTS_BYTES + QUEUE_BYTES)
  readonly #counts = new Int32Array(this.memory, 0, COUNTS)
  readonly #ring = new Uint8Array(this.memory, COUNTS_BYTES)
  readonly #header = Buffer.alloc(RECORD_HEADER_BYTES)
  /** The thread from the first line on until `stop` has ended it; it does not keep the process running. */
  #worker: Worker | undefined
  /** Whether the thread could not be started or died: lines are only counted from then on. */
  #hasFailed = false
  /**
   * When the process exits, it waits for lines that are not written yet, as `flush` does with FLUSH_TIMEOUT_MS, and
   * then ends even if the thread hangs.
   */
  readonly #onProcessExit = (code: number) => {
    if (!this.flush(FLUSH_TIMEOUT_MS)) exitAtOnce(code)
  }

  /** Lines that were dropped because the queue was full or because writing them failed. */
  get droppedLines(): number {
    return (this.#counts[DROPPED] ?? 0) >>> 0
  }

  /** Queues a line, which has to end with a line break. Never waits and never throws. */
  write(descriptor: typeof STANDARD_OUTPUT | typeof STANDARD_ERROR, line: string): void {
    if (this.#worker === undefined && !this.#hasFailed) this.#start()
    if (this.#hasFailed || !this.#add(descriptor, Buffer.from(line))) {
      Atomics.add(this.#counts, DROPPED, 1)
    }
  }

  /**
   * Ends the thread when it has written the lines that wait, and resolves then, or after FLUSH_TIMEOUT_MS if it hangs.
   * A later line starts a thread again.
   */
  async stop(): Promise<void> {
    const worker = this.#worker
    if (worker === undefined || !this.#add(END_OF_OUTPUT, NO_BYTES)) return
    await new Promise<void>((resolve) => {
      const timer = systemClock.after(FLUSH_TIMEOUT_MS, resolve)
      worker.once('exit', () => {
        timer.cancel()
        resolve()
      })
    })
  }

  /**
   * Blocks until all lines are written or dropped. Returns false when that takes longer than `timeoutMs`, counted from
   * when the thread runs, for which it waits at most START_TIMEOUT_MS.
   */
  flush(timeoutMs: number): boolean {
    if (this.#worker !== undefined && this.#counts[TAKEN] !== this.#counts[WRITTEN]) {
      Atomics.wait(this.#counts, READY, 0, START_TIMEOUT_MS)
    }
    const endMs = systemClock.monotonicMs() + timeoutMs
    while (this.#worker !== undefined) {
      const taken = Atomics.load(this.#counts, TAKEN)
      if (taken === this.#counts[WRITTEN]) break
      const leftMs = endMs - systemClock.monotonicMs()
      if (leftMs <= 0) return false
      Atomics.wait(this.#counts, TAKEN, taken, leftMs)
    }
    return true
  }

  #start(): void {
    Atomics.store(this.#counts, READY, 0)
    try {
      this.#worker = new Worker(THREAD, {
        eval: true,
        name: 'tlscached-output',
        workerData: this.memory,
        // The worker has streams of its own: otherwise Node.js opens those of the process, and makes them non-blocking.
        stdout: true,
        stderr: true,
        // Modules that are preloaded into the process (--import, --require) do not belong into this thread.
        execArgv: [],
        env: SHARE_ENV,
      })
    } catch {
      this.#hasFailed = true
      return
    }
    process.once('exit', this.#onProcessExit)
    this.#worker.on('error', () => {
      this.#hasFailed = true
    })
    this.#worker.once('exit', () => this.#ended())
    this.#worker.unref()
  }

  #ended(): void {
    this.#worker = undefined
    process.removeListener('exit', this.#onProcessExit)
    // A line that was queued behind END_OF_OUTPUT.
    if (!this.#hasFailed && this.#counts[TAKEN] !== this.#counts[WRITTEN]) this.#start()
  }

  /** Queues a record; false when there is no room for it. */
  #add(descriptor: number, bytes: Buffer): boolean {
    const written = this.#counts[WRITTEN] ?? 0
    const usedBytes = (written - Atomics.load(this.#counts, TAKEN)) >>> 0
    if (usedBytes + RECORD_HEADER_BYTES + bytes.length > QUEUE_BYTES) return false
    this.#header[0] = descriptor
    this.#header.writeUInt32LE(bytes.length, 1)
    this.#put(written, this.#header)
    this.#put(written + RECORD_HEADER_BYTES, bytes)
    const end = (written + RECORD_HEADER_BYTES + bytes.length) | 0
    Atomics.store(this.#counts, WRITTEN, end)
    Atomics.notify(this.#counts, WRITTEN)
    return true
  }

  #put(position: number, bytes: Uint8Array): void {
    const start = position & (QUEUE_BYTES - 1)
    const untilWrap = Math.min(bytes.length, QUEUE_BYTES - start)
    this.#ring.set(bytes.subarray(0, untilWrap), start)
    this.#ring.set(bytes.subarray(untilWrap), 0)
  }
}
