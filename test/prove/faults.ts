// The rows of what prove says of real servers: a kind of terminator, a fault, and the findings that name it.

import type { FindingCode } from '../../src/prove/finding-texts.ts'
import type { ProveOptions } from '../../src/prove/prove.ts'
import type { Replacement } from '../support/adapt.ts'
import { runApache } from '../terminators/apache.ts'
import { runNginx } from '../terminators/nginx.ts'
import { runStunnel } from '../terminators/stunnel.ts'
import type { Kind, Setup } from './clusters.ts'
import { runHaproxy, runPlainNginx } from './ticket-servers.ts'

export const KINDS = {
  Apache: { frontend: 'memcached', start: runApache },
  stunnel: {
    frontend: 'sessiond',
    start: async (host, where, changes) => (await runStunnel(host, where, changes)).shop,
  },
  'stunnel, client certificate': {
    frontend: 'sessiond',
    start: async (host, where, changes) => (await runStunnel(host, where, changes)).admin,
  },
  'nginx + lua': { frontend: 'memcached', start: runNginx },
  nginx: { start: runPlainNginx },
  HAProxy: { start: runHaproxy },
} as const satisfies Readonly<Record<string, Kind>>

export interface Row extends Setup {
  readonly kind: keyof typeof KINDS
  readonly fault: string
  /** Codes of all errors and warnings, in order of the alphabet; none when all resumed. */
  readonly says: readonly FindingCode[]
  /** Whether all resumes in spite of what is said. */
  readonly isResumed?: boolean
  /** Left out in the short form. */
  readonly isLong?: boolean
}

const SOCKET = 'memcache:/run/tlscached/memcached.sock'
const OTHER_CERTIFICATE: readonly Replacement[] = [
  ['/etc/tlscached/cert.pem', '/etc/tlscached/other.pem'],
  ['/etc/tlscached/key.pem', '/etc/tlscached/other.key'],
]
const ONLY_12 = { tls: ['1.2'] } as const satisfies Partial<ProveOptions>
/** Long enough for a lifetime of five seconds. */
const LATER = { laterMs: 7000 }

