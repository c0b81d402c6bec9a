// The units of deploy/systemd with systemd as the first process of a machine, installed as deploy/systemd/README.md says:
// what it promises of start, reload, watchdogs, stop and boot, and of ticket keys for a real nginx.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { adapt } from '../support/adapt.ts'
import { until } from '../support/latch.ts'
import { whyWithout } from '../support/programs.ts'
import { Machine, whyWithoutMachine } from './machine.ts'

const README = read('../../deploy/systemd/README.md')
const [INSTALL = '', INSTALL_TICKETS = ''] = [...README.matchAll(/```sh\n([^`]+)```/g)].map(
  ([, commands]) => commands ?? '',
)
const NGINX = adapt(read('../../deploy/terminators/tickets/nginx/www.conf'), [
  ['/run/tlscached/tickets/www/*.conf', '/run/nginx-tickets/*.conf'],
])
const CONFIG = `
node: { name: edge-1 }
caches: [{ name: ssl, items: 1000, timeout: 5m }]
replication:
  listen: 10.0.0.1:7171
  peers: [10.0.0.2:7171]
  keys_file: /run/credentials/tlscached.service/keys
frontends:
  http: 127.0.0.1:5080
  memcached: unix:/run/tlscached/memcached.sock
  rpc: unix:/run/tlscached/rpc.sock
tickets:
  groups: [{ name: www, rotate: 20s, lifetime: 20s, wait: 20s }]
  targets: [{ kind: nginx, group: www, dir: /run/tlscached/tickets/www }]
