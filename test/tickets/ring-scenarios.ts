// The clusters that are simulated, and what a simulation finds.

/** A mistake in the rule that the simulation has to find. */
export type Fault = 'absolute times' | 'newest at once' | 'no memory' | 'no hash' | 'no doubt'

export interface Scenario {
  readonly name: string
  readonly nodes: number
  readonly rotateSec: number
  readonly waitSec: number
  readonly lifetimeSec: number
  /** Share of greetings and calls that are lost. */
  readonly loss: number
  /** Longest time between a change of a node's ring and the moment when its terminator has it. */
  readonly terminatorSec: number
  /** Each ticket opens on every node that was connected to its maker for so long. */
  readonly connectedSec: number
  /** Mean time between two of each, over the whole cluster; absent: none. */
  readonly partitionSec?: number
  readonly restartSec?: number
  readonly pauseSec?: number
  readonly clockJumpSec?: number
  /** All nodes start in one instant; otherwise within five minutes. */
  readonly startsTogether?: boolean
}

export interface Findings {
  /** Pairs of a ticket within its lifetime and a node on which it had to open. */
  checks: number
  notOpened: number
  /** Samples of a key that a node held although it was over age, as far as the node can know. */
  overAge: number
  /** The same by the real age. Where machines sleep, nobody may know it. */
  reallyOverAge: number
  /** Samples of a running terminator without a key to mint with. */
  withoutKey: number
  keysMade: number
}

export function noFindings(): Findings {
  const ages = { overAge: 0, reallyOverAge: 0 }
  return { checks: 0, notOpened: 0, ...ages, withoutKey: 0, keysMade: 0 }
}

const hourly = { rotateSec: 3600, waitSec: 3600, lifetimeSec: 3600 }
const everything = { partitionSec: 20_000, restartSec: 3000, clockJumpSec: 5000 }

/** Clusters in which nothing may be lost. */
export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'two nodes',
    nodes: 2,
    ...hourly,
    loss: 0.2,
    terminatorSec: 5,
    connectedSec: 120,
    ...everything,
  },
  {
    name: 'eight nodes',
    nodes: 8,
    ...hourly,
    loss: 0.2,
    terminatorSec: 5,
    connectedSec: 120,
    ...everything,
  },
  {
    name: 'sixteen nodes at once, 60 % loss',
    nodes: 16,
    ...hourly,
    loss: 0.6,
    terminatorSec: 5,
    connectedSec: 120,
    startsTogether: true,
    ...everything,
  },
  {
    name: 'terminators that poll every minute',
    nodes: 5,
    ...hourly,
    loss: 0.3,
    terminatorSec: 64,
    connectedSec: 180,
    ...everything,
  },
  {
    name: 'a short wait',
    nodes: 6,
    rotateSec: 3600,
    waitSec: 300,
    lifetimeSec: 3600,
    loss: 0.3,
    terminatorSec: 5,
    connectedSec: 120,
    ...everything,
  },
  {
    name: 'keys every two minutes',
    nodes: 4,
    rotateSec: 120,
    waitSec: 60,
    lifetimeSec: 100,
    loss: 0.3,
    terminatorSec: 2,
    connectedSec: 40,
    partitionSec: 2000,
    restartSec: 400,
    clockJumpSec: 500,
  },
]

/**
 * A cluster whose machines are suspended for up to two hours, besides everything else: each of them sleeps for a tenth of
 * the time. A ticket may be lost that a terminator beside a node makes in the seconds between the end of a pause and the
 * moment when the node has heard that its key is retired.
 */
export const PAUSES: Scenario = {
  name: 'paused machines',
  nodes: 6,
  ...hourly,
  loss: 0.2,
  terminatorSec: 5,
  connectedSec: 120,
  pauseSec: 4000,
  ...everything,
}
