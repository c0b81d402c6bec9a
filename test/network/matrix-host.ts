// One host of the network matrix: a node in this process that puts and reads by a schedule all hosts know,
// and answers questions, one JSON document a line each way.

import { hash } from 'node:crypto'
import { silentLogger } from '../../src/base/world.ts'
import { createNode } from '../../src/node/node.ts'
import { seededBytes, seededNumbers } from '../support/seeded-random.ts'
import { answerCommands } from './host-process.ts'
import { impairSockets } from './impairment.ts'
import {
  type Command,
  type HostSetup,
  type HostStatus,
  type Load,
  type LoadResult,
  monotonicMs,
} from './matrix-commands.ts'

const CONTEXT = Buffer.from('matrix')
/** A session that is not there this long after it should is not waited for. */
const LOOK_MS = 1000
/** A turn that takes longer is the machine's doing: it has more to do than this test. */
const STALL_MS = 15

async function runHost(setup: HostSetup): Promise<void> {
  const { number, addresses, keys } = setup
  const impair = impairSockets(seededNumbers(`host ${number}`))
  const node = createNode(
    {
      node: { name: `host-${number}` },
      caches: [{ name: 'ssl', items: 500_000, timeout: '1h' }],
      replication: { listen: addresses[number] ?? '', peers: [...addresses], keys: [...keys] },
    },
    { logger: silentLogger },
  )
  const hooks = node.hooks('ssl')
  const randomBytes = seededBytes(`sessions of ${number}`)
  const idOf = (row: string, session: number) => hash('sha256', `${row} ${session}`, 'buffer')
  const isHere = (row: string, session: number) =>
    hooks.get(CONTEXT, idOf(row, session)) !== undefined

  /** Puts and reads what is due every millisecond, until the last read was answered or given up. */
  function runLoad(load: Load): Promise<LoadResult> {
    const { row, sessions, everyMs, startMs, waitMs } = load
    const putMs: [number, number][] = []
    const missMs = new Map<number, number>()
    const stallsMs: [number, number][] = []
    let lastTickMs = monotonicMs()
    let looking: number[] = []
    let nextPut = number
    let nextRead = 0
    const isReader = (session: number) => {
      const others = addresses.length - 1
      const step = 1 + ((idOf(row, session)[0] ?? 0) % others)
      return (session + step) % addresses.length === number
    }
    return new Promise((resolve) => {
      const tick = () => {
        const nowMs = monotonicMs()
        if (nowMs - lastTickMs > STALL_MS) stallsMs.push([lastTickMs, nowMs])
        lastTickMs = nowMs
        for (; nextPut < sessions; nextPut += addresses.length) {
          if (startMs + nextPut * everyMs > nowMs) break
          hooks.put({
            context: CONTEXT,
            id: idOf(row, nextPut),
            session: randomBytes(load.sessionBytes),
            ttlMs: 3_600_000,
          })
          putMs.push([nextPut, monotonicMs()])
        }
        for (; nextRead < sessions; nextRead += 1) {
          if (startMs + nextRead * everyMs + waitMs > nowMs) break
          if (isReader(nextRead)) looking.push(nextRead)
        }
        looking = looking.filter((session) => {
          if (isHere(row, session)) return false
          missMs.set(session, nowMs)
          return nowMs < startMs + session * everyMs + waitMs + LOOK_MS
        })
        const isOver = nextPut >= sessions && nextRead >= sessions && looking.length === 0
        // Behind the I/O of the turn, as a read that comes over a socket would be.
        if (!isOver) setTimeout(() => setImmediate(tick), 1)
        else resolve({ putMs, missMs: [...missMs], stallsMs })
      }
      tick()
    })
  }

  function status(): HostStatus {
    const stats = node.replicationStats()
    return {
      verifiedPeers: node.peers().filter((peer) => peer.isVerified).length,
      repaired: stats?.repaired ?? 0,
      lost: stats?.lost ?? 0,
      datagramsSent: stats?.datagramsSent ?? 0,
    }
  }

  function obey(command: Command): unknown {
    switch (command.do) {
      case 'impair':
        return impair(command.impairment)
      case 'load':
        return runLoad(command.load)
      case 'missing': {
        const { row, sessions } = command.load
        const all = Array.from({ length: sessions }, (_, session) => session)
        return { missing: all.filter((session) => !isHere(row, session)).length }
      }
      case 'status':
        return status()
    }
  }

  await node.start()
  await answerCommands(obey)
  await node.stop()
}

const [, , setup = ''] = process.argv
await runHost(JSON.parse(setup))
