// The key files that terminators read as text: nginx's include file, HAProxy, h2o, stunnel, Envoy, and plain lists for
// other programs. Each function returns a Buffer of its own, which the caller erases after use.

import type { AgedKey, RingView } from '../rule.ts'
import { hasLostTurn, openedKeys, turnMs } from '../rule.ts'
import type { TicketKey } from '../ticket-key.ts'
import type { RingTimes } from '../times.ts'
import { type KeyOrder, type KeySize, keyBytes } from './binary.ts'
import { secretText, type TextPart } from './secret-text.ts'

/** Slots of HAProxy (TLS_TICKETS_NO): the last but one is minted. */
export const HAPROXY_SLOTS = 3

/**
 * The lines by which nginx reads one file per key, in the order for minting with the first. Files are named by key and
 * never rewritten, so that replacing this file by rename replaces all keys at once. It holds no secret.
 */
export function nginxInclude(folder: string, keys: readonly TicketKey[]): Buffer {
  const lines = keys.map(({ hexName }) => {
    const path = `${folder}/${hexName}.key`.replaceAll(/["\\]/g, '\\$&')
    return `ssl_session_ticket_key "${path}";\n`
  })
  return Buffer.from(lines.join(''))
}

/**
 * The keys for the slots of HAProxy: previous, current, next. A key that is not there yet is replaced by the current.
 * Keys that were made at once with another one and lost their turn to it have no tickets unless the ring began with them:
 * they get the first slot when there is nothing else for it, and never the last one, since HAProxy mints the key of that
 * one at its next push.
 */
export function haproxyKeys(view: RingView, times: Pick<RingTimes, 'jitterMs'>): TicketKey[] {
  const { current, next, previous } = view
  if (current === undefined) return []
  const hasTurn = (one: AgedKey) => !hasLostTurn(one, view, times)
  const upcoming = next.find(hasTurn) ?? current
  const lost = previous[0] ?? next.find((one) => !hasTurn(one))
  const past = previous.find(hasTurn) ?? lost ?? current
  return [past.key, current.key, upcoming.key]
}

/**
 * The keys for the four files of nghttpx: current, next, previous and the one before. A reload of nghttpx takes a moment,
 * in which it makes tickets with the key before: without the fourth file they would not live as long as others.
 */
export function nghttpxKeys(view: RingView, times: Pick<RingTimes, 'jitterMs'>): TicketKey[] {
  const [past, current, upcoming] = haproxyKeys(view, times)
  if (past === undefined || current === undefined || upcoming === undefined) return []
  const others = view.previous.filter(({ key }) => key !== past)
  const older = others.find((one) => !hasLostTurn(one, view, times)) ?? others[0]
  return [current, upcoming, past, older?.key ?? past]
}

/** The `tls-ticket-keys` file of HAProxy: one key a line. */
export function haproxyFile(
  view: RingView,
  times: Pick<RingTimes, 'jitterMs'>,
  size: KeySize,
): Buffer {
  return base64Lines(haproxyKeys(view, times), 'aes_hmac', size)
}

/** One key a line in base64. */
export function base64Lines(keys: readonly TicketKey[], order: KeyOrder, size: KeySize): Buffer {
  return withKeyBytes(keys, order, size, (copies) =>
    secretText(copies.flatMap((base64) => [{ base64 }, '\n'])),
  )
}

/** The times of h2o and lighttpd, in seconds since 1970 by the clock of this host. */
export interface KeyWindow {
  /** From here on the key may be minted; 0 when it may already. */
  readonly notBeforeSec: number
  /** Until here the key opens tickets. */
  readonly notAfterSec: number
}

/** Converts the age of a key to times of the day, for a terminator that runs on this host and reads the same clock. */
export function windowOf(
  one: AgedKey,
  isNext: boolean,
  times: RingTimes,
  now: { readonly monotonicMs: number; readonly wallMs: number },
): KeyWindow {
  const skewMs = now.wallMs - now.monotonicMs
  const notBeforeMs = turnMs(one, times) + skewMs
  return {
    notBeforeSec: isNext ? Math.ceil(notBeforeMs / 1000) : 0,
    notAfterSec: Math.ceil((one.bornMs + times.openMs + skewMs) / 1000),
  }
}

/**
 * The `ticket-store` file of h2o. h2o mints with the one whose `not_before` is the latest that has come: past keys get
 * 0 and the current one `currentSec`, so that all nodes mint the same key whatever the order of the list. A key that is
 * still to come and has lost its turn gets its last second.
 */
export function h2oFile(
  view: RingView,
  times: RingTimes,
  now: { readonly monotonicMs: number; readonly wallMs: number },
  currentSec = 1,
): Buffer {
  const parts = openedKeys(view).flatMap((one): TextPart[] => {
    const window = windowOf(one, view.next.includes(one), times, now)
    const isLost = view.next.includes(one) && hasLostTurn(one, view, times)
    const laterSec = isLost ? window.notAfterSec - 1 : window.notBeforeSec
    const notBeforeSec = one === view.current ? currentSec : laterSec
    const secret = one.key.secret
    return [
      `- name: ${one.key.hexName}\n  cipher: AES-256-CBC\n  hash: SHA256\n  key: `,
      { hex: secret },
      `\n  not_before: ${notBeforeSec}\n  not_after: ${window.notAfterSec}\n`,
    ]
  })
  return secretText(parts)
}

/** The two options of stunnel, for a file in its `include` folder. stunnel holds one key. */
export function stunnelOptions(key: TicketKey): Buffer {
  const secrets = [{ hex: key.aes(32) }, '\nticketMacSecret = ', { hex: key.hmac(32) }, '\n']
  return secretText(['ticketKeySecret = ', ...secrets])
}

/** A file of Envoy's Secret Discovery Service with one secret of this name; the first key is minted. */
export function envoySecret(name: string, keys: readonly TicketKey[]): Buffer {
  const head =
    'resources:\n' +
    '- "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret\n' +
    `  name: ${JSON.stringify(name)}\n` +
    '  session_ticket_keys:\n' +
    '    keys:\n'
  return withKeyBytes(keys, 'hmac_aes', 80, (copies) => {
    const lines = copies.flatMap((base64) => ['    - inline_bytes: "', { base64 }, '"\n'])
    return secretText([head, ...lines])
  })
}

/** All keys with their use, for programs of one's own: `{"group", "keys": [{"name", "use", "aes", "hmac"}]}`. */
export function jsonKeys(group: string, view: RingView): Buffer {
  const items = openedKeys(view).flatMap((one, index): TextPart[] => {
    const use = one === view.current ? 'current' : view.next.includes(one) ? 'next' : 'previous'
    const head = `${index === 0 ? '' : ','}\n  {"name":"${one.key.hexName}","use":"${use}","aes":"`
    return [head, { hex: one.key.aes(32) }, '","hmac":"', { hex: one.key.hmac(64) }, '"}']
  })
  return secretText([`{"group":${JSON.stringify(group)},"keys":[`, ...items, '\n]}\n'])
}

/** Calls `build` with copies of the keys in one order, and erases them. */
function withKeyBytes(
  keys: readonly TicketKey[],
  order: KeyOrder,
  size: KeySize,
  build: (copies: readonly Buffer[]) => Buffer,
): Buffer {
  const copies = keys.map((key) => keyBytes(key, order, size))
  try {
    return build(copies)
  } finally {
    for (const copy of copies) copy.fill(0)
  }
}
