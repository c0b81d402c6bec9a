// What doctor reads in the files of terminators, and what it says of them. The right set-ups are those of
// deploy/terminators as they stand.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { listProcesses } from '../../src/doctor/machine.ts'
import { terminatorFindings } from '../../src/doctor/terminators/examine.ts'
import { checkConfig } from '../../src/node/config.ts'
import type { ConfigInput } from '../../src/node/config-schema.ts'
import { type Paper, paperMachine, processFiles } from './paper-machine.ts'

const SOCKET = '/run/tlscached/memcached.sock'
const WWW_DATA = 33
const NODE: Paper = {
  '/run/tlscached': { kind: 'folder', uid: WWW_DATA },
  [SOCKET]: { kind: 'socket', uid: WWW_DATA, mode: 0o600 },
}
const CONFIG: ConfigInput = {
  frontends: { memcached: `unix:${SOCKET}`, sessiond: '127.0.0.1:5002' },
}
const TCP: ConfigInput = { frontends: { memcached: '127.0.0.1:11211' } }

const APACHE_ARGS = { args: ['/usr/sbin/apache2', '-k', 'start'], exe: '/usr/sbin/apache2' }
const APACHE: Paper = {
  ...processFiles(10, APACHE_ARGS),
  ...processFiles(11, { ...APACHE_ARGS, uid: WWW_DATA, parentPid: 10 }),
}
const NGINX: Paper = {
  ...processFiles(20, {
    args: ['nginx: master process /usr/sbin/nginx -g daemon on; master_process on;'],
    exe: '/usr/sbin/nginx',
  }),
  ...processFiles(21, {
    args: ['nginx: worker process'],
    exe: '/usr/sbin/nginx',
    uid: WWW_DATA,
    parentPid: 20,
  }),
}
const HAPROXY = processFiles(30, {
  args: ['/usr/sbin/haproxy', '-Ws', '-f', '/etc/haproxy/haproxy.cfg', '-S', '/run/master.sock'],
  exe: '/usr/sbin/haproxy',
})
const STUNNEL = processFiles(40, {
  args: ['/usr/bin/stunnel4', '/etc/stunnel/shop.conf'],
  exe: '/usr/bin/stunnel4',
})
const H2O = processFiles(50, { args: ['h2o', '--conf', '/etc/h2o/h2o.conf'], exe: '/usr/bin/h2o' })

function example(path: string): string {
  return readFileSync(new URL(`../../deploy/terminators/${path}`, import.meta.url), 'utf8')
}

/** Debian's own files around a site, as far as they concern TLS. */
const DEBIAN_APACHE: Paper = {
  '/etc/apache2/envvars': 'export APACHE_RUN_DIR=/var/run/apache2$SUFFIX\n',
  '/etc/apache2/apache2.conf':
    'IncludeOptional mods-enabled/*.load\nIncludeOptional mods-enabled/*.conf\nIncludeOptional sites-enabled/*.conf\n',
  '/etc/apache2/mods-enabled/ssl.load':
    'LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so\n',
  '/etc/apache2/mods-enabled/ssl.conf':
    '\tSSLSessionCache     shmcb:$' +
    '{APACHE_RUN_DIR}/ssl_scache(512000)\n\t#SSLSessionTickets off\n',
}

function site(text: string): Paper {
  return { ...APACHE, ...DEBIAN_APACHE, '/etc/apache2/sites-enabled/shop.conf': text }
}

function nginx(text: string): Paper {
  return {
    ...NGINX,
    '/etc/nginx/nginx.conf': 'http { include conf.d/*.conf; }',
    '/etc/nginx/conf.d/a.conf': text,
  }
}

function haproxy(text: string, more: Paper = {}): Paper {
  return { ...HAPROXY, '/etc/haproxy/haproxy.cfg': text, ...more }
}

function findingsOf(files: Paper, config = CONFIG) {
  const machine = paperMachine({ ...NODE, ...files })
  const processes = listProcesses(machine)
  return terminatorFindings({ machine, processes, config: checkConfig(config, 'edge-1') })
}

const LISTED: ConfigInput = { ...CONFIG, caches: [{ name: 'ssl', contexts: ['shop'] }] }
const KEYS = '/etc/haproxy/ticket.keys'
const SHARED = `frontend shop\n  bind :443 ssl crt a.pem tls-ticket-keys ${KEYS}\n`
const PRIVATE_KEYS: Paper = { [KEYS]: { mode: 0o600 } }

