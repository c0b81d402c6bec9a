// The counters of frontends: how a frontend declares them, and those that several have.

import { counter, gauge, type OneField, one } from '../base/counters.ts'

const EVENTS = counter(
  'frontend_events_total',
  'What the frontends counted, by event: commands and their hits, refusals, malformed input.',
  'frontend',
)
const CONNECTIONS = gauge('frontend_connections', 'Connections open now.', 'frontend')

/** A counter of a frontend; its event has the name of the field. */
export function event(meaning: string): OneField {
  return one(EVENTS, { event: '' }, meaning)
}

/** Connections open now. */
export const OPEN_CONNECTIONS = { connections: one(CONNECTIONS) }

/** What happened to connections that did not end by themselves. */
export const LOST_CONNECTIONS = {
  rejectedConnections: event(
    'connections closed when they came, at the limit of connections or because accepting them failed',
  ),
  timedOutConnections: event(
    'connections closed after a timeout: idle, in the middle of a request, or without reading answers',
  ),
}

/** Counters of a frontend whose clients send many requests over one connection. */
export const KEPT_OPEN = {
  ...OPEN_CONNECTIONS,
  totalConnections: event('connections accepted'),
  ...LOST_CONNECTIONS,
  bytesRead: event('bytes received'),
  bytesWritten: event('bytes sent'),
}

/** Calls of a protocol that gets, puts and removes sessions. */
export const REMOVES = {
  removes: event('removes'),
  removeHits: event('removes of a session that was there'),
}
