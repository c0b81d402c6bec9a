// The faults of terminators that resume by tickets and share the keys of those: nginx, and HAProxy behind a balancer.

import { LATER, ONLY_12, type Row } from './fault-row.ts'

/** HAProxy behind a balancer, of which both servers are listed. */
const BALANCED: readonly Row[] = (
  [
    {
      fault: 'ticket keys of its own in each',
      both: [[' tls-ticket-keys SHARED/haproxy.keys', '']],
      says: ['balancer_misses', 'no_shared_keys'],
    },
    {
      fault: 'B missed two rotations of the ticket keys',
      a: [['haproxy.keys', 'newer-haproxy.keys']],
      says: ['balancer_misses', 'no_shared_keys'],
    },
    {
      fault: 'tickets off in B',
      b: [['tls-ticket-keys SHARED/haproxy.keys', 'no-tls-tickets']],
      says: ['balancer_misses', 'tickets_on'],
    },
    {
      fault: 'a lifetime of five seconds',
      both: [['tune.ssl.lifetime 300', 'tune.ssl.lifetime 5']],
      prove: LATER,
      says: ['lifetime'],
    },
    {
      fault: 'TLS 1.3 only in B',
      b: [['ssl crt', 'ssl ssl-min-ver TLSv1.3 crt']],
      maySay: ['balancer_misses'],
      says: ['version_missing'],
    },
    {
      fault: 'B speaks no TLS',
      b: [['ssl crt SHARED/both.pem tls-ticket-keys SHARED/haproxy.keys', '']],
      maySay: ['balancer_misses'],
      says: ['not_tls'],
    },
    {
      fault: 'B asks for a client certificate',
      b: [['ssl crt', 'ssl verify required ca-file SHARED/clients.pem crt']],
      maySay: ['balancer_misses'],
      says: ['handshake'],
    },
    {
      fault: 'early data allowed in both',
      both: [['ssl crt', 'ssl allow-0rtt crt']],
      says: ['early_data'],
      isResumed: true,
    },
  ] as const satisfies readonly Omit<Row, 'kind'>[]
).map((row) => ({ kind: 'HAProxy', listedBehindBalancer: 2, isLong: true, ...row }))

export const TICKET_ROWS: readonly Row[] = [
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
  {
    kind: 'nginx',
    fault: 'tickets off in B',
    b: [['ssl_session_ticket_key SHARED/ticket.key', 'ssl_session_tickets off']],
    says: ['tickets_on'],
    isLong: true,
  },
  {
    kind: 'nginx',
    fault: 'tickets off in both: each keeps its sessions to itself',
    both: [['ssl_session_ticket_key SHARED/ticket.key', 'ssl_session_tickets off']],
    says: ['not_shared'],
    isLong: true,
  },
  {
    kind: 'nginx',
    fault: 'B did not get the new ticket key',
    a: [
      [
        '    ssl_session_ticket_key SHARED/ticket.key;\n',
        '    ssl_session_ticket_key SHARED/other-ticket.key;\n    ssl_session_ticket_key SHARED/ticket.key;\n',
      ],
    ],
    says: ['key_missing'],
    isLong: true,
  },
  {
    kind: 'nginx',
    fault: 'B asks for client certificates',
    b: [
      [
        'ssl_protocols',
        'ssl_verify_client optional;\n    ssl_client_certificate SHARED/clients.pem;\n    ssl_protocols',
      ],
    ],
    says: ['ticket_refused'],
    isLong: true,
  },
  {
    kind: 'nginx',
    fault: 'B speaks plain HTTP',
    b: [['PORT ssl;', 'PORT;']],
    says: ['not_tls'],
    isLong: true,
  },

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
  ...BALANCED,
]
