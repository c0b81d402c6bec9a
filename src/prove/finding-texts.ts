// What each finding says: the cause in one sentence, what to change, and where to read on. The codes are part of the
// JSON document and of the metrics: they are appended to, and never reused.

/** How bad a finding is: sessions do not resume, something is wrong or soon will be, or merely good to know. */
export const LEVELS = ['error', 'warning', 'note'] as const
export type Level = (typeof LEVELS)[number]

/** What the sentences of a finding are made of. */
export interface Words {
  /** The server that has to be changed, or all that are concerned. */
  readonly subject: string
  /** Servers whose sessions it did not resume, or that did not resume its own; '' when there are none. */
  readonly others: string
  /** What was seen in particular: a reason, a key, a number; '' when there is nothing. */
  readonly detail: string
}

interface FindingText {
  readonly level: Level
  readonly cause: (words: Words) => string
  readonly change: (words: Words) => string
  /** Section of deploy/troubleshooting.md. */
  readonly see: string
}

const NOTHING_RESUMES = 'nothing-resumes'
const TICKETS_OFF =
  'Apache: SSLSessionTickets off; nginx: ssl_session_tickets off; h2o: mode: cache; stunnel: the line sessiond = ..., without which it hands them out; Node.js: SSL_OP_NO_TICKET'
const SHARE_KEYS =
  'give all servers the same ticket keys (nginx: ssl_session_ticket_key, HAProxy: tls-ticket-keys, stunnel: ticketKeySecret and ticketMacSecret)'
const TICKETS_FOR_TLS13 =
  'give all servers the same ticket keys instead, which resume both versions: deploy/tickets.md; nothing else helps clients of TLS 1.3 there'
const SAME_CONTEXT =
  'Apache: the same ServerName with the same port; stunnel: the same name of the service; nginx: the same certificates and client CAs; Node.js: the same sessionIdContext'
const LIFETIMES =
  'Apache: SSLSessionCacheTimeout; nginx: ssl_session_timeout; stunnel: sessionCacheTimeout; HAProxy: tune.ssl.lifetime; Node.js: sessionTimeout; the node: timeout of the cache'

/** What to do about a put that a node refused, by the reason that it counts. */
const REFUSALS: Readonly<Record<string, string>> = {
  context:
    "take `contexts` out of the cache, or add this terminator's: the node's log shows which it has",
  blocksize: 'raise `blocksize` of the cache: the log of the node says how large the session is',
  keysize: 'raise `keysize` of the cache',
  full: 'raise `items` or `memory` of the cache, or set `full: evict`',
  expired: 'compare the clocks of the terminator and its node',
  early_data: 'switch early data off in the terminator',
  key_mismatch: 'store each session under its own ID',
  version: 'nothing: it ends with the lifetime of the session',
}

function afterRefusal({ detail }: Words): string {
  return REFUSALS[detail] ?? 'see the log of the node: it says why'
}

