// One host of the partition test: a node in this process that puts and removes what it is told to, and
// shows what it holds.

import { createHash, hash } from 'node:crypto'
import { silentLogger } from '../../src/base/world.ts'
import { createNode } from '../../src/node/node.ts'
import { seededBytes } from '../support/seeded-random.ts'
import { answerCommands } from './host-process.ts'
import type {
  DigestAnswer,
  EntriesAnswer,
  HeldAnswer,
  PartitionCommand,
  PartitionSetup,
  PartitionStatus,
} from './partition-commands.ts'

const CONTEXT = Buffer.from('partition')
const TTL_MS = 3_600_000
const SESSION_BYTES = 130

async function runHost(setup: PartitionSetup): Promise<void> {
  const { name, listen, peers, keys, digestIntervalMs } = setup
  const node = createNode(
    {
      node: { name },
      caches: [{ name: 'ssl', items: 500_000, timeout: '1h' }],
      replication: {
        listen,
        peers: [...peers],
        keys: [...keys],
        digest_interval: `${digestIntervalMs}ms`,
      },
    },
    { logger: silentLogger },
  )
  const hooks = node.hooks('ssl')
  const store = node.caches.get('ssl')?.store
  if (store === undefined) throw new Error('no such cache')
  const randomBytes = seededBytes(name)
  const idOf = (label: string) => hash('sha256', label, 'buffer')

  function entries(): EntriesAnswer {
    const lines: string[] = []
    for (const slot of store?.entries.slots() ?? []) {
      const change = store?.entries.changeAt(slot)
      if (change === undefined) continue
      const { clock, origin } = change.version
      const content = change.kind === 'put' ? createHash('sha256').update(change.session) : ''
      const what = content === '' ? 'removed' : content.digest('hex')
      lines.push(`${Buffer.from(change.id).toString('hex')} ${clock} ${origin} ${what}`)
    }
    return { entries: lines.sort() }
  }

  async function status(): Promise<PartitionStatus> {
    const { text } = await node.metrics()
    return {
      peersUp: node.peers().filter((peer) => peer.isUp).length,
      comparisons: Number(/^tlscached_sync_total\{kind="comparison"\} (\d+)$/m.exec(text)?.[1]),
    }
  }

  function obey(command: PartitionCommand): unknown {
    switch (command.do) {
      case 'change':
        for (const label of command.puts) {
          hooks.put({
            context: CONTEXT,
            id: idOf(label),
            session: randomBytes(SESSION_BYTES),
            ttlMs: TTL_MS,
          })
        }
        for (const label of command.removes) hooks.remove(CONTEXT, idOf(label))
        return undefined
      case 'held': {
        const isHeld = (label: string) => hooks.get(CONTEXT, idOf(label)) !== undefined
        return { held: command.labels.filter(isHeld) } satisfies HeldAnswer
      }
      case 'digest': {
        const digest = store?.entries.digest.toBytes().toString('base64') ?? ''
        return { digest } satisfies DigestAnswer
      }
      case 'entries':
        return entries()
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
