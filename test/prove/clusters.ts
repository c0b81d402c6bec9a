// Real servers behind prove's back: pairs of terminators with their nodes, or with ticket keys, with a fault in one or
// both of them.

import { randomBytes } from 'node:crypto'
import { chmodSync, cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createNode } from '../../src/node/node.ts'
import { type ProveOptions, type ProveResult, prove } from '../../src/prove/prove.ts'
import type { Replacement } from '../support/adapt.ts'
import { startServe, stopProcess } from '../support/node-processes.ts'
import { type Host, makePair, type Pair, spawnNice } from '../terminators/host.ts'
import { NICE } from '../terminators/stunnel.ts'
import { runBalancer } from './ticket-servers.ts'

/** What differs from the right set-up; `both` is for both sides, `a` and `b` for one of them. */
export interface Setup {
  /** Changes of the terminator's configuration. */
  readonly both?: readonly Replacement[]
  readonly a?: readonly Replacement[]
  readonly b?: readonly Replacement[]
  /** Options of the caches on both nodes, or on the second one. */
  readonly cache?: Readonly<Record<string, unknown>>
  readonly cacheOfB?: Readonly<Record<string, unknown>>
  /** The nodes do not replicate. */
  readonly isCut?: boolean
  /** The second node is stopped before the run. */
  readonly isBDead?: boolean
  /** A TCP balancer in front of both, of which so many are listed as servers. */
  readonly listedBehindBalancer?: number
  readonly prove?: Partial<ProveOptions>
}

/** How one kind of terminator starts on a host: resolves with its port. */
export interface Kind {
  /** Frontend of the node that the terminator asks, in the folder or on a port of its host; undefined asks none. */
  readonly frontend?: 'memcached' | 'sessiond'
  readonly start: (host: Host, where: string, changes: readonly Replacement[]) => Promise<number>
}

/** Starts both sides from files in `certificates`, and returns what prove says of them. */
export async function provePair(
  certificates: string,
  kind: Kind,
  setup: Setup,
): Promise<ProveResult> {
  const shared = mkdtempSync(join(tmpdir(), 'tlscached-prove-'))
  chmodSync(shared, 0o755)
  cpSync(certificates, shared, { recursive: true })
  const pair = await makePair(shared)
  const nodes: StartedNode[] = []
  try {
    return await proveStarted(pair, kind, setup, nodes)
  } finally {
    await pair.stop()
    await Promise.all(nodes.map((node) => node.stop()))
    rmSync(shared, { recursive: true })
  }
}

async function proveStarted(
  { hosts }: Pair,
  kind: Kind,
  setup: Setup,
  nodes: StartedNode[],
): Promise<ProveResult> {
  const targets: string[] = []
  const keys = [randomBytes(32).toString('base64')]
  const listen = hosts.map((host) => `127.0.0.1:${host.port()}`)
  for (const [index, host] of hosts.entries()) {
    const isB = index === 1
    const { frontend } = kind
    const socket = join(host.folder, 'memcached.sock')
    const where = frontend === 'memcached' ? socket : `127.0.0.1:${host.port()}`
    if (frontend !== undefined) {
      const node = await startNode(host, {
        node: { name: `edge-${host.number}` },
        caches: [{ name: 'ssl', items: 1000, ...setup.cache, ...(isB ? setup.cacheOfB : {}) }],
        replication: { listen: listen[index], peers: setup.isCut ? [] : listen, keys },
        frontends: {
          // Where startServe looks for it.
          http: `unix:${join(host.folder, `edge-${host.number}.sock`)}`,
          [frontend]: frontend === 'memcached' ? `unix:${where}` : where,
        },
      })
      nodes.push(node)
    }
    const changes = [...(setup.both ?? []), ...((isB ? setup.b : setup.a) ?? [])]
    targets.push(`127.0.0.1:${await kind.start(host, where, changes)}`)
  }
  if (setup.isBDead) await nodes[1]?.stop()
  const { listedBehindBalancer: listed } = setup
  const balancer = listed === undefined ? {} : { via: await runBalancer(hosts[0], targets) }
  return prove({
    ...{ targets: targets.slice(0, listed), ...balancer, serverName: 'shop.example' },
    ...{ laterMs: 0, tries: 2, nodes: nodes.map(({ http }) => http) },
    ...setup.prove,
  })
}

interface StartedNode {
  /** As --node takes it. */
  readonly http: string
  stop(): Promise<void>
}

interface NodeOptions {
  readonly node: { readonly name: string }
  readonly frontends: { readonly http: string; readonly sessiond?: string }
  readonly [section: string]: unknown
}

/** Beside stunnel, which waits 5 ms for it, a process of its own; otherwise in this one, which starts sooner. */
async function startNode(host: Host, options: NodeOptions): Promise<StartedNode> {
  const { http } = options.frontends
  if (options.frontends.sessiond === undefined) {
    const node = createNode(options)
    await node.start()
    return { http, stop: () => node.stop() }
  }
  const { child } = await startServe(host.folder, options, spawnNice(NICE))
  return { http, stop: () => stopProcess(child) }
}
