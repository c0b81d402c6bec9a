// Puts numbers, durations and names into words, as a person reads them at a glance.

/** A number with at most three digits and a unit of thousands: 7, 0.4, 12.3k, 4.1M. */
export function shortNumber(value: number): string {
  const units = ['', 'k', 'M', 'G', 'T']
  let unit = 0
  let rest = value
  while (rest >= 999.5 && unit < units.length - 1) {
    rest /= 1000
    unit += 1
  }
  const digits = rest >= 100 || (unit === 0 && Number.isInteger(rest)) ? 0 : 1
  return `${rest.toFixed(digits).replace(/\.0$/, '')}${units[unit]}`
}

/** A whole number with its thousands apart: 20,000. */
export function wholeNumber(value: number): string {
  return Math.round(value).toLocaleString('en')
}

export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let unit = 0
  let rest = value
  while (rest >= 1024 && unit < units.length - 1) {
    rest /= 1024
    unit += 1
  }
  return `${rest >= 100 || unit === 0 ? Math.round(rest) : rest.toFixed(1)} ${units[unit]}`
}

/** A duration in its largest unit: 3 s, 42 min, 5 h, 12 days. */
export function duration(ms: number): string {
  const sec = Math.max(0, Math.round(ms / 1000))
  if (sec < 120) return `${sec} s`
  const min = Math.floor(sec / 60)
  if (min < 120) return `${min} min`
  const hours = Math.floor(min / 60)
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} days`
}

export function percent(share: number): string {
  if (share > 0 && share < 0.001) return '< 0.1 %'
  // What is not all of it must not look as if it were.
  const shown = share < 1 ? Math.min(share, 0.999) : share
  return `${(shown * 100).toFixed(1).replace(/\.0$/, '')} %`
}

export function counted(count: number, noun: string): string {
  return `${wholeNumber(count)} ${noun}${count === 1 ? '' : 's'}`
}

/** The time of day of a moment `agoMs` before now. */
export function timeOfDay(nowMs: number, agoMs: number): string {
  return new Date(nowMs - agoMs).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
}

/** Why puts are refused, by the reason in the counters. A later release may have reasons that are not here. */
const REFUSALS: Readonly<Record<string, string>> = {
  context: 'context not accepted',
  blocksize: 'session too large',
  keysize: 'session ID too long',
  full: 'cache full',
  expired: 'no lifetime left',
  early_data: 'allows early data',
  version: 'versions used up',
  key_mismatch: 'stored under another ID',
}

export function refusal(reason: string): string {
  return REFUSALS[reason] ?? reason.replaceAll('_', ' ')
}

const PROBLEMS: Readonly<Record<string, string>> = {
  alone: 'Serves alone',
  join_failed: 'Join failed',
  not_compared: 'Not compared yet',
  peer_silent: 'Node silent',
  peer_unanswered: 'Nobody answers',
  peer_sync_failed: 'Comparing fails',
  puts_refused: 'Puts refused',
  evicting: 'Cache full',
  never_asked: 'Never asked',
  other_context: 'Other context',
  datagrams_lost: 'Datagrams lost',
  other_keys: 'Other keys',
  queue_full: 'Queue full',
  old_peer: 'Peer too old',
  unknown_cache: 'Unknown cache',
  no_ticket_key: 'No ticket key',
  ticket_keys_late: 'Ticket keys late',
  target_failing: 'Terminator gets no keys',
  target_behind: 'Terminator behind',
}

/** The headline of a problem by its code. A later release may have codes that are not here. */
export function headline(code: string): string {
  const known = PROBLEMS[code]
  if (known !== undefined) return known
  const words = code.replaceAll('_', ' ')
  return words.charAt(0).toUpperCase() + words.slice(1)
}