`
/** The event loop makes no further turn after SIGUSR2. */
const HANG = 'NODE_OPTIONS=--import=data:text/javascript,process.on(%%22SIGUSR2%%22,()=>{for(;;);})'
const TICKETS = 'tlscached-tickets-nginx.service'

const skip =
  whyWithoutMachine() ||
  whyWithout('nginx', '-v') ||
  whyWithout('caddy', 'version') ||
  whyWithout('openssl', 'version') ||
  whyWithout('curl')

describe('with systemd as the first process', { skip }, () => {
  let machine: Machine
  before(async () => {
    machine = new Machine()
    await machine.boot()
    write('/etc/tlscached.yaml', CONFIG)
    write('/etc/nginx/conf.d/www.conf', NGINX)
  })
  after(() => machine.remove())

  const write = (path: string, text: string) =>
    machine.run(`mkdir -p "$(dirname ${path})"; cat >${path} <<'END'\n${text}\nEND`)
  const soon = (what: string, isTrue: () => boolean) => until(what, isTrue, 30_000)
  const pid = () => {
    const pid = machine.show('tlscached', 'MainPID')
    assert.ok(Number(pid) > 1, 'the node does not run')
    return pid
  }
  const restarts = () => Number(machine.show('tlscached', 'NRestarts'))
  const answers = () => machine.try('curl -sf 127.0.0.1:5080/readyz').code === 0
  const metric = (name: string) =>
    machine.run(`curl -sf 127.0.0.1:5080/metrics | awk '$1 == "${name}" { print $2 }'`).trim()
  /** Names of the keys of the node, the oldest last. */
  const keysOfNode = () =>
    [...machine.run('tlscached tickets --json').matchAll(/"([0-9a-f]{32})"/g)].map(
      ([, name]) => name,
    )
  /** Name of the key under which nginx makes its tickets. */
  const keyOfNginx = () =>
    machine
      .try('(sleep 0.2) | openssl s_client -connect 127.0.0.1:443 -tls1_2 2>&1')
      .stdout.match(/0000 - ([0-9a-f -]{47})/)?.[1]
      ?.replaceAll(/[ -]/g, '')
  /** Name of the key that the files of nginx begin with. */
  const keyInFiles = () =>
    machine.try('head -n 1 /run/nginx-tickets/tickets.conf').stdout.match(/[0-9a-f]{32}/)?.[0]
  const reloadsOfNginx = () =>
    machine.run('journalctl --boot --unit nginx --output cat | grep -c ^Reloaded || true').trim()

  test('it is installed as shown, and says how it is', async () => {
    assert.match(
      machine.try('install -d /etc/tlscached; tlscached check /etc/tlscached.yaml').stderr,
      /was not checked/,
    )
    machine.run(INSTALL)
    assert.equal(machine.show('tlscached', 'ActiveState'), 'active')
    await soon('the status says that nobody is there', () =>
      /^serves alone/.test(machine.show('tlscached', 'StatusText')),
    )
    assert.match(machine.run('journalctl --unit tlscached --output cat'), /"msg":"listening"/)
    machine.run('tlscached check /etc/tlscached.yaml')
  })

  test('it has no privileges, and its sockets are for its user', () => {
    const status = machine.run(`cat /proc/${pid()}/status`)
    assert.match(status, /^Uid:\t33\t33\t33\t33$/m)
    assert.match(status, /^CapBnd:\t0{16}$/m)
    assert.match(status, /^NoNewPrivs:\t1$/m)
    assert.match(machine.run(`cat /proc/${pid()}/limits`), /^Max core file size +0 +0/m)
    const sockets = machine.run('stat --format="%U %a %n" /run/tlscached/*.sock')
    assert.equal(
      sockets,
      'www-data 600 /run/tlscached/memcached.sock\nwww-data 600 /run/tlscached/rpc.sock\n',
    )
  })

  test('a reload reads keys and peers again, and fails when the configuration is wrong', async () => {
    const readAgain = () =>
      machine
        .run('journalctl --unit tlscached --output cat')
        .match(/"msg":"keys and peers were read again"/g)?.length ?? 0
    machine.run('systemctl reload tlscached')
    await soon('keys and peers were read', () => readAgain() === 1)
    const before = pid()
    machine.run('sed -i s/items:/itemz:/ /etc/tlscached.yaml')
    assert.notEqual(machine.try('systemctl reload tlscached').code, 0)
    assert.equal(machine.show('tlscached', 'ActiveState'), 'active')
    assert.equal(pid(), before)
    assert.match(
      machine.run('journalctl --unit tlscached --output cat'),
      /caches\[0\]\.itemz: unknown key/,
    )
    // A start with it is not tried again.
    assert.notEqual(machine.try('systemctl restart tlscached').code, 0)
    assert.equal(machine.show('tlscached', 'ActiveState'), 'failed')
    write('/etc/tlscached.yaml', CONFIG)
    machine.run('systemctl start tlscached')
  })

  test('nginx gets the ticket keys, is reloaded for new ones, and not for a restart of the node', async () => {
    machine.run(`
      openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=www.example \\
        -keyout /etc/tlscached/key.pem -out /etc/tlscached/cert.pem 2>/dev/null
      systemctl enable --now nginx`)
    machine.run(INSTALL_TICKETS)
    assert.equal(machine.run('stat --format=%U:%a /run/nginx-tickets'), 'root:700\n')
    await soon('nginx mints under a key of the node', () =>
      keysOfNode().includes(keyOfNginx() ?? 'none'),
    )
    const first = keyOfNginx()
    machine.run('tlscached tickets rotate www --now')
    await soon('nginx mints under the new key', () => keyOfNginx() !== first)
    const reloads = reloadsOfNginx()
    const keys = keysOfNode()
    machine.run('systemctl restart tlscached')
    assert.ok(keysOfNode().some((name) => keys.includes(name)))
    machine.run(`systemctl start ${TICKETS}`)
    assert.ok(Number(reloadsOfNginx()) <= Number(reloads) + 1, 'at most for a rotation meanwhile')
  })

  test('a hung event loop is killed and counted, and the next process has the keys', async () => {
    write(
      '/etc/systemd/system/tlscached.service.d/hang.conf',
      `[Service]\nEnvironment="${HANG}"\nWatchdogSec=6`,
    )
    machine.run('systemctl daemon-reload; systemctl restart tlscached')
    const before = keysOfNode()
    assert.equal(metric('tlscached_watchdog_kills_total'), '0')
    machine.run(`kill -USR2 ${pid()}`)
    await soon('systemd starts it again', () => restarts() === 1 && answers())
    assert.equal(metric('tlscached_watchdog_kills_total'), '1')
    assert.ok(keysOfNode().some((name) => before.includes(name)))
  })

  test('a process that is stopped is killed by systemd, which its own watchdog would not do', async () => {
    machine.run(`kill -STOP ${pid()}`)
    await soon('systemd starts it again', () => restarts() === 2 && answers())
    assert.match(
      machine.run('journalctl --unit tlscached --output cat'),
      /Failed with result 'watchdog'/,
    )
    assert.equal(metric('tlscached_watchdog_kills_total'), '1')
  })

  test('a check of nginx that fails is repeated, and so is what was given away', async () => {
    write('/etc/nginx/conf.d/wrong.conf', 'nonsense;')
    machine.run('tlscached tickets rotate www --now')
    const failed = () => Number(machine.show(TICKETS, 'NRestarts')) > 0
    await soon('the unit is started again', failed)
    assert.notEqual(keyOfNginx(), undefined)
    machine.run('rm /etc/nginx/conf.d/wrong.conf')
    await soon('nginx has the keys', () => {
      return (
        machine.show(TICKETS, 'ActiveState') === 'inactive' &&
        machine.show(TICKETS, 'Result') === 'success'
      )
    })
    machine.run(`chown www-data /run/nginx-tickets/*; systemctl start ${TICKETS}`)
    // A run for a rotation may have looked at the files before.
    await soon('nginx has its files again', () => {
      machine.run(`systemctl start ${TICKETS}`)
      return machine.run('stat --format=%U /run/nginx-tickets/tickets.conf') === 'root\n'
    })
  })

  test('beside Caddy, which makes locks beside its keys, the node runs as the user of Caddy', async () => {
    const example = read('../../deploy/terminators/tickets/caddy/tlscached.yaml')
    const tickets = adapt(example, [
      ['      owner: caddy\n', ''],
      ['127.0.0.1:443', '127.0.0.1:8443'],
    ])
    const rpc = 'frontends: { rpc: unix:/run/tlscached/rpc.sock }'
    write('/etc/tlscached.yaml', `${rpc}\n${tickets}`)
    const caddy = read('../../deploy/terminators/tickets/caddy/caddy.json')
    write('/etc/caddy/caddy.json', adapt(caddy, [['0.0.0.0:443', '0.0.0.0:8443']]))
    write('/etc/systemd/system/tlscached.service.d/user.conf', '[Service]\nUser=caddy')
    const run = 'ExecStart=\nExecStart=/usr/bin/caddy run --config /etc/caddy/caddy.json'
    write('/etc/systemd/system/caddy.service.d/json.conf', `[Service]\n${run}`)
    machine.run(`
      chown caddy /etc/tlscached/*.pem
      systemctl daemon-reload; systemctl restart tlscached; systemctl start caddy`)
    await soon('Caddy mints under the key of the node', () =>
      /"current":true/.test(machine.run('tlscached tickets --json')),
    )
    machine.run(`
      systemctl stop caddy tlscached; rm /etc/systemd/system/tlscached.service.d/user.conf
      systemctl daemon-reload; systemctl start tlscached`)
    assert.equal(machine.run('stat --format=%U /run/tlscached'), 'www-data\n')
    write('/etc/tlscached.yaml', CONFIG)
  })

  test('a second unit has its own folder, keys and sockets; both share sessions over a group', async () => {
    const multicast = (text: string) =>
      adapt(text, [
        ['listen: 10.0.0.1:7171', 'listen: 225.1.1.1:7171'],
        ['  peers: [10.0.0.2:7171]\n', ''],
      ])
    const two = (text: string) => text.replaceAll(/tlscached(?=[./]|$)/gm, 'tlscached-two')
    write('/etc/tlscached.yaml', multicast(CONFIG))
    write(
      '/etc/tlscached-two.yaml',
      two(multicast(CONFIG)).replace('edge-1', 'edge-2').replace(':5080', ':5081'),
    )
    machine.run(`
      sed -e 's#/etc/tlscached.yaml#/etc/tlscached-two.yaml#' -e 's/^RuntimeDirectory=.*/RuntimeDirectory=tlscached-two/' \\
        /etc/systemd/system/tlscached.service >/etc/systemd/system/tlscached-two.service
      systemctl daemon-reload
      systemctl restart tlscached; systemctl start tlscached-two
      echo 'a session' | tlscached put --context shop.example c0ffee`)
    await soon('the session is there', () => {
      const got = machine.try('tlscached get --http 127.0.0.1:5081 --context shop.example c0ffee')
      return got.stdout === 'a session\n'
    })
    machine.run('systemctl stop tlscached-two')
    assert.equal(machine.run('ls /run/tlscached/*.sock | wc -l'), '2\n')
    write('/etc/tlscached.yaml', CONFIG)
  })

  test('a stop is quick, removes sockets and leaves the ticket keys', () => {
    const start = performance.now()
    machine.run('systemctl stop tlscached')
    assert.ok(performance.now() - start < 5000)
    assert.equal(machine.show('tlscached', 'Result'), 'success')
    assert.equal(machine.show('tlscached', 'TimeoutStopUSec'), '20s')
    assert.match(machine.run('ls -A /run/tlscached').trim(), /^tickets\s+watchdog-kills$/)
    assert.match(machine.run('ls -A /run/tlscached/tickets/www'), /\.key\n.*tickets\.conf/s)
  })

  test('at the start of the machine nginx starts after the first keys, which it reads', async () => {
    await machine.cutPower()
    await machine.boot()
    const startOf = (unit: string) => Number(machine.show(unit, 'ExecMainStartTimestampMonotonic'))
    const readyUs = Number(machine.show('tlscached', 'ActiveEnterTimestampMonotonic'))
    await soon('nginx runs', () => machine.show('nginx', 'ActiveState') === 'active')
    assert.ok(readyUs > 0 && readyUs <= startOf(TICKETS))
    assert.ok(startOf(TICKETS) <= startOf('nginx'))
    assert.equal(reloadsOfNginx(), '0')
    assert.equal(keyOfNginx(), keyInFiles())
  })

  test('keys or address that are not there yet keep nginx from nothing, and are waited for', async () => {
    machine.run('systemctl stop nginx tlscached; rm -r /run/nginx-tickets /run/tlscached')
    machine.run('mv /etc/tlscached/keys /etc/tlscached/later; ip address del 10.0.0.1/24 dev eth0')
    machine.try('systemctl start tlscached nginx')
    assert.equal(machine.show('nginx', 'ActiveState'), 'active')
    machine.run('mv /etc/tlscached/later /etc/tlscached/keys')
    await soon('the address is missed', () =>
      /cannot listen on 10\.0\.0\.1:7171/.test(machine.run('journalctl --boot --unit tlscached')),
    )
    machine.run('ip address add 10.0.0.1/24 dev eth0')
    await soon('nginx mints under a key of the node', () => {
      return answers() && keysOfNode().includes(keyOfNginx() ?? 'none')
    })
  })
})

function read(path: string): string {
  return readFileSync(new URL(path, import.meta.url), 'utf8')
}
