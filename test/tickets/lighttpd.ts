// lighttpd's memory of ticket keys, as mod_openssl.c of lighttpd 1.4 keeps it: when it looks at its file, what it keeps
// of what it read, and which key it mints and opens with.

import type { Clock } from '../../src/base/world.ts'
import type { MemoryFiles } from '../support/memory-files.ts'

const LOOK_PERIOD_SEC = 64
const KEYS_HELD = 3

interface HeldKey {
  readonly name: string
  readonly activeSec: number
  readonly expirySec: number
}

export class Lighttpd {
  readonly #clock: Clock
  readonly #files: MemoryFiles
  readonly #file: string
  /** The newest first. */
  #keys: HeldKey[] = []
  #readSec = 0

  constructor(clock: Clock, files: MemoryFiles, file: string) {
    this.#clock = clock
    this.#files = files
    this.#file = file
  }

  /** What it does once a second. */
  tick(): void {
    const nowSec = this.#nowSec()
    const { bytes, mtimeMs } = this.#files.entries.get(this.#file) ?? {}
    if (nowSec % LOOK_PERIOD_SEC !== 0 || bytes === undefined || mtimeMs === undefined) return
    if (Math.floor(mtimeMs / 1000) > this.#readSec) {
      this.#readSec = nowSec
      const name = bytes.toString('hex', 12, 28)
      const [activeSec, expirySec] = [bytes.readUInt32LE(4), bytes.readUInt32LE(8)]
      this.#keys = [{ name, activeSec, expirySec }, ...this.#keys].slice(0, KEYS_HELD)
    }
    this.#keys = this.#keys.filter((one) => one.expirySec >= nowSec)
  }

  /** Names of the keys that it opens tickets with, the newest first. */
  get names(): readonly string[] {
    return this.#keys.map(({ name }) => name)
  }

  /** The name of the key that it makes tickets with now; undefined without one. */
  minted(): string | undefined {
    const nowSec = this.#nowSec()
    return this.#keys.find((one) => one.activeSec <= nowSec && nowSec <= one.expirySec)?.name
  }

  #nowSec(): number {
    return Math.floor(this.#clock.wallMs() / 1000)
  }
}
