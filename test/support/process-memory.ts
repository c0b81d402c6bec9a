// The memory of another process, as a core dump of it would have it: everything that it can write to, and what belongs to
// no file. Only its own user and root can read that.

import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import type { FoundSecret, SecretSearch } from './secret-search.ts'

const READ_BYTES = 4 * 1024 * 1024

export interface FoundInMemory extends FoundSecret {
  /** The mapping as /proc/PID/maps calls it; '' for memory without a name. */
  readonly mapping: string
  /** Address, and the bytes around it as text. */
  readonly address: number
  readonly around: string
}

/** Stops the process while all of its memory is searched. */
export function searchMemory(pid: number, search: SecretSearch) {
  process.kill(pid, 'SIGSTOP')
  try {
    untilStopped(pid)
    return searchMappings(pid, search)
  } finally {
    process.kill(pid, 'SIGCONT')
  }
}

function searchMappings(pid: number, search: SecretSearch) {
  const found: FoundInMemory[] = []
  let searchedBytes = 0
  const file = openSync(`/proc/${pid}/mem`, 'r')
  const buffer = Buffer.alloc(READ_BYTES)
  try {
    for (const { start, end, mapping } of mappingsOf(pid)) {
      for (let address = start; address < end; address += READ_BYTES - search.overlapBytes) {
        const wanted = Math.min(READ_BYTES, end - address)
        const length = readAt(file, buffer, wanted, address)
        searchedBytes += length
        const bytes = buffer.subarray(0, length)
        for (const one of search.find(bytes)) {
          const around = bytes.toString('latin1', Math.max(0, one.at - 32), one.at + 64)
          found.push({ ...one, mapping, address: address + one.at, around: visible(around) })
        }
      }
    }
  } finally {
    closeSync(file)
    buffer.fill(0)
  }
  return { found, searchedBytes }
}

function* mappingsOf(pid: number) {
  for (const line of readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')) {
    const match = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)$/.exec(line)
    const [, from = '', to = '', access = '', mapping = ''] = match ?? []
    const isFile = mapping.startsWith('/')
    if (!access.startsWith('r') || (isFile && !access.startsWith('rw'))) continue
    if (['[vvar]', '[vsyscall]', '[vvar_vclock]', '[vdso]'].includes(mapping)) continue
    yield { start: Number.parseInt(from, 16), end: Number.parseInt(to, 16), mapping }
  }
}

/** Reads as much as is there; what cannot be read counts as nothing. */
function readAt(file: number, buffer: Buffer, wanted: number, address: number): number {
  let length = 0
  while (length < wanted) {
    const got = readSync(file, buffer, length, wanted - length, address + length)
    if (got === 0) break
    length += got
  }
  return length
}

function untilStopped(pid: number): void {
  while (!/^State:\s+[tT]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))) {
    // The kernel stops a process within a moment.
  }
}

function visible(text: string): string {
  return text.replaceAll(/[^ -~]/g, '.')
}