describe('set-ups that are right', () => {
  const right: Record<string, readonly [Paper, ConfigInput]> = {
    Apache: [site(example('apache/tlscached.conf')), CONFIG],
    nginx: [nginx(example('nginx/tlscached.conf')), CONFIG],
    stunnel: [{ ...STUNNEL, '/etc/stunnel/shop.conf': example('stunnel/stunnel.conf') }, CONFIG],
    h2o: [{ ...H2O, '/etc/h2o/h2o.conf': example('h2o/h2o.conf') }, TCP],
    HAProxy: [haproxy(SHARED, PRIVATE_KEYS), CONFIG],
  }
  for (const [name, [files, config]] of Object.entries(right)) {
    test(name, () => {
      const findings = findingsOf(files, config)
      assert.ok(findings.length > 0)
      assert.deepEqual(
        findings.filter(({ level }) => level !== 'ok'),
        [],
      )
      assert.match(findings[0]?.message ?? '', name === 'HAProxy' ? /keys of/ : /tickets are off/)
    })
  }
})

test('nginx makes tickets with the first key of a server, not with those outside it', () => {
  const text =
    'ssl_session_ticket_key /k/0; server { listen 443 ssl; ssl_session_ticket_key /k/1; ssl_session_ticket_key /k/2; }'
  const keys = { '/k/0': { mode: 0o600 }, '/k/1': { mode: 0o600 }, '/k/2': { mode: 0o644 } }
  const [finding] = findingsOf({ ...nginx(text), ...keys })
  assert.match(finding?.message ?? '', /tickets under the keys of \/k\/1/)
})

test('h2o that takes its ticket keys from memcached needs no cache', () => {
  const files = { ...H2O, '/etc/h2o/h2o.conf': example('tickets/h2o/memcached.conf') }
  assert.deepEqual(
    findingsOf(files).map(({ level }) => level),
    ['ok'],
  )
})

interface Row {
  readonly files: Paper
  readonly config?: ConfigInput
  readonly level: 'ok' | 'warning' | 'error'
  readonly message: RegExp
  readonly fix?: RegExp
}