export const ROWS: readonly Row[] = [
  { kind: 'Apache', fault: 'none', says: [] },
  {
    kind: 'Apache',
    fault: 'tickets left on in B',
    b: [['SSLSessionTickets off', 'SSLSessionTickets on']],
    says: ['tickets_on'],
  },
  {
    kind: 'Apache',
    fault: 'tickets left on in both',
    both: [['SSLSessionTickets off', 'SSLSessionTickets on']],
    says: ['no_shared_keys'],
    isLong: true,
  },
  {
    kind: 'Apache',
    fault: 'another port behind ServerName in B',
    b: [['ServerName shop.example', 'ServerName shop.example:8443']],
    says: ['not_accepted'],
  },
  {
    kind: 'Apache',
    fault: 'B does not know the name',
    b: [['ServerName mail.example', 'ServerName post.example']],
    prove: { serverName: 'mail.example' },
    says: ['not_accepted'],
    isLong: true,
  },
  {
    kind: 'Apache',
    fault: 'contexts lists names, as of other terminators',
    cache: { contexts: ['shop.example'] },
    says: ['put_refused'],
  },
  {
    kind: 'Apache',
    fault: 'blocksize too small on both nodes',
    cache: { blocksize: 64 },
    says: ['put_refused'],
    isLong: true,
  },
  {
    kind: 'Apache',
    fault: 'blocksize too small on the node of B',
    cacheOfB: { blocksize: 64 },
    says: ['peer_refused', 'put_refused'],
    isLong: true,
  },
  { kind: 'Apache', fault: 'the nodes do not replicate', isCut: true, says: ['not_replicated'] },
  {
    kind: 'Apache',
    fault: 'the node of B is dead',
    isBDead: true,
    says: ['no_put', 'node_away', 'not_asked'],
  },
  {
    kind: 'Apache',
    fault: 'B keeps its sessions to itself',
    b: [[`SSLSessionCache ${SOCKET}`, `#SSLSessionCache ${SOCKET}`]],
    says: ['no_put', 'not_asked'],
  },
  {
    kind: 'Apache',
    fault: 'the socket belongs to another user than the workers of B',
    b: [['SSLSessionTickets off', 'SSLSessionTickets off\nUser www-data\nGroup www-data']],
    says: ['no_put', 'not_asked'],
    isLong: true,
  },
  {
    kind: 'Apache',
    fault: 'a lifetime of five seconds',
    both: [['SSLSessionCacheTimeout 300', 'SSLSessionCacheTimeout 5']],
    prove: LATER,
    says: ['lifetime'],
  },
  {
    kind: 'Apache',
    fault: 'SSLSessionTicketKeyFile: an HMAC key of zeros',
    both: [
      ['SSLSessionTickets off', 'SSLSessionTickets on'],
      [
        'SSLCertificateFile /etc/tlscached/cert.pem\n',
        'SSLCertificateFile /etc/tlscached/cert.pem\n  SSLSessionTicketKeyFile /etc/tlscached/ticket.key\n',
      ],
    ],
    says: ['zero_mac'],
    isResumed: true,
  },

  { kind: 'stunnel', fault: 'none', says: [] },
  {
    kind: 'stunnel',
    fault: 'another name of the service in B',
    b: [['[shop]', '[store]']],
    says: ['not_accepted'],
  },
  {
    kind: 'stunnel',
    fault: 'contexts does not list the service',
    cache: { contexts: ['mail'] },
    says: ['put_refused'],
    isLong: true,
  },
  {
    kind: 'stunnel',
    fault: 'no sessiond in B',
    b: [['sessiond = 127.0.0.1:5002', ';sessiond = 127.0.0.1:5002']],
    says: ['tickets_on'],
  },
  { kind: 'stunnel', fault: 'the nodes do not replicate', isCut: true, says: ['not_replicated'] },
  {
    kind: 'stunnel, client certificate',
    fault: 'sessions of more than 512 bytes',
    says: ['no_put'],
  },

  { kind: 'stunnel', fault: 'none, after STARTTLS of SMTP', prove: { startTls: 'smtp' }, says: [] },
  {
    kind: 'stunnel',
    fault: 'none, after STARTTLS of IMAP',
    prove: { startTls: 'imap' },
    says: [],
    isLong: true,
  },
  {
    kind: 'stunnel',
    fault: 'none, after STLS of POP3',
    prove: { startTls: 'pop3' },
    says: [],
    isLong: true,
  },
  {
    kind: 'stunnel',
    fault: "none, after PostgreSQL's SSLRequest",
    prove: { startTls: 'postgres' },
    says: [],
    isLong: true,
  },

  { kind: 'nginx + lua', fault: 'none', prove: ONLY_12, says: [] },
  {
    kind: 'nginx + lua',
    fault: 'tickets left on in B',
    b: [['ssl_session_tickets off', 'ssl_session_tickets on']],
    prove: ONLY_12,
    says: ['tickets_on'],
    isLong: true,
  },
  {
    kind: 'nginx + lua',
    fault: 'another certificate in B',
    b: OTHER_CERTIFICATE,
    prove: ONLY_12,
    says: ['other_certificate'],
  },

  { kind: 'nginx', fault: 'none: shared ticket keys', says: [] },
  {
    kind: 'nginx',
    fault: 'ticket keys of its own in each',
    both: [['    ssl_session_ticket_key SHARED/ticket.key;\n', '']],
    says: ['no_shared_keys'],
  },
  {
    kind: 'nginx',
    fault: 'another file of ticket keys in B',
    b: [['ticket.key', 'other-ticket.key']],
    says: ['no_shared_keys'],
    isLong: true,
  },
  {
    kind: 'nginx',
    fault: 'another certificate in B',
    b: [
      ['SHARED/cert.pem', 'SHARED/other.pem'],
      ['SHARED/key.pem', 'SHARED/other.key'],
    ],
    says: ['other_certificate'],
    isLong: true,
  },
  {
    kind: 'nginx',
    fault: 'tickets off, and a cache in each worker',
    both: [
      ['ssl_session_cache shared:tls:1m;', 'ssl_session_cache none;'],
      ['ssl_session_ticket_key SHARED/ticket.key', 'ssl_session_tickets off'],
    ],
    prove: ONLY_12,
    says: ['own_not_resumed'],
  },
  {
    kind: 'nginx',
    fault: 'a lifetime of five seconds',
    both: [['ssl_session_timeout 300s', 'ssl_session_timeout 5s']],
    prove: LATER,
    says: ['lifetime'],
    isLong: true,
  },
  { kind: 'nginx', fault: 'TLS 1.3 only in B', b: [['TLSv1.2 ', '']], says: ['version_missing'] },

  { kind: 'HAProxy', fault: 'none, through a balancer', listedBehindBalancer: 2, says: [] },
  {
    kind: 'HAProxy',
    fault: 'another file of ticket keys in B, through a balancer',
    b: [['haproxy.keys', 'other-haproxy.keys']],
    listedBehindBalancer: 2,
    says: ['balancer_misses', 'no_shared_keys'],
  },
  {
    kind: 'HAProxy',
    fault: 'behind the balancer is one more, with other keys',
    b: [['haproxy.keys', 'other-haproxy.keys']],
    listedBehindBalancer: 1,
    says: ['balancer_misses', 'balancer_unlisted'],
  },
  {
    kind: 'HAProxy',
    fault: 'tickets off: each keeps its sessions to itself',
    both: [['tls-ticket-keys SHARED/haproxy.keys', 'no-tls-tickets']],
    says: ['not_shared'],
    isLong: true,
  },
]
