// What HAProxy's runtime socket needs: reading which keys it has, and pushing only those that are missing. A push is
// not idempotent: it shifts all slots, so a key that is pushed twice throws a live one out.

import { HAPROXY_SLOTS } from './key-files.ts'

/** Asks HAProxy for all its ticket keys. */
export const SHOW_KEYS = 'show tls-keys *\n'
/** What HAProxy answers to a push that it took. */
export const PUSHED = 'TLS ticket key updated!'
/** The line above the keys of a file, and the first word of the line of each key. */
const HEADER = /^#? ?\d+ \((.*)\)$/
const SLOT = /^\d+\.\d+$/

/**
 * The keys that HAProxy has for this file, the oldest first, as digits of base64 in the memory of `answer`; undefined
 * when it has none for the file. The answer to SHOW_KEYS has a line `# 0 (FILE)` for each file, and below it one line
 * `0.0 KEY` for each slot. It holds secrets: the caller erases it.
 */
export function parseShownKeys(answer: Buffer, file: string): Buffer[] | undefined {
  let keys: Buffer[] | undefined
  let isOurs = false
  for (const line of linesOf(answer)) {
    const space = line.indexOf(' ')
    if (space > 0 && SLOT.test(line.toString('latin1', 0, space))) {
      if (isOurs) keys?.push(line.subarray(space + 1))
      continue
    }
    // The line of a slot never gets here: its key must not become a string.
    const header = HEADER.exec(line.toString())
    if (header === null) continue
    isOurs = header[1] === file
    if (isOurs) keys = []
  }
  return keys
}

/**
 * The keys that have to be pushed, in order: those of `wanted` behind the longest run at its start that is the end of
 * `held`. Empty when HAProxy has what it should have. Both lists are in the same spelling, the oldest key first.
 */
export function keysToPush(held: readonly Buffer[], wanted: readonly Buffer[]): Buffer[] {
  for (let overlap = Math.min(held.length, HAPROXY_SLOTS); overlap > 0; overlap -= 1) {
    const tail = held.slice(-overlap)
    if (tail.every((key, index) => wanted[index]?.equals(key) === true))
      return wanted.slice(overlap)
  }
  return [...wanted]
}

/**
 * One line for the runtime socket that pushes keys, each given as digits of base64, one right after the other: a key that
 * HAProxy mints between two pushes may not be among those that it keeps. The caller erases the line.
 */
export function pushCommand(file: string, keys: readonly Buffer[]): Buffer {
  const head = Buffer.from(`set ssl tls-key ${file} `)
  const end = Buffer.from(';')
  const parts = keys.flatMap((digits) => [head, digits, end])
  return Buffer.concat([...parts.slice(0, -1), Buffer.from('\n')])
}

/** Yields the lines of a text without their ends, as views of its bytes. */
export function* linesOf(text: Buffer): Generator<Buffer> {
  for (let start = 0; start < text.length; ) {
    const end = text.indexOf(10, start)
    const line = text.subarray(start, end < 0 ? text.length : end)
    yield line
    start += line.length + 1
  }
}
