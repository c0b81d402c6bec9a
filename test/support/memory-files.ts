// A file system in memory for the files of targets, whose calls fail by command. Nothing of it takes time, so that a
// test with a fake clock sees every step.

import type { SecretFileHandle, SecretFileSystem } from '../../src/tickets/targets/secret-file.ts'

const TMPFS = 0x01021994

export interface MemoryFile {
  bytes: Buffer
  uid: number
  gid: number
  mode: number
  readonly ino: number
  mtimeMs: number
}

export class MemoryFiles implements SecretFileSystem {
  readonly entries = new Map<string, MemoryFile>()
  /** The error code with which writing fails from here on; undefined when it works. */
  fault: string | undefined
  readonly #wallMs: () => number
  #ino = 0

  constructor(wallMs: () => number = () => 0) {
    this.#wallMs = wallMs
  }

  /** The names that a terminator sees. */
  get names(): string[] {
    return [...this.entries.keys()].filter((path) => !path.includes('/.')).sort()
  }

  async open(path: string, _flags: string, mode: number): Promise<SecretFileHandle> {
    if (this.fault !== undefined) throw failure(this.fault)
    if (this.entries.has(path)) throw failure('EEXIST')
    this.#ino += 1
    const mtimeMs = this.#wallMs()
    const bytes = Buffer.alloc(0)
    const entry: MemoryFile = { bytes, uid: 0, gid: 0, mode, ino: this.#ino, mtimeMs }
    this.entries.set(path, entry)
    return {
      async writeFile(bytes) {
        entry.bytes = Buffer.from(bytes)
      },
      stat: async () => ({ size: entry.bytes.length }),
      async chown(uid, gid) {
        Object.assign(entry, { uid, gid })
      },
      async chmod(bits) {
        entry.mode = Number(bits)
      },
      async utimes(_accessedSec, changedSec) {
        entry.mtimeMs = Number(changedSec) * 1000
      },
      async close() {},
    }
  }

  async mkdir(): Promise<void> {}

  async rename(from: string, to: string): Promise<void> {
    this.entries.set(to, this.#get(from))
    this.entries.delete(from)
  }

  async link(from: string, to: string): Promise<void> {
    this.entries.set(to, this.#get(from))
  }

  async unlink(path: string): Promise<void> {
    this.#get(path)
    this.entries.delete(path)
  }

  async statfs(): Promise<{ type: number }> {
    return { type: TMPFS }
  }

  async stat(path: string) {
    const { bytes, ...rest } = this.#get(path)
    return { ...rest, size: bytes.length }
  }

  async readdir(folder: string): Promise<string[]> {
    const paths = [...this.entries.keys()].filter((path) => path.startsWith(`${folder}/`))
    return paths.map((path) => path.slice(folder.length + 1))
  }

  #get(path: string): MemoryFile {
    const entry = this.entries.get(path)
    if (entry === undefined) throw failure('ENOENT')
    return entry
  }
}

function failure(code: string): Error {
  return Object.assign(new Error(`${code}: made up`), { code })
}
