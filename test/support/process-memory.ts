// The memory of another process, as a core dump of it would have it: everything that it can write to, and what belongs to
// no file. Only its own user and root can read that.

import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import type { FoundSecret, SecretSearch } from './secret-search.ts'

const READ_BYTES = 64 * 1024
const PAGE_BYTES = 4096
/** One entry of /proc/PID/pagemap; the two highest bits say that the page is in memory or swapped out. */
const PAGE_ENTRY_BYTES = 8
const PAGE_IN_USE = 0xc0

export interface FoundInMemory extends FoundSecret {
  /** The mapping as /proc/PID/maps calls it; '' for memory without a name. */
  readonly mapping: string
  /** Address, and the bytes around it as text. */
  readonly address: number
  readonly around: string
}

/** Runs `call` while these processes stand still. */
export function whileStopped<Result>(pids: readonly number[], call: () => Result): Result {
  for (const pid of pids) process.kill(pid, 'SIGSTOP')
  try {
    for (const pid of pids) untilStopped(pid)
    return call()
  } finally {
    for (const pid of pids) process.kill(pid, 'SIGCONT')
  }
}

/** Searches all memory of a process that is stopped. */
export function searchMemory(pid: number, search: SecretSearch) {
  const found: FoundInMemory[] = []
  let searchedBytes = 0
  const file = openSync(`/proc/${pid}/mem`, 'r')
  const pages = openSync(`/proc/${pid}/pagemap`, 'r')
  const buffer = Buffer.alloc(READ_BYTES)
  try {
    for (const { start, end, mapping } of mappingsOf(pid)) {
      for (let address = start; address < end; address += READ_BYTES - search.overlapBytes) {
        const wanted = Math.min(READ_BYTES, end - address)
        if (!isInUse(pages, address, wanted)) continue
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
    for (const descriptor of [file, pages]) closeSync(descriptor)
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

/** Whether there is a page in memory or swapped out; V8 sets aside much more than it uses. */
function isInUse(pages: number, address: number, length: number): boolean {
  const first = Math.floor(address / PAGE_BYTES)
  const count = Math.ceil((address + length) / PAGE_BYTES) - first
  const entries = Buffer.alloc(count * PAGE_ENTRY_BYTES)
  readSync(pages, entries, 0, entries.length, first * PAGE_ENTRY_BYTES)
  for (let at = PAGE_ENTRY_BYTES - 1; at < entries.length; at += PAGE_ENTRY_BYTES) {
    if (((entries[at] ?? 0) & PAGE_IN_USE) !== 0) return true
  }
  return false
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
