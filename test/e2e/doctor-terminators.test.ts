// What doctor says of real terminators that run with a mistake each: it finds them and reads their files.

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Finding } from '../../src/doctor/finding.ts'
import { listProcesses, systemMachine } from '../../src/doctor/machine.ts'
import { terminatorFindings } from '../../src/doctor/terminators/examine.ts'
import { checkConfig } from '../../src/node/config.ts'
import { CertificateFolder } from '../support/certificates.ts'
import { freePorts } from '../support/free-ports.ts'
import { until } from '../support/latch.ts'
import { stopProcess } from '../support/node-processes.ts'
import { whyWithout, whyWithoutRoot } from '../support/programs.ts'

const folder = mkdtempSync(join(tmpdir(), 'tlscached-doctor-'))
const certificates = new CertificateFolder()
const programs: ChildProcess[] = []
const SOCKET = join(folder, 'memcached.sock')
const listener = createServer()

function write(name: string, text: string): string {
  const file = join(folder, name)
  writeFileSync(file, text)
  return file
}

function run(program: string, args: readonly string[]): void {
  programs.push(spawn(program, args, { stdio: 'ignore' }))
}

before(() => {
  // Workers of Apache run as another user, who has to find its files.
  chmodSync(folder, 0o755)
  listener.listen(SOCKET)
})

after(async () => {
  listener.close()
  await Promise.all(programs.map(stopProcess))
  rmSync(folder, { recursive: true })
  certificates.remove()
})

function findings(): readonly Finding[] {
  const config = checkConfig(
    {
      caches: [{ name: 'ssl', contexts: ['shop'] }],
      frontends: { memcached: `unix:${SOCKET}`, sessiond: '127.0.0.1:5002' },
    },
    'edge-1',
  )
  const processes = listProcesses(systemMachine)
  const all = terminatorFindings({ machine: systemMachine, processes, config })
  // Others may run here, too.
  return all.filter(({ message }) => message.includes(folder))
}

/** Waits until doctor says this of a terminator, and returns how bad it says it is. */
async function levelOf(message: RegExp): Promise<Finding['level'] | undefined> {
  let level: Finding['level'] | undefined
  await until(`doctor says ${message} of ${JSON.stringify(findings())}`, () => {
    level = findings().find((one) => message.test(one.message))?.level
    return level !== undefined
  })
  return level
}

test('Apache: tickets on in one host, a context that is not listed, a socket of another user', {
  skip: whyWithout('apache2', '-v') || whyWithoutRoot(),
}, async () => {
  const [port = 0] = await freePorts(1)
  const { certFile, keyFile } = certificates.make({ commonName: 'shop.example' })
  mkdirSync(join(folder, 'sites'))
  const host = (name: string, more: string) => `<VirtualHost *:${port}>
  ServerName ${name}
  SSLEngine on
  SSLCertificateFile ${certFile}
  SSLCertificateKeyFile ${keyFile}
  ${more}
</VirtualHost>\n`
  write('sites/shop.conf', host('shop.example', ''))
  write('sites/mail.conf', host('mail.example', 'SSLSessionTickets on'))
  const modules = '/usr/lib/apache2/modules'
  const file = write(
    'apache2.conf',
    `ServerRoot ${folder}
Define SOCKET ${SOCKET}
${['mpm_event', 'authz_core', 'ssl', 'socache_memcache']
  .map((name) => `LoadModule ${name}_module ${modules}/mod_${name}.so`)
  .join('\n')}
User www-data
Group www-data
PidFile apache.pid
ErrorLog apache.log
DefaultRuntimeDir ${folder}
ServerLimit 1
StartServers 1
ThreadsPerChild 25
MaxRequestWorkers 25
Listen 127.0.0.1:${port}
ServerName localhost
<IfModule !mod_ssl.c>
  SSLSessionCache shmcb:no(512000)
</IfModule>
<IfModule ssl_module>
  SSLSessionCache memcache:\${SOCKET}
  SSLSessionTickets off
</IfModule>
IncludeOptional sites/*.conf
`,
  )
  run('apache2', ['-f', file, '-DFOREGROUND'])
  assert.equal(await levelOf(/it runs as www-data, and .*sock is for root alone/), 'error')
  assert.equal(await levelOf(/apache2\.conf\): tickets are on for mail\.example,/), 'error')
  // printf shop.example:443 | md5sum
  assert.equal(
    await levelOf(/shop\.example have the context "9c1f2013c89625b16784bbd57adb968b"/),
    'error',
  )
})

