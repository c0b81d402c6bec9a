// Reads regular files only: reading a FIFO without a writer, or a terminal, would block the event loop for ever.

import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs'

/** With these flags open(2) of a FIFO or a terminal does not block either. They change nothing for a regular file. */
const OPEN_FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY
/** Least first size of the buffer, for files whose size the system does not know, such as those in /proc. */
const SMALLEST_BUFFER_BYTES = 4096

export interface RegularFile {
  readonly text: string
  readonly status: Stats
}

/**
 * Reads the whole file as UTF-8. Throws the error of the system, or an Error when it is not a regular file or is larger
 * than `maxBytes`. `check` is called with the status of the open file before anything is read, and may throw.
 */
export function readRegularFile(
  path: string,
  maxBytes: number,
  check: (status: Stats) => void = () => {},
): RegularFile {
  const descriptor = openSync(path, OPEN_FLAGS)
  try {
    // fstat(2) looks at the open file, which cannot be exchanged between this check and the read.
    const status = fstatSync(descriptor)
    if (!status.isFile()) throw new Error('not a regular file')
    check(status)
    return { text: readText(descriptor, status.size, maxBytes), status }
  } finally {
    closeSync(descriptor)
  }
}

/** Reads to the end, also when the file grows meanwhile or its size is not known. Throws above `maxBytes`. */
function readText(descriptor: number, sizeBytes: number, maxBytes: number): string {
  const firstBytes = Math.max(sizeBytes + 1, SMALLEST_BUFFER_BYTES)
  let bytes = Buffer.alloc(Math.min(firstBytes, maxBytes + 1))
  let length = 0
  for (;;) {
    const read = readSync(descriptor, bytes, length, bytes.length - length, null)
    length += read
    if (length > maxBytes) throw new Error(`larger than ${maxBytes} bytes`)
    if (read === 0) return bytes.toString('utf8', 0, length)
    if (length < bytes.length) continue
    const larger = Buffer.alloc(Math.min(2 * bytes.length, maxBytes + 1))
    bytes.copy(larger)
    bytes = larger
  }
}
