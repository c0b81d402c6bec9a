// Reads a file without waiting for anybody: a FIFO without a writer, or a terminal, would hold up the event loop for ever.

import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs'

/** Opening a FIFO or a terminal does not wait either. A regular file is read the same way with and without these flags. */
const OPEN_FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY
/** First size of the buffer for a file whose size is not known, such as one in /proc. */
const SMALLEST_BUFFER_BYTES = 4096

export interface RegularFile {
  readonly text: string
  readonly status: Stats
}

/**
 * The whole file as UTF-8. Throws what the system says, and an error when it is not a regular file or larger than
 * `maxBytes`. `check` sees the status of the open file before anything is read, and may throw.
 */
export function readRegularFile(
  path: string,
  maxBytes: number,
  check: (status: Stats) => void = () => {},
): RegularFile {
  const descriptor = openSync(path, OPEN_FLAGS)
  try {
    // Asked of the open file, so that it cannot be exchanged between the question and the reading.
    const status = fstatSync(descriptor)
    if (!status.isFile()) throw new Error('not a regular file')
    check(status)
    return { text: readText(descriptor, status.size, maxBytes), status }
  } finally {
    closeSync(descriptor)
  }
}

/** Reads to the end, also of a file that grows meanwhile or whose size is not known, and never more than `maxBytes`. */
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
