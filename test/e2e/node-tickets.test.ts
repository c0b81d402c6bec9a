// Two nodes, and beside each a Node.js server of the example in deploy/terminators/tickets/node, which has its ticket keys
// over the rpc socket: tickets of one resume on the other, through a rotation, without its node, and after its return.

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { systemClock, systemRandom } from '../../src/base/world.ts'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { callNode } from '../../src/cli/rpc-client.ts'
import { createClient, type TlsVersion } from '../../src/tls-client/handshake.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import { adapt } from '../support/adapt.ts'
import { freeAddresses, freePorts } from '../support/free-ports.ts'
import { until } from '../support/latch.ts'
import { type NodeProcess, startServe, stopProcess } from '../support/node-processes.ts'

const EXAMPLE = fileURLToPath(
  new URL('../../deploy/terminators/tickets/node/server.mjs', import.meta.url),
)
const INDEX = new URL('../../dist/index.js', import.meta.url).href
const VERSIONS: readonly TlsVersion[] = ['1.2', '1.3']
/** The fastest ring that there may be: a key that an operator makes is minted after 4 s. */
const GROUP = { name: 'www', rotate: '10s', wait: '8s', lifetime: '10s' }
const shake = createClient(systemClock, { serverName: 'localhost', timeoutMs: 5000 })

interface Member {
  readonly folder: string
  readonly rpc: string
  readonly port: number
  readonly server: ChildProcess
  node: NodeProcess
}

const root = mkdtempSync(join(tmpdir(), 'tlscached-node-tickets-'))
const members: Member[] = []
let startNode: (index: number) => Promise<NodeProcess>

before(async () => {
  const addresses = await freeAddresses(2)
  const ports = await freePorts(2)
  const key = generateKey(systemRandom)
  const folderOf = (index: number) => join(root, String(index))
  const rpcOf = (index: number) => join(folderOf(index), 'rpc.sock')
  const httpOf = (index: number) => join(folderOf(index), `edge-${index}.sock`)
  startNode = (index) => {
    const [listen, peer] = index === 0 ? addresses : addresses.toReversed()
    return startServe(folderOf(index), {
      node: { name: `edge-${index}` },
      replication: { listen, peers: [peer], keys: [key] },
      tickets: { groups: [GROUP] },
      frontends: { http: `unix:${httpOf(index)}`, rpc: `unix:${rpcOf(index)}` },
    })
  }
  for (const index of [0, 1]) mkdirSync(folderOf(index))
  const nodes = await Promise.all([startNode(0), startNode(1)])
  for (const [index, node] of nodes.entries()) {
    const folder = folderOf(index)
    const port = ports[index] ?? 0
    writeFileSync(join(folder, 'cert.pem'), DEMO_CERTIFICATE.cert)
    writeFileSync(join(folder, 'key.pem'), DEMO_CERTIFICATE.key)
    const file = join(folder, 'server.mjs')
    const replacements = [
      ["'tlscached'", `'${INDEX}'`],
      ['/etc/tlscached/', `${folder}/`],
      ['/run/tlscached/rpc.sock', rpcOf(index)],
      ['listen(443)', `listen(${port}, '127.0.0.1')`],
    ] as const
    writeFileSync(file, adapt(readFileSync(EXAMPLE, 'utf8'), replacements))
    const server = spawn(process.execPath, [file], { stdio: ['ignore', 'ignore', 'inherit'] })
    members.push({ folder, rpc: rpcOf(index), port, server, node })
  }
  await until('both servers answer', async () => {
    const answers = await Promise.allSettled(members.map(({ port }) => fresh(port, '1.3')))
    return answers.every(({ status }) => status === 'fulfilled')
  })
})

after(async () => {
  await Promise.all(members.flatMap(({ node, server }) => [node.child, server]).map(stopProcess))
  rmSync(root, { recursive: true })
})

/** A session of a full handshake, and the name of the key of its ticket. */
async function fresh(port: number, version: TlsVersion) {
  const { session } = await shake({ host: '127.0.0.1', port }, { version, takesTickets: true })
  assert.ok(session !== undefined && session.keyName !== undefined)
  return { version, port, bytes: session.bytes, keyName: session.keyName }
}
type Ticket = Awaited<ReturnType<typeof fresh>>

async function isResumed(ticket: Ticket, port: number): Promise<boolean> {
  const { version, bytes: session } = ticket
  const request = { version, takesTickets: true, session }
  return (await shake({ host: '127.0.0.1', port }, request)).isResumed
}

/** A ticket of each server and version. */
function freshOfAll(): Promise<Ticket[]> {
  return Promise.all(members.flatMap(({ port }) => VERSIONS.map((version) => fresh(port, version))))
}

async function assertAll(tickets: readonly Ticket[], resumes: boolean, when: string) {
  for (const ticket of tickets) {
    for (const { port } of members) {
      const where = `TLS ${ticket.version}, from ${ticket.port} to ${port}, ${when}`
      assert.equal(await isResumed(ticket, port), resumes, where)
    }
  }
}

function rotate(member: Member | undefined, isRevoking: boolean) {
  const call = { group: 'www', isImmediate: true, isRevoking }
  return callNode({ path: member?.rpc ?? '' }, { kind: 'rotateTickets', ...call })
}

/** Waits until both servers make tickets under a key that none of these has. */
async function untilOtherKey(tickets: readonly Ticket[]): Promise<void> {
  const old = new Set(tickets.map(({ keyName }) => keyName))
  await until('both servers mint another key', async () => {
    const names = await Promise.all(
      members.map(async ({ port }) => (await fresh(port, '1.3')).keyName),
    )
    return new Set(names).size === 1 && names.every((name) => !old.has(name))
  })
}

test('tickets resume on both servers through a rotation, without a node, and after its return', async () => {
  const [first, second] = members
  const before = await freshOfAll()
  assert.equal(new Set(before.map(({ keyName }) => keyName)).size, 1)
  await assertAll(before, true, 'before the rotation')
  assert.equal((await rotate(first, false)).kind, 'rotated')
  await untilOtherKey(before)
  await assertAll(before, true, 'after the rotation')
  const later = await freshOfAll()
  await assertAll(later, true, 'under the new key')

  first?.node.child.kill('SIGKILL')
  await until('the node is gone', () => first?.node.child.signalCode === 'SIGKILL')
  await assertAll(later, true, 'without the first node')
  assert.ok(first !== undefined)
  first.node = await startNode(0)
  assert.equal((await rotate(second, true)).kind, 'rotated')
  await untilOtherKey([...before, ...later])
  await assertAll(later, false, 'after the keys were revoked')
  await assertAll(await freshOfAll(), true, 'at the end')
})
