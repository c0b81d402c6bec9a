// Gets and sets over memcached's text protocol against memcached 1.6 with one thread, and against Redis: the
// same load, in turn, each server alone on one processor and the load generator on the other.

import { once } from 'node:events'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import { freePorts } from '../test/support/free-ports.ts'
import { compileLoad } from './load-programs.ts'
import {
  type NodeOptions,
  type Server,
  startNode,
  startProgram,
  WITH_TYPESCRIPT,
} from './servers.ts'
import type { Row } from './table.ts'
import { allInTurn, type Contestant } from './versus.ts'

const ECHO = fileURLToPath(new URL('./echo-server.ts', import.meta.url))
export const LOAD_PROGRAM = 'get-set-load'
const HOST = '127.0.0.1'
const KEYS = 10_000
const LIFETIME_SEC = 3600
const MAX_ATTEMPTS = 5
/** Where a goal is judged: one round differs from the next by a tenth. */
const JUDGED_ROUNDS = 9

type Operation = 'get' | 'set'

export interface Load {
  readonly operation: Operation
  readonly connections: number
  readonly outstanding: number
  readonly valueBytes: number
}

const OPERATIONS: readonly Operation[] = ['get', 'set']
const CONNECTIONS = [64, 16, 1]
const OUTSTANDING = [1, 16]
const VALUE_BYTES = [130, 1000]
/** Of section 8, against memcached: gets of sessions, by how many each of 64 connections has outstanding. */
const GOALS = new Map([
  [1, 0.9],
  [16, 3],
])

export interface LoadReport {
  readonly operations: number
  readonly seconds: number
  readonly cpuSec: number
}

type RunLoad = (args: readonly (string | number)[]) => Promise<LoadReport>

interface Entrant extends Server {
  readonly port: number
  readonly protocol: 'memcached' | 'redis'
}

export async function benchMemcached(isQuick: boolean): Promise<Row[]> {
  const runLoad = await compileLoad<LoadReport>(LOAD_PROGRAM)
  const entrants: Entrant[] = []
  try {
    for (const start of [startTlscached, startMemcached, startRedis]) entrants.push(await start())
    const rows: Row[] = []
    for (const valueBytes of VALUE_BYTES) {
      for (const one of entrants) await FILLS[one.protocol](one.port, valueBytes)
      for (const load of loadsWith(valueBytes)) {
        rows.push(...(await inTurn(runLoad, load, entrants, isQuick)))
      }
    }
    return rows
  } finally {
    await Promise.all(entrants.map((one) => one.stop()))
  }
}

function loadsWith(valueBytes: number): Load[] {
  return OPERATIONS.flatMap((operation) =>
    CONNECTIONS.flatMap((connections) =>
      OUTSTANDING.map((outstanding) => ({ operation, connections, outstanding, valueBytes })),
    ),
  )
}

async function inTurn(
  runLoad: RunLoad,
  load: Load,
  entrants: readonly Entrant[],
  isQuick: boolean,
): Promise<Row[]> {
  const { operation, connections, outstanding, valueBytes } = load
  const many = connections === 1 ? 'connection' : 'connections'
  const what = `${operation}, ${connections} ${many}, ${outstanding} outstanding, ${valueBytes} B`
  const goal = goalOf(load)
  const comparesCpu = false
  const rivalsOf = (all: readonly Entrant[], seconds: number) =>
    all.map((one) => ({ name: one.name, run: contestantOf(runLoad, one, load, seconds) }))
  if (goal === undefined) {
    const rivals = rivalsOf(entrants, isQuick ? 0.1 : 1)
    return allInTurn(what, rivals, { rounds: isQuick ? 1 : 5, comparesCpu })
  }
  // How much of the gap is the runtime's own.
  const echo = await startEcho(valueBytes)
  try {
    const rivals = rivalsOf([...entrants, echo], isQuick ? 0.1 : 2)
    return await allInTurn(what, rivals, { rounds: isQuick ? 1 : JUDGED_ROUNDS, goal, comparesCpu })
  } finally {
    await echo.stop()
  }
}

function goalOf({ operation, connections, outstanding, valueBytes }: Load): number | undefined {
  const isJudged = operation === 'get' && connections === 64 && valueBytes === 130
  return isJudged ? GOALS.get(outstanding) : undefined
}

async function startTlscached(): Promise<Entrant> {
  const [port = 0] = await freePorts(1)
  return entrantOf('tlscached', 'memcached', port, await startOurs(port))
}

async function startMemcached(): Promise<Entrant> {
  const [port = 0] = await freePorts(1)
  const args = ['-u', 'nobody', '-t', '1', '-l', HOST, '-p', String(port)]
  const server = await startProgram('memcached', port, 'memcached', args)
  return entrantOf('memcached -t 1', 'memcached', port, server)
}

async function startRedis(): Promise<Entrant> {
  const [port = 0] = await freePorts(1)
  const args = ['--bind', HOST, '--port', String(port), '--save', '', '--appendonly', 'no']
  return entrantOf('redis', 'redis', port, await startProgram('redis', port, 'redis-server', args))
}

async function startEcho(valueBytes: number): Promise<Entrant> {
  const [port = 0] = await freePorts(1)
  const args = [...WITH_TYPESCRIPT, ECHO, String(port), String(valueBytes)]
  const server = await startProgram('echo', port, process.execPath, args)
  return entrantOf('Node.js without a cache', 'memcached', port, server)
}

function entrantOf(
  name: string,
  protocol: Entrant['protocol'],
  port: number,
  server: Server,
): Entrant {
  return { ...server, name, protocol, port }
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
export function loadArgs(
  protocol: string,
  port: number,
  { operation, connections, outstanding, valueBytes }: Load,
  seconds: number,
): (string | number)[] {
  const load = [connections, outstanding, seconds, KEYS, valueBytes]
  return [protocol, operation, HOST, port, ...load]
}

function contestantOf(runLoad: RunLoad, server: Entrant, load: Load, seconds: number): Contestant {
  const args = loadArgs(server.protocol, server.port, load, seconds)
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

const FILLS = { memcached: fillMemcached, redis: fillRedis }

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
