// Every result and reason of the counters of a node and a repeater: whether schedules of the simulation reach it, and
// if not, why they cannot.

const HOSTILE = 'only a peer that has a key and breaks the protocol: test/replication'
const UWSGI = "uWSGI's own datagrams are not simulated: test/uwsgi"
const OLDER = 'only a program older than protocol version 2: test/e2e/rolling-upgrade.test.ts'
const RINGS = 'only a peer that has a key and breaks the protocol: test/tickets/ring.test.ts'
const FILES = 'targets of ticket keys write real files: test/tickets'
const TOLD =
  'nodes tell their timeout and are sent nothing older, but by programs that know no limits: test/store/refusals.test.ts'
const CHECKED = 'every node refuses it before it sends it, so only a peer that breaks the protocol'

/** By metric and value: true when it is reached, or why it cannot be. */
export const REASONS: Readonly<Record<string, Readonly<Record<string, true | string>>>> = {
  gets_total: { hit: true, miss: true, expired: true, context_mismatch: true },
  puts_total: {
    stored: true,
    replaced: true,
    keysize: true,
    blocksize: true,
    context: true,
    full: true,
    expired: true,
    early_data: true,
    version: HOSTILE,
    key_mismatch: true,
  },
  replication_applied_total: { applied: true, outdated: true, refused: true },
  replication_refused_total: {
    keysize: true,
    blocksize: true,
    context: true,
    full: true,
    expired: TOLD,
    early_data: CHECKED,
    version: CHECKED,
    key_mismatch: CHECKED,
  },
  replication_dropped_total: {
    malformed: true,
    unauthenticated: true,
    replay: true,
    stale: true,
    queue_full: true,
    too_large: HOSTILE,
    version: OLDER,
    own: true,
    throttled: true,
  },
  sync_failures_total: {
    handshake: true,
    flood: true,
    busy: 'needs more connections at once than 16 nodes make: test/replication/sync-attack.test.ts',
    stalled: true,
    malformed: HOSTILE,
    broken: true,
  },
  repeater_dropped_total: {
    malformed: true,
    unauthenticated: true,
    replay: true,
    stale: true,
    unsubscribed: true,
    unexpected: true,
    full: 'needs more subscribers than a simulated cluster has: test/replication/repeater.test.ts',
    queue_full: true,
    throttled: true,
  },
  ticket_refused_total: {
    flood: true,
    zero: RINGS,
    repeated: RINGS,
    renamed: RINGS,
    over_age: true,
    retired: true,
  },
  ticket_target_failures_total: {
    write: FILES,
    permission: FILES,
    space: FILES,
    disk: FILES,
    check: FILES,
    reload: FILES,
    refused: FILES,
    probe: FILES,
  },
  uwsgi_dropped_total: {
    blocksize: UWSGI,
    context: UWSGI,
    early_data: UWSGI,
    empty: UWSGI,
    expired: UWSGI,
    expiry: UWSGI,
    full: UWSGI,
    key_mismatch: UWSGI,
    keysize: UWSGI,
    modifier: UWSGI,
    queue_full: UWSGI,
    relative: UWSGI,
    short: UWSGI,
    size: UWSGI,
    too_large: UWSGI,
    trailing: UWSGI,
    truncated: UWSGI,
    unchanged: UWSGI,
    unknown: UWSGI,
    unlisted: UWSGI,
    version: UWSGI,
  },
}

/** Names of reasons as `Coverage` counts them. */
function namesOf(isWanted: (reached: true | string) => boolean): string[] {
  return Object.entries(REASONS).flatMap(([metric, values]) =>
    Object.entries(values)
      .filter(([, reached]) => isWanted(reached))
      .map(([value]) => `${metric} ${value}`),
  )
}

export const REACHABLE = namesOf((reached) => reached === true)
export const UNREACHABLE = namesOf((reached) => reached !== true)
