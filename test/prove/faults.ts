// The faults of terminators that share sessions through a cache: Apache, stunnel, and nginx with its script.

import type { Replacement } from '../support/adapt.ts'
import { LATER, ONLY_12, type Row } from './fault-row.ts'

const SOCKET = 'memcache:/run/tlscached/memcached.sock'
const OTHER_CERTIFICATE: readonly Replacement[] = [
  ['/etc/tlscached/cert.pem', '/etc/tlscached/other.pem'],
  ['/etc/tlscached/key.pem', '/etc/tlscached/other.key'],
]

export const CACHE_ROWS: readonly Row[] = [
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
  {
    kind: 'stunnel',
    fault: 'the node of B is dead',
    isBDead: true,
    says: ['no_put', 'node_away', 'not_asked'],
    isLong: true,
  },
  {
    kind: 'stunnel',
    fault: 'another port of sessiond in B than that of its node',
    b: [['sessiond = 127.0.0.1:5002', 'sessiond = 127.0.0.1:9\n; 127.0.0.1:5002']],
    says: ['no_put', 'not_asked'],
    isLong: true,
  },
  {
    kind: 'stunnel',
    fault: 'blocksize too small on both nodes',
    cache: { blocksize: 64 },
    says: ['put_refused'],
    isLong: true,
  },
  {
    kind: 'stunnel',
    fault: 'blocksize too small on the node of B',
    cacheOfB: { blocksize: 64 },
    says: ['peer_refused', 'put_refused'],
    isLong: true,
  },
  {
    kind: 'stunnel',
    fault: 'a lifetime of five seconds',
    both: [['sessionCacheTimeout = 300', 'sessionCacheTimeout = 5']],
    prove: LATER,
    says: ['lifetime'],
    isLong: true,
  },
  {
    kind: 'stunnel',
    fault: 'TLS 1.3 only in B',
    b: [['sslVersionMin = TLSv1.2', 'sslVersionMin = TLSv1.3']],
    says: ['version_missing'],
    isLong: true,
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
]
