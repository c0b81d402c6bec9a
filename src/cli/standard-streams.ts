// The standard streams of a command that runs until it is stopped. Node.js opens those of the process at their first
// use, also by its own module `assert`. That makes a pipe or a terminal non-blocking for every process that shares it,
// while a write may still block. So these streams are replaced before anything else is loaded.

import { writeSync } from 'node:fs'
import { Writable } from 'node:stream'

/** Receives text that was written to a standard stream. */
export type Sink = (text: string) => void

/**
 * Replaces `process.stdout` and `process.stderr` by streams that write to the descriptors in the mode that these have,
 * and block, which is right for a usage error or a help text. What cannot be written is dropped.
 */
export function replaceStandardStreams(): void {
  setSink('stdout', toDescriptor(1))
  setSink('stderr', toDescriptor(2))
}

/** Passes everything that is written to this standard stream of the process to `sink` from now on. */
export function setSink(name: 'stdout' | 'stderr', sink: Sink): void {
  const stream = new Writable({
    decodeStrings: false,
    write(chunk: string | Uint8Array, _encoding, done) {
      sink(chunk.toString())
      done()
    },
  })
  Object.defineProperty(process, name, { configurable: true, enumerable: true, get: () => stream })
}

function toDescriptor(descriptor: number): Sink {
  return (text) => {
    try {
      writeSync(descriptor, text)
    } catch {
      // The reader is gone or the pipe is full: the text is dropped.
    }
  }
}
