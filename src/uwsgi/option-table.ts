// Every option of uWSGI that may be in a file: those that are converted, and those that have no effect here, with
// the reason. Any other name is an error.

import { UWSGI_OPTION_NAMES } from './option-names.ts'

/** Options that are converted. */
export const USED_OPTIONS = [
  'cache',
  'cache-blocksize',
  'cache2',
  'cache-udp-server',
  'cache-udp-node',
  'ssl-sessions-use-cache',
  'ssl-sessions-timeout',
  'https-session-context',
  'https',
  'https2',
  'shared-socket',
  'http-processes',
  'http-to',
  'stats',
  'socket',
  'multicast-ttl',
] as const
export type UsedOption = (typeof USED_OPTIONS)[number]

/** Other spellings of converted options; uWSGI has up to five for one option. */
export const OPTION_ALIASES = new Map<string, UsedOption>(
  Object.entries({
    'ssl-session-use-cache': 'ssl-sessions-use-cache',
    'cache-create': 'cache2',
    'stats-server': 'stats',
    'uwsgi-socket': 'socket',
    'http-workers': 'http-processes',
    'undeferred-shared-socket': 'shared-socket',
  } as const),
)

/** Options that may occur more than once with different values. */
export const REPEATABLE: readonly UsedOption[] = [
  'cache2',
  'cache-udp-server',
  'cache-udp-node',
  'http-to',
  'shared-socket',
]

const SERVICE = 'starting, stopping, users and files of the process are for the service manager'
const APPLICATION = 'no application runs here'
const APPLICATION_OR_SERVICE =
  'it is about the processes and applications of uWSGI, which do not run here'
const ALWAYS = 'it is always so here'
const DISK = 'sessions are never written to disk; a node that starts copies what its peers hold'
const SWEEP =
  'every get looks at the lifetime, and a sweeper takes out what is over as it falls due'
const SYNC = 'a node that starts copies what its peers hold, whichever of them is there'
const LOG = 'what is logged is set with --log-level and --log-format'

/** Options that have no effect here, with the reason. */
export const MEANINGLESS_OPTIONS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    master: 'one process holds the caches and sweeps them',
    strict: ALWAYS,
    'cache-sync': SYNC,
    'cache-expire-freq': SWEEP,
    'cache-no-expire': SWEEP,
    'cache-report-freed-items': 'expired sessions are counted',
    'cache-use-last-modified': ALWAYS,
    'cache-store': DISK,
    'cache-store-sync': DISK,
    'stats-http': 'the stats answer in HTTP when they are asked in HTTP',
    'stats-minified': 'the stats have one form',
    'multicast-loop': ALWAYS,
    'ssl-verbose': LOG,
    'log-master': LOG,
    logto: LOG,
    logger: LOG,
    'disable-logging': LOG,
    'http-timeout': 'the terminator has its own timeouts',
    'http-keepalive': 'the terminator passes bytes on and knows no HTTP',
    'thunder-lock': SERVICE,
    listen: SERVICE,
    daemonize: SERVICE,
    pidfile: SERVICE,
    uid: SERVICE,
    gid: SERVICE,
    chdir: SERVICE,
    vacuum: SERVICE,
    'die-on-term': SERVICE,
    procname: SERVICE,
    'procname-master': SERVICE,
    'auto-procname': SERVICE,
    processes: APPLICATION,
    workers: APPLICATION,
    threads: APPLICATION,
    'enable-threads': APPLICATION,
    'need-app': APPLICATION,
    'single-interpreter': APPLICATION,
    'lazy-apps': APPLICATION,
    harakiri: APPLICATION,
    'max-requests': APPLICATION,
    'buffer-size': APPLICATION,
    plugin: APPLICATION,
    plugins: APPLICATION,
    module: APPLICATION,
    wsgi: APPLICATION,
    'wsgi-file': APPLICATION,
    callable: APPLICATION,
  }),
)

/** Reasons why the remaining options have no effect here, by a pattern of their names; the first match counts. */
const REASONS: readonly (readonly [RegExp, string])[] = [
  [/legion/, 'a legion elects a leader; here every node holds everything, and none leads'],
  [
    /^sni/,
    'give each certificate to `tlscached terminate` with --cert and --key: it answers for its names',
  ],
  [
    /^ssl-(enable|option)/,
    'the oldest version of TLS is set with `tlscached terminate --min-version`',
  ],
  [/^ssl-(verify|tmp)/, 'certificates of clients are for `tlscached terminate --client-ca`'],
  [
    /^https-export-cert/,
    'backends get the name in a client certificate with `terminate --proxy-protocol v2`',
  ],
  [/^http-to-https/, 'the terminator does not speak HTTP: let a backend redirect plain requests'],
  [/^http-enable-proxy-protocol/, 'balancers are listed with `terminate --accept-proxy-protocol`'],
  [
    /^(sslrouter|https-socket|ssl-socket)/,
    'only the router of the option https becomes a terminator',
  ],
  [/^http/, 'the terminator passes bytes on and does not speak HTTP'],
  [/cache/, 'the caches hold TLS sessions, and nothing else of uWSGI uses them'],
  [/^(log|req-log|touch-log|daemonize|msg)/, LOG],
]

/** Returns why an option that is not converted has no effect here, or undefined when uWSGI has no such option. */
export function whyMeaningless(name: string): string | undefined {
  const why = MEANINGLESS_OPTIONS.get(name)
  if (why !== undefined || !UWSGI_OPTION_NAMES.has(name)) return why
  return REASONS.find(([pattern]) => pattern.test(name))?.[1] ?? APPLICATION_OR_SERVICE
}

export const KNOWN_OPTIONS: readonly string[] = [
  ...new Set([
    ...USED_OPTIONS,
    ...OPTION_ALIASES.keys(),
    ...MEANINGLESS_OPTIONS.keys(),
    ...UWSGI_OPTION_NAMES,
  ]),
]
