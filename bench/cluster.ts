// Nodes on this machine that replicate with each other, encrypted, over loopback: one process each, ended
// with the benchmark.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { systemRandom } from '../src/base/world.ts'
import { generateKey } from '../src/wire/keyring.ts'
import { freeAddresses } from '../test/support/free-ports.ts'
import type { NodeOrder, NodeReport } from './cluster-node.ts'
import { type Cpu, pinned } from './pinned.ts'

const PROGRAM = fileURLToPath(new URL('./cluster-node.ts', import.meta.url))
const MEET_TIMEOUT_MS = 30_000
const MEET_PERIOD_MS = 100

export interface ClusterOptions {
  /** Of each node's cache. */
  readonly items: number
  /** The processor of each node. */
  readonly cpus: readonly Cpu[]
  /** Further options of Node. */
  readonly execArgs?: (number: number) => readonly string[]
}

export interface ClusterNode {
  /** Of the process that runs now. */
  readonly pid: number
  readonly order: (what: NodeOrder) => Promise<NodeReport>
  /** Ends the process as a crash would. A fresh one takes its place, which is not started. */
  readonly crash: () => Promise<void>
  /** Ends the process, cleanly. */
  readonly stop: () => Promise<void>
}

/**
 * Runs with as many nodes as `cpus` names processors, none of them started. `start` starts one of them, as
 * a peer of all the others, and resolves when it holds what they held.
 */
export async function withCluster<Result>(
  { items, cpus, execArgs = () => [] }: ClusterOptions,
  run: (
    nodes: readonly ClusterNode[],
    start: (number: number) => Promise<NodeReport>,
  ) => Promise<Result>,
): Promise<Result> {
  const key = generateKey(systemRandom)
  const addresses = await freeAddresses(cpus.length)
  const nodes = cpus.map((cpu, number) => spawnNode(cpu, execArgs(number)))
  const start = async (number: number) => {
    const [node, listen] = [nodes[number], addresses[number]]
    if (node === undefined || listen === undefined) throw new Error(`there is no node ${number}`)
    const peers = addresses.filter((address) => address !== listen)
    const setup = { number, listen, peers, key, items }
    return node.order({ kind: 'start', setup })
  }
  try {
    return await run(nodes, start)
  } finally {
    await Promise.all(nodes.map((node) => node.stop()))
  }
}

/** Resolves when each of the nodes takes the changes of all the others. */
export async function untilMet(nodes: readonly ClusterNode[]): Promise<void> {
  const untilMs = performance.now() + MEET_TIMEOUT_MS
  for (;;) {
    const reports = await Promise.all(nodes.map((node) => node.order({ kind: 'report' })))
    if (reports.every(({ verifiedPeers }) => verifiedPeers === nodes.length - 1)) return
    if (performance.now() > untilMs) throw new Error(`${nodes.length} nodes do not find each other`)
    await delay(MEET_PERIOD_MS)
  }
}

/** A node of a process of its own, on this processor, not started. */
export function spawnNode(cpu: Cpu, execArgs: readonly string[] = []): ClusterNode {
  let { child, exit } = spawnProcess(cpu, execArgs)
  return {
    get pid() {
      if (child.pid === undefined) throw new Error('a node of the benchmark did not start')
      return child.pid
    },
    order: (what) => giveOrder(child, exit, what),
    async crash() {
      child.kill('SIGKILL')
      await exit
      ;({ child, exit } = spawnProcess(cpu, execArgs))
    },
    async stop() {
      if (child.connected) child.disconnect()
      await exit
    },
  }
}

function spawnProcess(cpu: Cpu, execArgs: readonly string[]) {
  const args = [...execArgs, '--import', import.meta.resolve('tsx'), PROGRAM]
  const [command, allArgs] = pinned(cpu, process.execPath, args)
  const child = spawn(command, allArgs, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const exit = new Promise<void>((resolve) => {
    child.once('exit', resolve)
    child.once('error', () => resolve())
  })
  return { child, exit }
}

async function giveOrder(
  child: ChildProcess,
  exit: Promise<void>,
  what: NodeOrder,
): Promise<NodeReport> {
  const answer: Promise<NodeReport[]> = once(child, 'message')
  child.send(what)
  const [report] = await Promise.race([answer, exit.then(() => [])])
  if (report === undefined) throw new Error('a node of the benchmark ended by itself')
  return report
}
