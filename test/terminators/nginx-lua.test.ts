// The script of nginx's example before a node that hangs, without TLS: how long each of its lookups blocks the worker.

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createConnection, type Socket } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ask } from '../support/http.ts'
import { until } from '../support/latch.ts'
import { stopProcess } from '../support/node-processes.ts'
import { whyWithout, whyWithoutFile } from '../support/programs.ts'
import { LUA_MODULE, MODULES, PROGRAM } from './nginx.ts'

const SCRIPTS = fileURLToPath(new URL('../../deploy/terminators/nginx/', import.meta.url))
const LOOKUPS = 12
/** `most_late` of the script. */
const MOST_LATE = 3
/** A little less than its `timeout_ms`, which the kernel counts in ticks. */
const LATE_MS = 40
/** Listens, and then does nothing for ever. */
const HANGING = `
  const { createServer } = require('node:net')
  createServer().listen({ path: process.argv[1], backlog: 1 }, () => {
    require('node:fs').writeSync(1, 'listening')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  })`

const skip = whyWithout(PROGRAM, '-v') || whyWithoutFile(LUA_MODULE)
const folder = mkdtempSync(join(tmpdir(), 'tlscached-nginx-lua-'))
const nodeSocket = join(folder, 'node.sock')
const http = { path: join(folder, 'http.sock') }
const waiting: Socket[] = []
let hanging: ChildProcess | undefined
let nginx: ChildProcess | undefined

before(async () => {
  if (skip !== false) return
  hanging = spawn(process.execPath, ['-e', HANGING, nodeSocket], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  assert.ok(hanging.stdout)
  await once(hanging.stdout, 'data')
  await fillBacklog()
  const file = join(folder, 'nginx.conf')
  writeFileSync(file, configuration())
  nginx = spawn(PROGRAM, ['-p', folder, '-c', file], { stdio: 'inherit' })
  await until('nginx listens', () => existsSync(http.path))
})

after(async () => {
  for (const socket of waiting) socket.destroy()
  hanging?.kill('SIGKILL')
  if (nginx !== undefined) await stopProcess(nginx)
  rmSync(folder, { recursive: true })
})

test('a node whose backlog is full blocks no more lookups than one that does not answer', {
  skip,
}, async () => {
  const { status, body } = await ask(http, { path: '/' })
  assert.equal(status, 200)
  const tookMs: number[] = JSON.parse(body.toString())
  assert.equal(tookMs.length, LOOKUPS)
  const late = tookMs.filter((ms) => ms >= LATE_MS)
  const said = `${tookMs.join(', ')} ms`
  assert.ok(
    tookMs.slice(0, MOST_LATE).every((ms) => ms >= LATE_MS),
    said,
  )
  // Every one of them would be; a busy machine may hold up one or the other besides.
  assert.ok(late.length <= LOOKUPS / 2, said)
})

/** Connections that nobody accepts, until the kernel takes no more. */
async function fillBacklog(): Promise<void> {
  for (;;) {
    const socket = createConnection(nodeSocket)
    waiting.push(socket)
    try {
      await once(socket, 'connect')
    } catch (error) {
      assert.match(String(error), /EAGAIN/)
      return
    }
  }
}

function configuration(): string {
  return `
    load_module ${MODULES}/ndk_http_module.so;
    load_module ${LUA_MODULE};
    daemon off;
    worker_processes 1;
    user ${userInfo().username};
    pid ${join(folder, 'pid')};
    error_log ${join(folder, 'error.log')} warn;
    events {}
    http {
      access_log off;
      lua_package_path "${SCRIPTS}?.lua;;";
      init_by_lua_block {
        package.loaded["ngx.ssl.session"] = { get_session_id = function() return "00" end }
        require("tlscached").setup { socket = "${nodeSocket}" }
      }
      server {
        listen unix:${http.path};
        location / {
          content_by_lua_block {
            local took = {}
            for index = 1, ${LOOKUPS} do
              ngx.update_time()
              local began = ngx.now()
              require("tlscached").fetch()
              ngx.update_time()
              took[index] = math.floor((ngx.now() - began) * 1000 + 0.5)
            end
            ngx.say("[" .. table.concat(took, ",") .. "]")
          }
        }
      }
    }`
}
