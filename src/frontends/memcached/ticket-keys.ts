// The keys of memcached by which nghttpx and h2o ask for ticket keys:
//
//   nghttpx:tls-ticket-key    nghttpx    binary, all keys of the ring, the first one is minted
//   h2o:ssl-session-key       h2o        YAML, all keys with their times
//
// They are answered out of the ring of one group and never out of the cache, so that nothing can evict, expire or
// overwrite them. A miss would end all tickets of nghttpx and make h2o write keys of its own, so there is none: before the
// ring has a key, the connection is closed, and both programs then go on with what they have.

import type { Clock } from '../../base/world.ts'
import { nghttpxValue } from '../../tickets/layouts/binary.ts'
import { h2oFile } from '../../tickets/layouts/key-files.ts'
import type { TicketRing } from '../../tickets/ring.ts'
import { openedKeys } from '../../tickets/rule.ts'

const NGHTTPX_KEY = Buffer.from('nghttpx:tls-ticket-key')
const H2O_KEY = Buffer.from('h2o:ssl-session-key')
/** What a write is answered with, before the connection is closed. */
export const TICKETS_REFUSAL = 'this node makes the ticket keys, and nobody may write them'
/** The token that `gets` shows for ticket keys; no write can use it. */
export const TICKETS_CAS = 1n

export class TicketKeys {
  readonly #ring: TicketRing
  readonly #clock: Clock

  constructor(ring: TicketRing, clock: Clock) {
    this.#ring = ring
    this.#clock = clock
  }

  /** Whether the bytes from `start` to `end` are one of these keys. */
  covers(bytes: Buffer, start = 0, end = bytes.length): boolean {
    return isKey(NGHTTPX_KEY, bytes, start, end) || isKey(H2O_KEY, bytes, start, end)
  }

  /** The value of one of these keys, which the caller erases after use; undefined while the ring is empty. */
  read(key: Buffer): Buffer | undefined {
    const monotonicMs = this.#clock.monotonicMs()
    const view = this.#ring.view(monotonicMs)
    if (view.current === undefined) return undefined
    if (key.equals(NGHTTPX_KEY)) {
      const keys = openedKeys(view).map(({ key: one }) => one)
      return nghttpxValue(keys, 80)
    }
    const wallMs = this.#clock.wallMs()
    // h2o writes a key of its own, again and again, when the newest one began longer ago than a quarter of its lifetime.
    // So the current key began a second ago, whenever it is asked for.
    const currentSec = Math.floor(wallMs / 1000) - 1
    return h2oFile(view, this.#ring.times, { monotonicMs, wallMs }, currentSec)
  }
}

function isKey(key: Buffer, bytes: Buffer, start: number, end: number): boolean {
  return end - start === key.length && bytes.compare(key, 0, key.length, start, end) === 0
}
