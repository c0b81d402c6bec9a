// nginx and HAProxy as they come: they resume by tickets, and share only the keys of those.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { adapt, type Replacement } from '../support/adapt.ts'
import type { Host } from '../terminators/host.ts'

const NGINX = '/usr/sbin/nginx'
const HAPROXY = '/usr/sbin/haproxy'

/** `TICKETS` stands where a row puts its own lines. */
const NGINX_CONF = `daemon off;
worker_processes 2;
pid FOLDER/pid;
error_log FOLDER/error.log;
events {}
http {
  access_log off;
  ssl_certificate SHARED/cert.pem;
  ssl_certificate_key SHARED/key.pem;
  ssl_session_timeout 300s;
  server {
    listen 127.0.0.1:PORT ssl;
    server_name shop.example;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:tls:1m;
    ssl_session_ticket_key SHARED/ticket.key;
  }
}
`

const HAPROXY_CFG = `global
  tune.ssl.lifetime 300
defaults
  mode tcp
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend tls
  bind 127.0.0.1:PORT ssl crt SHARED/both.pem tls-ticket-keys SHARED/haproxy.keys
  default_backend page
backend page
  server page 127.0.0.1:BACKEND
`

const BALANCER_CFG = `defaults
  mode tcp
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend all
  bind 127.0.0.1:PORT
  default_backend servers
backend servers
  balance roundrobin
`

export async function runPlainNginx(
  host: Host,
  _where: string,
  changes: readonly Replacement[],
): Promise<number> {
  const port = host.port()
  const file = host.write('nginx.conf', fill(NGINX_CONF, host, port, changes))
  await host.run([NGINX, ['-p', host.folder, '-c', file]], port)
  return port
}

export async function runHaproxy(
  host: Host,
  _where: string,
  changes: readonly Replacement[],
): Promise<number> {
  const port = host.port()
  const pem = ['cert.pem', 'key.pem'].map((name) => readFileSync(join(host.shared, name), 'utf8'))
  host.write('../both.pem', pem.join(''))
  const file = host.write('haproxy.cfg', fill(HAPROXY_CFG, host, port, changes))
  await host.run([HAPROXY, ['-f', file]], port)
  return port
}

/** HAProxy as a TCP balancer over servers, in turn; resolves with its address. */
export async function runBalancer(host: Host, servers: readonly string[]): Promise<string> {
  const port = host.port()
  const lines = servers.map((server, index) => `  server s${index} ${server}\n`)
  const text = adapt(BALANCER_CFG, [['PORT', `${port}`]]) + lines.join('')
  await host.run([HAPROXY, ['-f', host.write('balancer.cfg', text)]], port)
  return `127.0.0.1:${port}`
}

function fill(text: string, host: Host, port: number, changes: readonly Replacement[]): string {
  const changed = adapt(text, changes)
  const places = { FOLDER: host.folder, SHARED: host.shared, PORT: `${port}` }
  return Object.entries({ ...places, BACKEND: `${host.backendPort}` }).reduce(
    (filled, [name, value]) => filled.replaceAll(name, value),
    changed,
  )
}
