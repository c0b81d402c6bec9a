// The standard streams of a command that runs until it is stopped. Node.js opens those of the process when something first
// asks for them, as its own module `assert` does, and then a pipe or a terminal is non-blocking for every process that
// shares it, while a write to it may wait all the same. So others take their place before anything else is loaded.

import { writeSync } from 'node:fs'
import { Writable } from 'node:stream'

/** Takes a chunk that was written to a standard stream. */
export type Sink = (text: string) => void

/**
 * Puts streams in place of `process.stdout` and `process.stderr` that write to the descriptors as they are and wait, which
 * is right for a usage error or a help text. What cannot be written is dropped.
 */
export function replaceStandardStreams(): void {
  setSink('stdout', toDescriptor(1))
  setSink('stderr', toDescriptor(2))
}

/** Sends what anybody writes to this standard stream of the process to `sink` from now on. */
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
      // Its reader is gone, or it is full: there is nobody to tell.
    }
  }
}
