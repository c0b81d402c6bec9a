// Gets over memcached's text protocol against memcached 1.6 with one thread, and against Redis: the same
// load, in turn, each server alone on one processor and the load generator on the other.

import { once } from 'node:events'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import { freePorts } from '../test/support/free-ports.ts'
import { compileLoad } from './load-programs.ts'
import { type NodeOptions, type Server, startNode, startProgram } from './servers.ts'
import type { Row } from './table.ts'
import { type Contestant, versus } from './versus.ts'

const ECHO = fileURLToPath(new URL('./echo-server.ts', import.meta.url))
const HOST = '127.0.0.1'
const KEYS = 10_000
const LIFETIME_SEC = 3600
const MAX_ATTEMPTS = 5
/** Where a goal is judged: one round differs from the next by a tenth. */
const JUDGED_ROUNDS = 9

export interface Load {
  readonly connections: number
  readonly outstanding: number
  readonly valueBytes: number
  /** Of section 8, against memcached. */
  readonly goal?: number
}

const LOADS: readonly Load[] = [
  { connections: 64, outstanding: 1, valueBytes: 130, goal: 0.9 },
  { connections: 64, outstanding: 16, valueBytes: 130, goal: 3 },
  { connections: 1, outstanding: 1, valueBytes: 130 },
  { connections: 16, outstanding: 1, valueBytes: 130 },
  { connections: 64, outstanding: 1, valueBytes: 1000 },
  { connections: 64, outstanding: 16, valueBytes: 1000 },
]

export interface GetReport {
  readonly operations: number
  readonly seconds: number
  readonly cpuSec: number
}

type GetLoad = (args: readonly (string | number)[]) => Promise<GetReport>

export async function benchMemcached(isQuick: boolean): Promise<Row[]> {
  const runLoad = await compileLoad<GetReport>('get-load')
  const [ours = 0, memcached = 0, redis = 0, echo = 0] = await freePorts(4)
  const servers: Server[] = []
  try {
    const node = await startOurs(ours)
    servers.push(node)
    const memcachedArgs = ['-u', 'nobody', '-t', '1', '-l', HOST, '-p', String(memcached)]
    servers.push(await startProgram('memcached', memcached, 'memcached', memcachedArgs))
    const redisArgs = ['--bind', HOST, '--port', String(redis), '--save', '', '--appendonly', 'no']
    servers.push(await startProgram('redis', redis, 'redis-server', redisArgs))
    const [, memcachedServer, redisServer] = servers
    if (memcachedServer === undefined || redisServer === undefined) throw new Error('no reference')
    const seconds = isQuick ? 0.2 : 2
    const rows: Row[] = []
    for (const load of LOADS) {
      const rounds = isQuick ? 1 : load.goal === undefined ? 5 : JUDGED_ROUNDS
      await fillMemcached(ours, load.valueBytes)
      await fillMemcached(memcached, load.valueBytes)
      await fillRedis(redis, load.valueBytes)
      const contestant = (protocol: string, port: number, server: Server) =>
        contestantOf(runLoad, protocol, port, server, load, seconds)
      const what = `get, ${load.connections} connections, ${load.outstanding} outstanding, ${load.valueBytes} B`
      const us = contestant('memcached', ours, node)
      const goal = load.goal === undefined ? {} : { goal: load.goal }
      const them = contestant('memcached', memcached, memcachedServer)
      rows.push(...(await versus(`${what}: memcached -t 1`, us, them, { rounds, ...goal })))
      const redisRun = contestant('redis', redis, redisServer)
      rows.push(...(await versus(`${what}: redis`, us, redisRun, { rounds })))
      if (load.goal === undefined) continue
      // How much of the gap is the runtime's own.
      const args = [
        '--import',
        import.meta.resolve('tsx'),
        ECHO,
        String(echo),
        String(load.valueBytes),
      ]
      const echoServer = await startProgram('echo', echo, process.execPath, args)
      const echoRun = contestant('memcached', echo, echoServer)
      rows.push(...(await versus(`${what}: Node.js without a cache`, us, echoRun, { rounds })))
      await echoServer.stop()
    }
    return rows
  } finally {
    await Promise.all(servers.map((server) => server.stop()))
  }
}

/** A node with room for all keys, that speaks memcached's protocol on this port. */
export function startOurs(port: number, options?: NodeOptions): Promise<Server> {
  const config = {
    node: { name: 'bench' },
    caches: [{ name: 'ssl', items: 2 * KEYS, timeout: `${LIFETIME_SEC}s` }],
    frontends: { memcached: `${HOST}:${port}`, http: `${HOST}:0` },
    log: { level: 'warn' },
  }
  return startNode(port, config, options)
}

/** Arguments of the load generator. */
export function getArgs(
  protocol: string,
  port: number,
  { connections, outstanding, valueBytes }: Load,
  seconds: number,
): (string | number)[] {
  return [protocol, HOST, port, connections, outstanding, seconds, KEYS, valueBytes]
}

function contestantOf(
  runLoad: GetLoad,
  protocol: string,
  port: number,
  server: Server,
  load: Load,
  seconds: number,
): Contestant {
  const args = getArgs(protocol, port, load, seconds)
  return async () => {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
      const cpuBefore = server.cpuSec()
      const report = await runLoad(args)
      // On a machine busy with others a short round may end before its first answer: that says nothing.
      if (report.operations === 0) continue
      return {
        perSec: report.operations / report.seconds,
        cpuUs: ((server.cpuSec() - cpuBefore) / report.operations) * 1e6,
        generatorShare: report.cpuSec / report.seconds,
      }
    }
    throw new Error(`${server.name} answers nothing`)
  }
}

function keyOf(number: number): string {
  return `key:${String(number).padStart(8, '0')}`
}

/** Stores every key. */
export function fillMemcached(port: number, valueBytes: number): Promise<void> {
  const value = 'x'.repeat(valueBytes)
  const command = (key: string) => `set ${key} 0 ${LIFETIME_SEC} ${valueBytes}\r\n${value}\r\n`
  return fill(port, command, 'STORED\r\n')
}

function fillRedis(port: number, valueBytes: number): Promise<void> {
  const value = 'x'.repeat(valueBytes)
  return fill(port, (key) => `SET ${key} ${value}\r\n`, '+OK\r\n')
}

/** Stores every key; each answer is `reply`. */
async function fill(port: number, command: (key: string) => string, reply: string): Promise<void> {
  const socket = connect(port, HOST)
  const wantedBytes = KEYS * reply.length
  let gotBytes = 0
  const isFilled = new Promise<void>((resolve, reject) => {
    socket.on('error', reject)
    socket.on('data', (chunk: Buffer) => {
      gotBytes += chunk.length
      if (!reply.includes(chunk.toString('latin1', 0, 1)) && gotBytes === chunk.length)
        reject(new Error(`unexpected answer on port ${port}`))
      if (gotBytes >= wantedBytes) resolve()
    })
  })
  await once(socket, 'connect')
  for (let number = 0; number < KEYS; number += 1) socket.write(command(keyOf(number)))
  await isFilled
  socket.destroy()
}
