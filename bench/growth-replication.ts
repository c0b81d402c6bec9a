// What a put costs as the cluster grows: datagrams of the node that takes it, and processor time there and
// on one of the others.

import { setTimeout as delay } from 'node:timers/promises'
import { type ClusterNode, untilMet, withCluster } from './cluster.ts'
import { GENERATOR_CPU, SERVER_CPU } from './pinned.ts'

/** So few that sixteen nodes on two processors take them without hurry. */
export const PUTS_PER_SEC = 1000
/** Before anything is measured, at the same rate, as a node that has been running is compiled. */
const WARM_UP_SEC = 5
const SETTLE_MS = 15_000

export interface ReplicationSize {
  readonly nodes: number
  /** One figure a round, as the next three. */
  readonly putsPerSec: readonly number[]
  /** Sent by the node that takes the puts, whatever they were for. */
  readonly datagramsPerPut: readonly number[]
  readonly senderCpuUs: readonly number[]
  readonly receiverCpuUs: readonly number[]
  /** Processor time of an idle receiver, a second. */
  readonly idleCpuUs: number
  readonly puts: number
  /** Of the puts, on all the others together, at the end. */
  readonly missing: number
}

/** The sender has one processor, all the others share the second one. */
export function measureReplication(nodes: number, isQuick: boolean): Promise<ReplicationSize> {
  const rounds = isQuick ? 1 : 5
  const roundSec = isQuick ? 0.5 : 2
  const warmUpSec = isQuick ? 0.5 : WARM_UP_SEC
  const puts = PUTS_PER_SEC * (warmUpSec + rounds * roundSec)
  const cpus = [SERVER_CPU, ...Array.from({ length: nodes - 1 }, () => GENERATOR_CPU)]
  return withCluster({ items: 2 * puts, cpus }, async (all, start) => {
    await Promise.all(all.map((_, number) => start(number)))
    await untilMet(all)
    const [sender, ...receivers] = all
    const [receiver] = receivers
    if (sender === undefined || receiver === undefined) throw new Error('two nodes at least')
    const pair = [sender, receiver] as const
    // As terminators do, whose sessions come one by one.
    const put = (count: number) =>
      sender.order({ kind: 'put', count, perSec: PUTS_PER_SEC, perTurn: 1 })
    await put(PUTS_PER_SEC * warmUpSec)
    const idle = await costOf(pair, () => delay(roundSec * 1000))
    const costs: Cost[] = []
    const putsPerSec: number[] = []
    for (let round = 0; round < rounds; round += 1) {
      const count = PUTS_PER_SEC * roundSec
      costs.push(
        await costOf(pair, async () => {
          const { tookMs } = await put(count)
          putsPerSec.push((count / tookMs) * 1000)
        }),
      )
    }
    const ends = await Promise.all(
      receivers.map((one) => one.order({ kind: 'await', items: puts, timeoutMs: SETTLE_MS })),
    )
    const perPut = (of: (cost: Cost) => number) =>
      costs.map((cost) => of(cost) / (PUTS_PER_SEC * roundSec))
    return {
      nodes,
      putsPerSec,
      datagramsPerPut: perPut(({ datagrams }) => datagrams),
      senderCpuUs: perPut(({ senderCpuUs }) => senderCpuUs),
      receiverCpuUs: perPut(({ receiverCpuUs }) => receiverCpuUs),
      idleCpuUs: idle.receiverCpuUs / roundSec,
      puts,
      missing: ends.reduce((sum, { items }) => sum + puts - items, 0),
    }
  })
}

interface Cost {
  readonly datagrams: number
  readonly senderCpuUs: number
  readonly receiverCpuUs: number
}

async function costOf(
  pair: readonly [ClusterNode, ClusterNode],
  work: () => Promise<unknown>,
): Promise<Cost> {
  const before = await costSoFar(pair)
  await work()
  const after = await costSoFar(pair)
  return {
    datagrams: after.datagrams - before.datagrams,
    senderCpuUs: after.senderCpuUs - before.senderCpuUs,
    receiverCpuUs: after.receiverCpuUs - before.receiverCpuUs,
  }
}

async function costSoFar([sender, receiver]: readonly [ClusterNode, ClusterNode]): Promise<Cost> {
  const sent = await sender.order({ kind: 'report' })
  const { cpuUs } = await receiver.order({ kind: 'report' })
  return { datagrams: sent.datagramsSent, senderCpuUs: sent.cpuUs, receiverCpuUs: cpuUs }
}
