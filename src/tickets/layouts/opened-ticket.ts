// Finds the key that a ticket was made with, by what only that key can do: verify the HMAC at the end of the ticket. The
// name at its beginning says less, since stunnel draws its own and Go derives another one.
//
//   0       16  name of the ticket key
//   16      16  initialization vector
//   32       n  encrypted session
//   32 + n  32  HMAC-SHA256 over everything before

import { createHmac, hash, timingSafeEqual } from 'node:crypto'
import type { RingView } from '../rule.ts'
import type { TicketKey } from '../ticket-key.ts'
import { goKey } from './binary.ts'

const MAC_BYTES = 32
const NAME_BYTES = 16

/** Uses of a key in a ring. */
type KeyUse = 'current' | 'next' | 'previous'

/** Whose ticket it is. With `zero_mac` and `wrong_mac` the current key is named, but did not sign. */
export type TicketOrigin = KeyUse | 'zero_mac' | 'wrong_mac' | 'unknown'

export function originOf(ticket: Buffer, view: RingView): TicketOrigin {
  if (ticket.length <= MAC_BYTES + NAME_BYTES) return 'unknown'
  const signer = useOf(view, (key) => isMadeWith(ticket, key))
  if (signer !== undefined) return signer
  const named = useOf(view, ({ name }) => name.equals(ticket.subarray(0, NAME_BYTES)))
  if (named === undefined) return 'unknown'
  if (named !== 'current') return named
  return isSignedBy(ticket, Buffer.alloc(MAC_BYTES)) ? 'zero_mac' : 'wrong_mac'
}

function useOf(
  { current, next, previous }: RingView,
  matches: (key: TicketKey) => boolean,
): KeyUse | undefined {
  if (current !== undefined && matches(current.key)) return 'current'
  if (next.some(({ key }) => matches(key))) return 'next'
  return previous.some(({ key }) => matches(key)) ? 'previous' : undefined
}

/** Whether the ticket is of this key, with any of the sizes that terminators use. */
function isMadeWith(ticket: Buffer, key: TicketKey): boolean {
  if (([16, 32, 64] as const).some((bytes) => isSignedBy(ticket, key.hmac(bytes)))) return true
  // Go derives name, AES key and HMAC key, of 16 bytes each. A Hash object would keep the key until it is collected.
  const derived = hash('sha512', goKey(key), 'buffer')
  const isOfGo = isSignedBy(ticket, derived.subarray(32, 48))
  derived.fill(0)
  return isOfGo
}

function isSignedBy(ticket: Buffer, hmacKey: Buffer): boolean {
  const end = ticket.length - MAC_BYTES
  const mac = createHmac('sha256', hmacKey).update(ticket.subarray(0, end)).digest()
  return timingSafeEqual(mac, ticket.subarray(end))
}
