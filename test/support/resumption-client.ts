// A program for end-to-end tests, to be run on the host whose network it shall use: makes TLS 1.2 sessions
// at the first address and offers each of them at every one. Its one argument is a ResumptionTask as JSON;
// it prints a ResumptionResult.

import { type HostAddress, parseHostAddress } from '../../src/base/address.ts'
import { until } from './latch.ts'
import { StreamClient } from './stream-client.ts'
import { handshake } from './tls-client.ts'

export interface ResumptionTask {
  /** Addresses of the terminators. */
  readonly tls: readonly string[]
  /** Addresses of the stats frontends of their nodes, in the same order. */
  readonly stats: readonly string[]
  readonly sessions: number
  /** Number of processes of each terminator. */
  readonly processes: number
}

export interface ResumptionResult {
  /** Per address, how many of the sessions were accepted, and how many were answered by the backend. */
  readonly resumed: readonly number[]
  readonly answered: readonly number[]
  /** Sessions that the caches hold. */
  readonly items: readonly number[]
}

/** What the backend sends back. */
const REQUEST = 'ping\n'
const AT_ONCE = 4
/** A dozen processes start together, on whatever machine this is. */
const START_MS = 60_000

async function run({ tls, stats, sessions, processes }: ResumptionTask): Promise<ResumptionResult> {
  const terminators = tls.map(parseHostAddress)
  const nodes = stats.map(parseHostAddress)
  const [first] = terminators
  if (first === undefined) throw new Error('no address')
  // A process finds its node with its first handshake, which is a full one.
  await until(
    'every process resumes',
    async () => {
      const session = await makeSession(first)
      await until('the session is everywhere', () => isEverywhere(nodes, 1))
      const offers = terminators.flatMap((address) =>
        Array.from({ length: 2 * processes }, () => address),
      )
      const results = await inTurn(offers, (address) => connect(address, session))
      return results.every(({ isReused }) => isReused)
    },
    START_MS,
  )
  const made = await inTurn(Array.from({ length: sessions }), () => makeSession(first))
  await until('every session is everywhere', () => isEverywhere(nodes, sessions))
  const resumed: number[] = []
  const answered: number[] = []
  for (const address of terminators) {
    const results = await inTurn(made, (session) => connect(address, session, REQUEST))
    resumed.push(results.filter(({ isReused }) => isReused).length)
    answered.push(results.filter(({ received }) => received === REQUEST).length)
  }
  return { resumed, answered, items: await Promise.all(nodes.map(itemsOf)) }
}

async function makeSession(address: HostAddress): Promise<Buffer> {
  const { isReused, session } = await connect(address)
  if (isReused || session === undefined) throw new Error('no new session')
  return session
}

function connect({ host, port }: HostAddress, session?: Buffer, request?: string) {
  const offered = session === undefined ? {} : { session }
  const asked = request === undefined ? {} : { request }
  return handshake(port, { host, rejectUnauthorized: false, ...offered, ...asked })
}

async function isEverywhere(nodes: readonly HostAddress[], least: number): Promise<boolean> {
  const [first = 0, ...others] = await Promise.all(nodes.map(itemsOf))
  return first >= least && others.every((items) => items === first)
}

async function itemsOf(node: HostAddress): Promise<number> {
  const client = await StreamClient.connect(node)
  client.socket.end()
  await client.closed
  const { caches }: { caches: readonly { items: number }[] } = JSON.parse(client.received)
  return caches[0]?.items ?? 0
}

/** Some at once, all in the end. */
async function inTurn<Item, Result>(
  items: readonly Item[],
  act: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = []
  const queue = [...items.entries()]
  const work = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      results[next[0]] = await act(next[1])
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  return results
}

const result = await run(JSON.parse(process.argv[2] ?? ''))
process.stdout.write(`${JSON.stringify(result)}\n`)
