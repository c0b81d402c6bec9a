// Starts, connects and ends the processes that are the nodes of the demo.

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { type HostAddress, parseHostAddress } from '../base/address.ts'
import { systemRandom } from '../base/world.ts'
import { generateKey } from '../wire/keyring.ts'
import { type FromNode, fromNodeSchema, type ToNode } from './demo-messages.ts'
import { askPeers } from './stats.ts'

/** Time between two requests for the peers of a node, while the nodes find each other. */
const LOOK_PERIOD_MS = 20

export interface DemoNodeHandle {
  readonly name: string
  readonly http: HostAddress
  readonly tls: HostAddress
}

interface RunningNode extends DemoNodeHandle {
  readonly child: ChildProcess
  readonly replication: string
}

export class DemoCluster {
  readonly #children: ChildProcess[] = []
  readonly #signal: AbortSignal

  /** When `signal` is aborted, everything that waits rejects; `stop` must be called all the same. */
  constructor(signal: AbortSignal) {
    this.#signal = signal
  }

  /** Starts the nodes with a fresh key and resolves when each has heard every other one. */
  async start(count: number, items: number): Promise<readonly DemoNodeHandle[]> {
    const key = generateKey(systemRandom)
    const names = Array.from({ length: count }, (_, index) => `demo-${index + 1}`)
    const nodes = await Promise.all(names.map((name) => this.#startNode(name, key, items)))
    await Promise.all(
      nodes.map(async ({ child, replication }) => {
        const peers = nodes.map((node) => node.replication).filter((one) => one !== replication)
        await this.#ask(child, { kind: 'peers', peers })
      }),
    )
    for (const node of nodes) await this.#untilVerified(node, count - 1)
    return nodes
  }

  async stop(): Promise<void> {
    const running = this.#children.filter((child) => child.exitCode === null && !child.killed)
    const gone = running.map((child) => once(child, 'exit'))
    for (const child of running) child.kill('SIGKILL')
    await Promise.all(gone)
  }

  async #startNode(name: string, key: string, items: number): Promise<RunningNode> {
    const program = process.argv[1] ?? ''
    const child = fork(program, ['demo-node'], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    this.#children.push(child)
    const answer = await this.#ask(child, { kind: 'start', name, key, items })
    if (answer.kind !== 'started') throw new Error(`${name} did not start`)
    return {
      name,
      child,
      replication: answer.replication,
      http: parseHostAddress(answer.http),
      tls: parseHostAddress(answer.tls),
    }
  }

  #ask(child: ChildProcess, message: ToNode): Promise<FromNode> {
    return new Promise((resolve, reject) => {
      const settle = (settling: () => void) => {
        child.off('message', onMessage)
        child.off('exit', onExit)
        this.#signal.removeEventListener('abort', onAbort)
        settling()
      }
      const onExit = () => settle(() => reject(new Error('a node of the demo ended')))
      const onAbort = () => settle(() => reject(this.#signal.reason))
      const onMessage = (received: unknown) => {
        const answer = fromNodeSchema.parse(received)
        if (answer.kind === 'failed') settle(() => reject(new Error(answer.message)))
        else settle(() => resolve(answer))
      }
      child.on('message', onMessage)
      child.on('exit', onExit)
      this.#signal.addEventListener('abort', onAbort)
      this.#signal.throwIfAborted()
      child.send(message)
    })
  }

  async #untilVerified(node: DemoNodeHandle, count: number): Promise<void> {
    for (;;) {
      const { peers } = await askPeers(node.http)
      if (peers.filter((peer) => peer.verified && peer.up).length === count) return
      await delay(LOOK_PERIOD_MS, undefined, { signal: this.#signal })
    }
  }
}
