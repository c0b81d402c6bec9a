// For each alert of deploy/prometheus/rules.yml series in which it fires, and what it then says, and series in which it
// does not. Values are in promtool's notation: `0+5x60` begins with 0 and grows by 5 at each of 60 steps.

export interface AlertCase {
  readonly alert: string
  /** Time between two values; one minute by default. */
  readonly interval?: string
  /** When the alert is looked at. */
  readonly at: string
  readonly series: Readonly<Record<string, string>>
  /** Labels of the alert that fires, besides its name and severity. */
  readonly labels: Readonly<Record<string, string>>
  readonly summary: string
  /** Other values for some of the series, with which it does not fire. */
  readonly quiet: Readonly<Record<string, string>>
}

const EDGE = { job: 'tlscached', instance: 'edge-1' }
const NODE = 'job="tlscached",instance="edge-1"'
const SSL = { ...EDGE, cache: 'ssl' }
const CACHE = `${NODE},cache="ssl"`
/** More than a day in steps of a quarter of an hour. */
const DAY = { interval: '15m', at: '26h' }
const HITS = `tlscached_gets_total{${CACHE},result="hit"}`
const MISSES = `tlscached_gets_total{${CACHE},result="miss"}`
const STORED = `tlscached_puts_total{${CACHE},result="stored"}`
const ALONE = `tlscached_sync_state{${NODE},state="alone"}`
const PEER = `tlscached_peer_up{${NODE},peer="edge-2"}`
const HANDSHAKES = `tlscached_terminator_handshakes_total{job="tlscached",instance="terminate-1",resumed="no"}`
const CALLS = (call: string, result: string) =>
  `tlscached_terminator_cache_calls_total{job="tlscached",instance="terminate-1",call="${call}",result="${result}"}`
const GROUP = `${NODE},group="www"`
const KEY_AGE = `tlscached_ticket_key_age_seconds{${GROUP},state="current"}`
/** The settings of a group, by default. */
const HOURLY = {
  [`tlscached_ticket_rotate_seconds{${GROUP}}`]: '3600+0x400',
  [`tlscached_ticket_wait_seconds{${GROUP}}`]: '3600+0x400',
}