test('nginx: tickets under keys of its own', { skip: whyWithout('nginx', '-v') }, async () => {
  const [port = 0] = await freePorts(1)
  const { certFile, keyFile } = certificates.make({ commonName: 'shop.example' })
  write(
    'nginx-site.conf',
    `ssl_certificate ${certFile}; ssl_certificate_key ${keyFile};
     server { listen 127.0.0.1:${port} ssl; server_name "shop.example" www.shop.example; } # tickets are on`,
  )
  const file = write(
    'nginx.conf',
    `daemon off; pid ${folder}/nginx.pid; error_log ${folder}/nginx.log; events {}
     http { access_log off; ssl_session_cache shared:SSL:1m; include nginx-s*.conf; }`,
  )
  run('nginx', ['-c', file])
  assert.equal(
    await levelOf(/nginx\.conf\): shop\.example hands out tickets under keys/),
    'warning',
  )
})

test('HAProxy: ticket keys that everybody can read, in the file and over a socket', {
  skip: whyWithout('haproxy', '-v'),
}, async () => {
  const [port = 0] = await freePorts(1)
  const { cert, key } = certificates.make({ commonName: 'shop.example' })
  const pem = write('haproxy.pem', cert + key)
  const keys = write('haproxy.keys', `${`${Buffer.alloc(48, 1).toString('base64')}\n`.repeat(3)}`)
  chmodSync(keys, 0o644)
  const file = write(
    'haproxy.cfg',
    `global
  stats socket ${folder}/haproxy.sock mode 666 level user
defaults
  mode http
  timeout connect 1s
  timeout client 1s
  timeout server 1s
frontend shop # two binds
  bind 127.0.0.1:${port} ssl crt ${pem} tls-ticket-keys ${keys}
  bind ${folder}/plain.sock ssl crt "${pem}"
`,
  )
  run('haproxy', ['-W', '-f', file])
  assert.equal(await levelOf(/everybody can read the ticket keys in .*haproxy\.keys/), 'error')
  assert.equal(await levelOf(/haproxy\.sock lists the ticket keys to every user/), 'error')
  assert.equal(await levelOf(/frontend shop, bind .*plain\.sock hands out tickets/), 'warning')
})

test('stunnel: it asks where the node does not listen', {
  skip: whyWithout('stunnel', '-version'),
}, async () => {
  const [port = 0] = await freePorts(1)
  const { certFile, keyFile } = certificates.make({ commonName: 'shop.example' })
  const file = write(
    'stunnel.conf',
    `foreground = yes
pid =
sessiond = 127.0.0.1:5003
cert = ${certFile}
key = ${keyFile}
[shop]
accept = 127.0.0.1:${port}
connect = 127.0.0.1:1
`,
  )
  run('stunnel', [file])
  const message =
    /stunnel\.conf\) asks 127\.0\.0\.1:5003, and the node listens at 127\.0\.0\.1:5002/
  assert.equal(await levelOf(message), 'error')
  assert.equal(await levelOf(/stunnel\.conf\): tickets are off/), 'ok')
})

test('h2o: tickets beside the cache, and a context that is not listed', {
  skip: whyWithout('h2o'),
}, async () => {
  const [port = 0] = await freePorts(1)
  const { certFile, keyFile } = certificates.make({ commonName: 'shop.example' })
  const file = write(
    'h2o.conf',
    `ssl-session-resumption:
  mode: all
  cache-store: memcached
  memcached: { host: ${SOCKET}, port: 1 }
listen:
  host: 127.0.0.1
  port: ${port}
  ssl: { certificate-file: ${certFile}, key-file: ${keyFile}, ocsp-update-interval: 0 }
hosts:
  shop.example:
    paths: { /: { file.dir: ${folder} } }
`,
  )
  run('h2o', ['-c', file])
  assert.equal(await levelOf(/h2o\.conf\): tickets are on for all hosts/), 'error')
  assert.equal(await levelOf(/all hosts have the context "hex:"/), 'error')
})