export const FINDING_TEXTS = {
  node_away: {
    level: 'warning',
    cause: ({ detail }) => `a node is away: ${detail}`,
    change: () =>
      'start the node, or correct the address; if it listens on loopback only, run prove on its machine: what is said of sessions leaves it out',
    see: 'the-node-does-not-start-or-ends-by-itself',
  },
  unreachable: {
    level: 'error',
    cause: ({ subject, detail }) => `${subject} cannot be reached (${detail})`,
    change: () => 'start the server, open its port, or correct its address',
    see: NOTHING_RESUMES,
  },
  no_answer: {
    level: 'error',
    cause: ({ subject, detail }) => `${subject} does not answer in time: ${detail}`,
    change: () =>
      'see whether the server hangs; Apache waits without a limit for a node that does not answer',
    see: 'handshakes-wait',
  },
  not_tls: {
    level: 'error',
    cause: ({ subject, detail }) => `${subject} does not speak TLS (${detail})`,
    change: () => 'correct the port, or name the protocol before TLS with --starttls',
    see: NOTHING_RESUMES,
  },
  starttls: {
    level: 'error',
    cause: ({ subject, detail }) => `${subject} does not start TLS: ${detail}`,
    change: () => 'correct --starttls or the port, or switch TLS on in the server',
    see: NOTHING_RESUMES,
  },
  handshake: {
    level: 'error',
    cause: ({ subject, detail }) => `${subject} refuses the handshake: ${detail}`,
    change: () =>
      'if it asks for a client certificate give --cert and --key; if it knows names only give --server-name',
    see: NOTHING_RESUMES,
  },
  version_missing: {
    level: 'error',
    cause: ({ subject }) => `${subject} does not speak this version of TLS, other servers do`,
    change: () => 'allow the same versions on all servers, or limit the run with --tls',
    see: NOTHING_RESUMES,
  },
  version_unspoken: {
    level: 'note',
    cause: () => 'no server speaks this version of TLS',
    change: () => 'nothing, if that is meant',
    see: NOTHING_RESUMES,
  },
  offer_refused: {
    level: 'error',
    cause: ({ subject, others }) =>
      `${subject} breaks the handshake off when a session of ${others} is offered`,
    change: () =>
      'a server that asks for client certificates must have a session ID context: set it, and set the same one on all servers',
    see: 'every-get-misses',
  },
  no_sessions: {
    level: 'error',
    cause: ({ subject }) => `${subject} gives out neither session IDs nor tickets`,
    change: () =>
      'switch its session cache on (Apache: SSLSessionCache memcache:...; nginx: ssl_session_cache or the Lua script; Node.js: attachSessionCache)',
    see: NOTHING_RESUMES,
  },
  tickets_on: {
    level: 'error',
    cause: ({ subject, others }) =>
      `${subject} hands out tickets, so it never asks a cache${others && `, as ${others} does`}`,
    change: () => TICKETS_OFF,
    see: 'tickets-are-on',
  },
  no_shared_keys: {
    level: 'error',
    cause: ({ detail }) => `tickets of ${detail}: there are no shared ticket keys`,
    change: () => `${SHARE_KEYS}; or switch tickets off and share sessions (${TICKETS_OFF})`,
    see: 'tickets-are-on',
  },
  keys_within: {
    level: 'error',
    cause: ({ subject, detail }) =>
      `behind ${subject} are several servers or processes, whose tickets are under different keys: ${detail}`,
    change: () => `${SHARE_KEYS}; or switch tickets off and share sessions (${TICKETS_OFF})`,
    see: 'tickets-are-on',
  },
  key_missing: {
    level: 'error',
    cause: ({ subject, others, detail }) =>
      `${subject} does not have the ticket key of ${others} (${detail}), which takes its tickets: a new key did not come to ${subject}`,
    change: () =>
      'give it the new key, and every new key to all servers before one makes tickets with it; `tlscached tickets` shows who gets keys, and what failed',
    see: 'a-terminator-does-not-get-its-ticket-keys',
  },
  ticket_refused: {
    level: 'error',
    cause: ({ subject, others, detail }) =>
      `${subject} has the ticket key of ${others} (${detail}), and does not take its tickets`,
    change: () =>
      `the key differs under the same name, or the session ID context does. ${SAME_CONTEXT}`,
    see: 'every-get-misses',
  },
  other_certificate: {
    level: 'error',
    cause: ({ subject, others }) =>
      `${subject} has another certificate than ${others}, so it may be another virtual host`,
    change: () =>
      `give all servers the same certificate and name, and give --server-name. ${SAME_CONTEXT}`,
    see: 'every-get-misses',
  },
  own_not_resumed: {
    level: 'error',
    cause: ({ subject, detail }) =>
      `${subject} does not resume its own sessions (${detail}): it keeps none, or several servers or processes behind this address do not share theirs`,
    change: () =>
      'switch its session cache on; nginx: `ssl_session_cache none` only pretends; run this on its machine with --node 127.0.0.1:5080, to see what its node is asked',
    see: NOTHING_RESUMES,
  },
  not_shared: {
    level: 'error',
    cause: ({ subject, others }) => `sessions of ${others} resume there, but not on ${subject}`,
    change: () =>
      'connect both servers to nodes of one cluster; run this on the machine of either with --node 127.0.0.1:5080, to see whether sessions are stored, passed on and asked for',
    see: 'sessions-resume-on-one-node-only',
  },
  sometimes: {
    level: 'error',
    cause: ({ subject, others, detail }) =>
      `sessions of ${others} resume on ${subject} only sometimes (${detail})`,
    change: () =>
      'its node answers too late (stunnel waits 5 ms, the script of nginx 50 ms): give the node the processor (Nice=-10 in its unit); or several servers or processes are behind this address: connect all of them',
    see: 'handshakes-wait',
  },
  put_refused: {
    level: 'error',
    cause: ({ subject, detail }) =>
      `sessions of ${subject} are not in the cluster: put refused (${detail})`,
    change: afterRefusal,
    see: 'puts-are-refused',
  },
  no_put: {
    level: 'error',
    cause: ({ subject }) =>
      `sessions of ${subject} are not in the cluster: it stored none on the nodes of --node`,
    change: () =>
      "start its node, and name it with --node, too; or see whether it can connect: the socket must be the one in its configuration, and belong to the user of the terminator's workers (ls -l /run/tlscached); stunnel shares no session of more than 512 bytes, as with a client certificate",
    see: 'the-socket-belongs-to-another-user',
  },
  not_asked: {
    level: 'error',
    cause: ({ subject, others }) =>
      `sessions of ${others} are in the cluster, but ${subject} did not ask for them`,
    change: () =>
      `start its node, and name it with --node, too; or connect it: the same line for the cache as on the other server, tickets off, and a socket that its workers may open (ls -l /run/tlscached)`,
    see: 'the-socket-belongs-to-another-user',
  },
  peer_refused: {
    level: 'error',
    cause: ({ subject, others, detail }) =>
      `the node of ${subject} refuses sessions of ${others} that other nodes take (${detail})`,
    change: (words) =>
      `make the limits of the caches the same on all nodes: ${afterRefusal(words)}`,
    see: 'sessions-resume-on-one-node-only',
  },
  not_replicated: {
    level: 'error',
    cause: ({ subject, others }) =>
      `${subject} asked for sessions of ${others}, and its node does not have them: the nodes do not replicate`,
    change: () =>
      '`tlscached peers` on both nodes says whether they hear each other: same keys, ports open for UDP and TCP, same name of the cache',
    see: 'sessions-resume-on-one-node-only',
  },
  missed: {
    level: 'error',
    cause: ({ subject, others }) =>
      `${subject} asked for sessions of ${others}, and its node did not find them`,
    change: () =>
      'give --node for every node, to see where they are; compare the names of the caches, and look for evictions and removes with `tlscached stats`',
    see: 'every-get-misses',
  },
  expired: {
    level: 'error',
    cause: ({ subject, others }) =>
      `${subject} asked for sessions of ${others}, and their lifetime was over`,
    change: () => `raise it, and compare the clocks. ${LIFETIMES}`,
    see: 'every-get-misses',
  },
  other_context: {
    level: 'error',
    cause: ({ subject, others }) =>
      `${subject} asked for sessions of ${others} under another session ID context or server name`,
    change: () => `make them the same. ${SAME_CONTEXT}`,
    see: 'every-get-misses',
  },
  not_accepted: {
    level: 'error',
    cause: ({ subject, others }) =>
      `${subject} got sessions of ${others} from its node, and did not accept them: another session ID context or server name, other ciphers, another release of OpenSSL, or an answer that came too late (stunnel waits 5 ms)`,
    change: () => `make them the same. ${SAME_CONTEXT}`,
    see: NOTHING_RESUMES,
  },
  lifetime: {
    level: 'error',
    cause: ({ subject, detail }) => `sessions of ${subject} do not live long: ${detail}`,
    change: () => `raise the lifetime, 300 s is usual. ${LIFETIMES}`,
    see: 'every-get-misses',
  },
  late: {
    level: 'warning',
    cause: ({ subject, others, detail }) =>
      `sessions of ${others} resume on ${subject} ${detail}, but not at once`,
    change: () => 'see lag and losses between the nodes with `tlscached peers`',
    see: 'sessions-resume-on-one-node-only',
  },
  zero_mac: {
    level: 'warning',
    cause: ({ subject }) =>
      `tickets of ${subject} are protected by an HMAC key of zeros, so anybody can alter them (Apache's SSLSessionTicketKeyFile does this)`,
    change: () =>
      'take SSLSessionTicketKeyFile out, switch tickets off, and share sessions: SSLSessionTickets off, SSLSessionCache memcache:/run/tlscached/memcached.sock',
    see: 'tickets-are-on',
  },
  early_data: {
    level: 'warning',
    cause: ({ subject }) =>
      `sessions of ${subject} allow early data, which a shared cache never stores`,
    change: () =>
      'nothing, if all servers share ticket keys; otherwise switch early data off (nginx: ssl_early_data off; HAProxy: without allow-0rtt; nghttpx: tls-max-early-data=0)',
    see: 'puts-are-refused',
  },
  distrusted: {
    level: 'warning',
    cause: ({ subject, detail }) => `the certificate of ${subject} is not trusted: ${detail}`,
    change: () => 'correct the certificate, its chain, --server-name or --ca',
    see: NOTHING_RESUMES,
  },
  without_tickets: {
    level: 'note',
    cause: ({ subject, others }) =>
      `clients that know no tickets do not resume sessions of ${others} on ${subject}`,
    change: () => 'nothing, if all clients take tickets: nearly all do',
    see: 'tickets-are-on',
  },
  balancer_unlisted: {
    level: 'error',
    cause: ({ subject, detail }) => `behind ${subject} is a server that is not listed: ${detail}`,
    change: () => 'list every server that the balancer knows, or take this one out of it',
    see: 'sessions-resume-on-one-node-only',
  },
  balancer_misses: {
    level: 'error',
    cause: ({ subject, detail }) => `through ${subject} ${detail} sessions resumed`,
    change: () =>
      'mend the servers behind it first; if all of the listed ones share, it has others, or ends TLS itself',
    see: 'sessions-resume-on-one-node-only',
  },
  balancer_sticks: {
    level: 'note',
    cause: ({ subject }) =>
      `everything resumed through ${subject}, because it sends this client to the same server again`,
    change: () =>
      'clients whose address changes, and all clients of a server that is taken out, make full handshakes',
    see: 'sessions-resume-on-one-node-only',
  },
  large_hello: {
    level: 'error',
    cause: ({ subject, others }) =>
      `${subject} resumes sessions of ${others} in TLS 1.2, and does not ask for those of TLS 1.3: h2o asks no cache when a ClientHello has more than 1,024 bytes, as it has with a post-quantum key share`,
    change: () => TICKETS_FOR_TLS13,
    see: 'only-tls-12-resumes',
  },
  tls12_only: {
    level: 'error',
    cause: ({ subject }) =>
      `${subject} shares sessions of TLS 1.2 and none of TLS 1.3: nginx with Lua and nghttpx cannot, nor can Node.js with readsClientHello: false`,
    change: () => TICKETS_FOR_TLS13,
    see: 'only-tls-12-resumes',
  },
} as const satisfies Readonly<Record<string, FindingText>>

export type FindingCode = keyof typeof FINDING_TEXTS
export const FINDING_CODES = Object.keys(FINDING_TEXTS) as readonly FindingCode[]

export function textOf(code: FindingCode): FindingText {
  return FINDING_TEXTS[code]
}