const HOST = '<VirtualHost *:443>\nServerName shop.example\nSSLEngine on\n</VirtualHost>\n'
const ROWS: Record<string, Row> = {
  'Apache, as Debian leaves it': {
    files: site(HOST),
    ...{ level: 'warning', message: /keeps sessions on this machine \(shmcb:\/var\/run\/apache2/ },
    fix: /SSLSessionCache memcache:\/run\/tlscached\/memcached\.sock/,
  },
  'Apache with a ticket key beside its configuration': {
    files: {
      ...site(HOST.replace('</V', 'SSLSessionTicketKeyFile keys/ticket\n</V')),
      '/etc/apache2/keys/ticket': { mode: 0o600 },
    },
    ...{ level: 'ok', message: /tickets under the keys of \/etc\/apache2\/keys\/ticket/ },
  },
  'Apache with tickets in one host alone': {
    files: site(
      `SSLSessionCache memcache:${SOCKET}\nSSLSessionTickets off\n${HOST.replace('SSLEngine on', 'SSLEngine on\n SSLSessionTickets on')}`,
    ),
    ...{
      level: 'error',
      message: /tickets are on for shop\.example/,
      fix: /SSLSessionTickets off/,
    },
  },
  'Apache with a directive in a module that is not loaded': {
    files: site(
      `SSLSessionCache memcache:${SOCKET}\n<IfModule mod_gnutls.c>\nSSLSessionTickets off\n</IfModule>\n${HOST}`,
    ),
    ...{ level: 'error', message: /tickets are on/ },
  },
  'Apache with a line that goes on': {
    files: site(`SSLSessionCache \\\n "memcache:/run/other.sock"\nSSLSessionTickets off\n${HOST}`),
    ...{ level: 'error', message: /asks unix:\/run\/other\.sock, and the node listens at unix:/ },
  },
  'Apache whose host has no name': {
    files: site(
      `SSLSessionCache memcache:${SOCKET}\nSSLSessionTickets off\n${HOST.replace('ServerName shop.example', '')}`,
    ),
    ...{ level: 'warning', message: /without ServerName/, fix: /ServerName in each/ },
  },
  'Apache whose context is not listed': {
    files: site(`SSLSessionCache memcache:${SOCKET}\nSSLSessionTickets off\n${HOST}`),
    config: LISTED,
    ...{ level: 'error', message: /context "[0-9a-f]{32}", which caches\[\]\.contexts of ssl/ },
  },
  'Apache as another user than the socket': {
    files: {
      ...site(`SSLSessionCache memcache:${SOCKET}\nSSLSessionTickets off\n${HOST}`),
      [SOCKET]: { kind: 'socket', uid: 990, mode: 0o600 },
    },
    ...{ level: 'error', message: /runs as www-data, and .* is for tlscached alone/, fix: /User=/ },
  },
  'Apache beside a node without the frontend': {
    files: site(`SSLSessionCache memcache:${SOCKET}\nSSLSessionTickets off\n${HOST}`),
    ...{ config: {}, level: 'error', message: /has no frontends\.memcached/, fix: /frontends:/ },
  },
  'Apache whose files only others can read': {
    files: APACHE,
    ...{ level: 'warning', message: /cannot read its configuration/, fix: /as root/ },
  },
  'Apache without TLS': {
    files: site('<VirtualHost *:80>\nServerName shop.example\n</VirtualHost>\n'),
    ...{ level: 'ok', message: /speaks no TLS/ },
  },
  'Apache in a container': {
    files: {
      ...Object.fromEntries(
        Object.entries(site(HOST)).map(([path, file]) => {
          return [path.startsWith('/proc/') ? path : `/proc/10/root${path}`, file]
        }),
      ),
      '/proc/self/ns/mnt': { link: 'mnt:[1]' },
      '/proc/10/ns/mnt': { link: 'mnt:[2]' },
    },
    ...{ level: 'warning', message: /keeps sessions on this machine/ },
  },
  'nginx with tickets beside the script': {
    files: nginx(example('nginx/tlscached.conf').replace('ssl_session_tickets off;', '')),
    ...{ level: 'error', message: /tickets are on for shop\.example and 2 more/ },
  },
  'nginx with a brace in a string of Lua': {
    files: nginx(
      `init_by_lua_block { local a = "}" -- }\n require("tlscached").setup { socket = '/run/other.sock' } }
       ssl_session_fetch_by_lua_block { require("tlscached").fetch() } ssl_session_tickets off;
       server { listen 443 ssl; }`,
    ),
    ...{ level: 'error', message: /asks unix:\/run\/other\.sock/ },
  },
  'nginx with a script of its own': {
    files: nginx(
      'ssl_session_fetch_by_lua_file /a.lua; ssl_session_tickets off; server { listen 443 ssl; }',
    ),
    ...{ level: 'ok', message: /script of its own/ },
  },
  'nginx with an included file that this user cannot read': {
    files: {
      ...nginx('server { listen 443 ssl; include /run/keys/www.conf; }'),
      '/run/keys/www.conf': { mode: 0o600 },
    },
    ...{ level: 'warning', message: /cannot read its configuration as a whole \(\/run\/keys/ },
    fix: /as root/,
  },
  'nginx with keys in a file that is included': {
    files: {
      ...nginx('server { listen 443 ssl; include /run/keys/www.conf; }'),
      '/run/keys/www.conf': 'ssl_session_ticket_key /run/keys/www;',
      '/run/keys/www': { mode: 0o600 },
    },
    ...{ level: 'ok', message: /tickets under the keys of \/run\/keys\/www$/ },
  },
  'nginx with an old key before those of the node': {
    files: {
      ...nginx(
        'server { listen 443 ssl; server_name a; ssl_session_ticket_key /etc/old; include /run/www/*.conf; }',
      ),
      '/etc/old': { mode: 0o600 },
      '/run/www/tickets.conf': 'ssl_session_ticket_key /run/www/00.key;',
      '/run/www/00.key': { mode: 0o400 },
    },
    config: {
      tickets: {
        groups: [{ name: 'www' }],
        targets: [{ kind: 'nginx', group: 'www', dir: '/run/www' }],
      },
    },
    ...{ level: 'error', message: /a makes its tickets under \/etc\/old, its first key/ },
    fix: /take the other lines/,
  },
  'nginx with a key beside its configuration': {
    files: {
      ...nginx('server { listen 443 ssl; ssl_session_ticket_key "keys/1.key"; }'),
      '/etc/nginx/keys/1.key': { mode: 0o600 },
    },
    ...{ level: 'ok', message: /tickets under the keys of \/etc\/nginx\/keys\/1\.key/ },
  },
  'nginx with shared keys that are missing': {
    files: nginx('server { listen 443 ssl; ssl_session_ticket_key /run/keys/www; }'),
    ...{ level: 'error', message: /no file of ticket keys \/run\/keys\/www/ },
  },
  'HAProxy without shared keys': {
    files: haproxy('frontend shop\n  bind :443 ssl crt a.pem # tls-ticket-keys no\n'),
    ...{ level: 'warning', message: /frontend shop, bind :443 hands out tickets under keys/ },
    fix: /tls-ticket-keys FILE/,
  },
  'HAProxy without tickets': {
    files: haproxy(
      'global\n  ssl-default-bind-options no-tls-tickets\nlisten a\n  bind :443 ssl crt a.pem\n',
    ),
    ...{ level: 'warning', message: /resume on this machine only/, fix: /tls-ticket-keys/ },
  },
  'HAProxy with keys that everybody can read': {
    files: haproxy(SHARED, { [KEYS]: { mode: 0o644 } }),
    ...{ level: 'error', message: /everybody can read the ticket keys/, fix: /chmod 600/ },
  },
  'HAProxy with a socket for everybody': {
    files: haproxy(`global\n  stats socket /run/h.sock level user\n${SHARED}`, {
      ...PRIVATE_KEYS,
      '/run/h.sock': { kind: 'socket', mode: 0o666 },
    }),
    ...{ level: 'error', message: /h\.sock lists the ticket keys to every user/, fix: /mode 600/ },
  },
  'HAProxy with a socket for a group': {
    files: haproxy(`global\n  stats socket /run/h.sock\n${SHARED}`, {
      ...PRIVATE_KEYS,
      '/run/h.sock': { kind: 'socket', mode: 0o660, gid: 991 },
    }),
    ...{ level: 'warning', message: /to the group 991/ },
  },
  'HAProxy with a socket for the group of root': {
    files: haproxy(`global\n  stats socket /run/h.sock\n${SHARED}`, {
      ...PRIVATE_KEYS,
      '/run/h.sock': { kind: 'socket', mode: 0o660, gid: 0 },
    }),
    ...{ level: 'ok', message: /h\.sock lists the ticket keys to its owner alone/ },
  },
  'HAProxy with a socket on the network': {
    files: haproxy(`global\n  stats socket ipv4@10.0.0.1:9999\n${SHARED}`, PRIVATE_KEYS),
    ...{ level: 'error', message: /over the network/ },
  },
  "HAProxy's master socket": {
    files: haproxy(SHARED, {
      ...PRIVATE_KEYS,
      '/run/master.sock': { kind: 'socket', mode: 0o600 },
    }),
    ...{ level: 'ok', message: /master\.sock lists the ticket keys to its owner alone/ },
  },
  'stunnel without a cache': {
    files: { ...STUNNEL, '/etc/stunnel/shop.conf': '[shop]\naccept = 443\n' },
    ...{ level: 'warning', message: /keeps sessions on this machine/ },
    fix: /sessiond = 127\.0\.0\.1:5002/,
  },
  'stunnel whose service has another name than the context': {
    files: {
      ...STUNNEL,
      '/etc/stunnel/shop.conf': 'sessiond = 127.0.0.1:5002\n[mail]\naccept=1\n',
    },
    config: LISTED,
    ...{ level: 'error', message: /sessions of mail have the context "mail"/ },
  },
  'stunnel with keys in a folder that is included': {
    files: {
      ...STUNNEL,
      '/etc/stunnel/shop.conf': {
        text: 'include = /run/keys\n[shop]\naccept = 443\n',
        mode: 0o644,
      },
      '/run/keys/ticket.conf': {
        text: 'ticketKeySecret = 00\nticketMacSecret = 00\n',
        mode: 0o400,
      },
    },
    ...{ level: 'ok', message: /tickets under the keys of \/run\/keys\/ticket\.conf/ },
  },
  'stunnel with keys in a file that everybody can read': {
    files: { ...STUNNEL, '/etc/stunnel/shop.conf': 'ticketKeySecret = 00\n[shop]\naccept = 443\n' },
    ...{ level: 'error', message: /everybody can read the ticket keys in \/etc\/stunnel\/shop/ },
  },
  'stunnel that is a client': {
    files: { ...STUNNEL, '/etc/stunnel/shop.conf': '[out]\nclient = yes\n' },
    ...{ level: 'ok', message: /speaks no TLS/ },
  },
  'h2o without a section': {
    files: { ...H2O, '/etc/h2o/h2o.conf': 'listen: { port: 443, ssl: { key-file: a } }\n' },
    ...{ level: 'warning', message: /all hosts hands out tickets under keys of its own/ },
  },
  'h2o with ticket keys in memcached': {
    files: { ...H2O, '/etc/h2o/h2o.conf': example('tickets/h2o/memcached.conf') },
    ...{ level: 'ok', message: /takes its ticket keys from memcached/ },
  },
  'h2o with a file that is no YAML': {
    files: { ...H2O, '/etc/h2o/h2o.conf': 'listen: [' },
    ...{ level: 'ok', message: /speaks no TLS/ },
  },
  'nobody at all': { files: {}, level: 'ok', message: /no Apache, nginx, HAProxy/ },
}

for (const [name, { files, config, level, message, fix = /./ }] of Object.entries(ROWS)) {
  test(name, () => {
    const findings = findingsOf(files, config)
    const found = findings.find((one) => message.test(one.message))
    assert.ok(found !== undefined, JSON.stringify(findings, null, 1))
    assert.equal(found.level, level)
    if (level !== 'ok') assert.match(found.fix, fix)
  })
}