export const ALERT_CASES: readonly AlertCase[] = [
  {
    alert: 'TlscachedAway',
    at: '5m',
    series: { [`up{${NODE}}`]: '1 0+0x10' },
    labels: EDGE,
    summary: 'edge-1 does not answer: the terminators beside it resume nothing',
    // Back within two minutes.
    quiet: { [`up{${NODE}}`]: '1 0 0 1+0x10' },
  },
  {
    alert: 'TlscachedNotReady',
    at: '6m',
    series: { [`tlscached_sync_state{${NODE},state="syncing"}`]: '1+0x10' },
    labels: EDGE,
    summary:
      'edge-1 has not got the sessions of its peers yet: those made before it started do not resume there',
    quiet: { [`tlscached_sync_state{${NODE},state="syncing"}`]: '1 1 1 0+0x10' },
  },
  {
    // It copies one peer after the other, and each breaks off.
    alert: 'TlscachedNotReady',
    at: '6m',
    series: {
      [`tlscached_sync_state{${NODE},state="syncing"}`]: '1 1 stale _ 1 1 stale 1',
      [`tlscached_sync_state{${NODE},state="joining"}`]: '_ _ 1 1 stale _ 1 stale',
    },
    labels: EDGE,
    summary:
      'edge-1 has not got the sessions of its peers yet: those made before it started do not resume there',
    quiet: { [`tlscached_sync_state{${NODE},state="joining"}`]: '_x10' },
  },
  {
    // It started while nobody was heard, and the first comparison does not come to its end.
    alert: 'TlscachedNotReady',
    at: '7m',
    series: { [ALONE]: '1+0x10', [PEER]: '0 1+0x10' },
    labels: EDGE,
    summary:
      'edge-1 has not got the sessions of its peers yet: those made before it started do not resume there',
    quiet: { [PEER]: '0+0x10' },
  },
  {
    alert: 'TlscachedPeerSilent',
    at: '7m',
    series: { [PEER]: '1 0+0x10' },
    labels: { ...EDGE, peer: 'edge-2' },
    summary: 'edge-1 does not hear edge-2: what it stores does not come there',
    quiet: { [PEER]: '1 0 0 0 1+0x10' },
  },
  {
    alert: 'TlscachedAlone',
    at: '7m',
    series: { [ALONE]: '0 1+0x10', [PEER]: '1 0+0x10' },
    labels: { ...EDGE, state: 'alone' },
    summary: 'edge-1 hears no other node: sessions made elsewhere do not resume there',
    // It hears a peer, and has yet to compare.
    quiet: { [PEER]: '1+0x10' },
  },
  {
    // Multicast: nobody is listed, and nobody was ever heard.
    alert: 'TlscachedAlone',
    at: '7m',
    series: {
      [ALONE]: '1+0x10',
      'tlscached_sync_state{job="tlscached",instance="edge-2",state="alone"}': '0+0x10',
    },
    labels: { ...EDGE, state: 'alone' },
    summary: 'edge-1 hears no other node: sessions made elsewhere do not resume there',
    // A node that is the only one.
    quiet: { 'tlscached_sync_state{job="tlscached",instance="edge-2",state="alone"}': '_x10' },
  },
  {
    alert: 'TlscachedSyncFails',
    at: '7m',
    series: { [`tlscached_peer_sync_failed{${NODE},peer="edge-2"}`]: '0 1+0x10' },
    labels: { ...EDGE, peer: 'edge-2' },
    summary:
      'edge-1 hears edge-2, and cannot compare sessions with it: is TCP open between the nodes?',
    // One comparison broke off, as when the peer was restarted.
    quiet: { [`tlscached_peer_sync_failed{${NODE},peer="edge-2"}`]: '0 1 1 0+0x10' },
  },
  {
    alert: 'TlscachedLosesDatagrams',
    at: '25m',
    series: { [`tlscached_replication_lost_total{${NODE}}`]: '0+3x30' },
    labels: EDGE,
    summary: 'what peers send does not come to edge-1: the network, or a firewall, loses it',
    quiet: { [`tlscached_replication_lost_total{${NODE}}`]: '0 3+0x30' },
  },
  {
    alert: 'TlscachedUnauthenticated',
    at: '10m',
    series: {
      [`tlscached_replication_dropped_total{${NODE},reason="unauthenticated"}`]: '0+1x20',
    },
    labels: { ...EDGE, reason: 'unauthenticated' },
    summary:
      'edge-1 gets datagrams under other keys: a change of keys left a node out, or a stranger',
    quiet: { [`tlscached_replication_dropped_total{${NODE},reason="unauthenticated"}`]: '5+0x20' },
  },
  {
    alert: 'TlscachedOldKeys',
    at: '70m',
    series: { [`tlscached_key_age_seconds{${NODE}}`]: '15638400+0x80' },
    labels: EDGE,
    summary: 'the keys of edge-1 are 181d 0h 0m 0s old',
    quiet: { [`tlscached_key_age_seconds{${NODE}}`]: '8640000+60x80' },
  },
  {
    alert: 'TlscachedRefusesPuts',
    at: '10m',
    series: { [`tlscached_puts_total{${CACHE},result="context"}`]: '0+1x20', [STORED]: '0+9x20' },
    labels: { ...SSL, result: 'context' },
    summary: 'edge-1 refuses sessions (context) in the cache ssl: they resume nowhere',
    quiet: {
      [`tlscached_puts_total{${CACHE},result="context"}`]: '3+0x20',
      [`tlscached_puts_total{${CACHE},result="expired"}`]: '0+1x20',
    },
  },
  {
    alert: 'TlscachedHitRatioFell',
    ...DAY,
    // 90 % until an hour and a half before the end, then 60 %.
    series: { [HITS]: '0+90x98 8880+60x6', [MISSES]: '0+10x98 1020+40x6' },
    labels: SSL,
    summary: 'edge-1 finds 60% of what the cache ssl is asked for, a fifth less than yesterday',
    quiet: { [HITS]: '0+90x98 8895+75x6', [MISSES]: '0+10x98 1005+25x6' },
  },
  {
    alert: 'TlscachedNoGets',
    at: '45m',
    series: { [STORED]: '0+2x60', [HITS]: '0+0x60' },
    labels: SSL,
    summary:
      'nobody asks edge-1 for sessions of the cache ssl: tickets may be on in the terminators',
    quiet: { [HITS]: '0+1x60' },
  },
  {
    // Asked yesterday, not today: tickets were switched on.
    alert: 'TlscachedNoGets',
    ...DAY,
    series: { [HITS]: '0+90x96 8640+0x8', [`up{${NODE}}`]: '1+0x110' },
    labels: SSL,
    summary:
      'nobody asks edge-1 for sessions of the cache ssl: tickets may be on in the terminators',
    // It is away: another alert says so.
    quiet: { [`up{${NODE}}`]: '1+0x96 0+0x14' },
  },
  {
    alert: 'TlscachedTerminatorsAskNobody',
    at: '45m',
    // The node is asked by others.
    series: {
      [HANDSHAKES]: '0+2x60',
      [CALLS('get', 'hit')]: '7+0x60',
      [CALLS('get', 'unreachable')]: '0+2x60',
      [HITS]: '7+1x60',
    },
    labels: { job: 'tlscached', instance: 'terminate-1' },
    summary:
      'terminate-1 shakes hands with clients, and no node answers it: every handshake is a full one',
    // No client comes back: each full handshake is a put.
    quiet: { [CALLS('put', 'stored')]: '7+2x60' },
  },
  {
    alert: 'TlscachedEvicts',
    at: '20m',
    series: { [`tlscached_evicted_total{${CACHE}}`]: '0+5x30' },
    labels: SSL,
    summary:
      'edge-1 pushes sessions out of the cache ssl before their lifetime is over: raise items or memory',
    quiet: { [`tlscached_evicted_total{${CACHE}}`]: '0 0 50+0x30' },
  },
  {
    alert: 'TlscachedDropsLogLines',
    at: '10m',
    series: { [`tlscached_log_lines_dropped_total{${NODE}}`]: '0+7x20' },
    labels: EDGE,
    summary: 'nobody takes the log lines of edge-1: its reader stopped, or the disk is full',
    quiet: { [`tlscached_log_lines_dropped_total{${NODE}}`]: '7+0x20' },
  },
  {
    alert: 'TlscachedRestarts',
    at: '30m',
    series: { [`process_start_time_seconds{${NODE}}`]: '10+0x9 600+0x9 1200+0x20' },
    labels: EDGE,
    summary:
      "edge-1 started again more than once within an hour: see its last log lines, for its watchdog, and the kernel's, for memory",
    // An upgrade.
    quiet: { [`process_start_time_seconds{${NODE}}`]: '10+0x9 600+0x30' },
  },
  {
    alert: 'TlscachedWatchdogKilled',
    at: '20m',
    series: { [`tlscached_watchdog_kills_total{${NODE}}`]: '0+0x9 _ 1+0x20' },
    labels: EDGE,
    summary: 'the event loop of edge-1 hung, and its watchdog killed it: see its last log lines',
    // It was killed yesterday.
    quiet: { [`tlscached_watchdog_kills_total{${NODE}}`]: '1+0x9 _ 1+0x20' },
  },
  {
    alert: 'TlscachedTicketKeysLate',
    at: '200m',
    series: { [KEY_AGE]: '0+60x240', ...HOURLY },
    labels: { ...EDGE, group: 'www' },
    summary:
      'the group www on edge-1 has a ticket key that is 3h 20m 0s old: none is made any more',
    // It is changed every twelve hours.
    quiet: { [`tlscached_ticket_rotate_seconds{${GROUP}}`]: '43200+0x400' },
  },
  {
    // The last key was retired.
    alert: 'TlscachedTicketKeysLate',
    at: '10m',
    series: { [`tlscached_ticket_keys{${GROUP}}`]: '1 0+0x20', ...HOURLY },
    labels: { ...EDGE, group: 'www' },
    summary: 'the group www on edge-1 has no ticket key: none is made any more',
    quiet: { [`tlscached_ticket_keys{${GROUP}}`]: '0 0 1+0x20', [KEY_AGE]: '60+60x20' },
  },
  {
    alert: 'TlscachedTicketTargetFails',
    at: '10m',
    series: {
      [`tlscached_ticket_target_failures_total{${NODE},target="nginx",reason="reload"}`]: '0+1x20',
    },
    labels: { ...EDGE, target: 'nginx', reason: 'reload' },
    summary: 'edge-1 cannot give ticket keys to nginx (reload)',
    quiet: {
      [`tlscached_ticket_target_failures_total{${NODE},target="nginx",reason="reload"}`]: '2+0x20',
    },
  },
  {
    alert: 'TlscachedTicketRingsDiffer',
    at: '5m',
    series: { [`tlscached_ticket_ring_differs{${NODE},peer="edge-2"}`]: '1+0x10' },
    labels: { ...EDGE, peer: 'edge-2' },
    summary: 'edge-1 and edge-2 have different ticket keys',
    quiet: { [`tlscached_ticket_ring_differs{${NODE},peer="edge-2"}`]: '0 1 0+0x10' },
  },
  {
    alert: 'TlscachedProveFails',
    at: '10m',
    series: { [`tlscached_prove_success{${NODE}}`]: '1 0+0x20' },
    labels: EDGE,
    summary: '`tlscached prove` on edge-1 found sessions that do not resume: it says why',
    quiet: { [`tlscached_prove_success{${NODE}}`]: '1 0 0 1+0x20' },
  },
  {
    alert: 'TlscachedProveStopped',
    at: '21m',
    series: { [`tlscached_prove_last_run_timestamp_seconds{${NODE}}`]: '0+0x30' },
    labels: EDGE,
    summary: '`tlscached prove` on edge-1 has not run for 21m 0s',
    quiet: { [`tlscached_prove_last_run_timestamp_seconds{${NODE}}`]: '0+60x30' },
  },
]
