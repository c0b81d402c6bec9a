// The three steps of a key rotation, as deploy/README.md tells them, while sessions are put on every node. Rotations by
// nodes that send to each other directly are in test/simulation.

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { systemRandom } from '../../src/base/world.ts'
import { askPeers } from '../../src/cli/stats.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import { freeAddresses } from '../support/free-ports.ts'
import { ask } from '../support/http.ts'
import { until } from '../support/latch.ts'
import {
  type NodeProcess,
  type Spawner,
  startRepeat,
  startServe,
  stopProcess,
  untilAllKnowEachOther,
} from '../support/node-processes.ts'
import { countItems, hasSession, PutLoad } from '../support/stored-sessions.ts'

const NAMES = ['a', 'b', 'c']
/** Put between two steps, and while each of them is under way. */
const PUTS_PER_STEP = 50
/** Four processes under load, on a machine that may do much else. */
const FAILSAFE_MS = 60_000

/** A process with a file of keys of its own, as on a machine of its own. */
class KeyHolder {
  readonly keysFile: string
  /** How often it said that it read its keys again. */
  #reloads = 0
  #process: NodeProcess | undefined
  #child: ChildProcess | undefined

  constructor(folder: string, name: string) {
    this.keysFile = join(folder, `${name}.keys`)
  }

  get process(): NodeProcess {
    assert.ok(this.#process !== undefined)
    return this.#process
  }

  set process(started: NodeProcess) {
    this.#process = started
  }

  /** Listens to the log of the process. */
  readonly spawner: Spawner = (args) => {
    const child: ChildProcess = spawn(process.execPath, [...args, '--log-level', 'info'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.#child = child
    assert.ok(child.stderr !== null)
    createInterface({ input: child.stderr }).on('line', (line) => {
      if (line.includes('were read again')) this.#reloads += 1
    })
    return child
  }

  /** Also one that never became ready. */
  async stop(): Promise<void> {
    if (this.#child !== undefined) await stopProcess(this.#child)
  }

  writeKeys(keys: readonly string[]): void {
    writeFileSync(this.keysFile, `${keys.join('\n')}\n`, { mode: 0o600 })
  }

  /** Resolves when it has taken these keys over. */
  async reload(keys: readonly string[]): Promise<void> {
    this.writeKeys(keys)
    const reloads = this.#reloads + 1
    this.process.child.kill('SIGHUP')
    await until('the keys were read', () => this.#reloads === reloads, FAILSAFE_MS)
  }
}

test('keys rotate under load without a loss, through a repeater', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-rotation-'))
  const holders: KeyHolder[] = []
  t.after(async () => {
    await Promise.all(holders.map((holder) => holder.stop()))
    rmSync(folder, { recursive: true })
  })
  const [old, fresh] = [generateKey(systemRandom), generateKey(systemRandom)]
  const create = (name: string) => {
    const holder = new KeyHolder(folder, name)
    holder.writeKeys([old])
    holders.push(holder)
    return holder
  }

  const [repeaterAddress = '', ...addresses] = await freeAddresses(1 + NAMES.length)
  const repeater = create('repeater')
  const options = ['--listen', repeaterAddress, '--keys-file', repeater.keysFile]
  // Given twice, the last log level counts.
  repeater.process = await startRepeat(folder, 'repeater', options, repeater.spawner)
  const nodes: NodeProcess[] = []
  for (const [index, name] of NAMES.entries()) {
    const holder = create(name)
    const replication = {
      listen: addresses[index],
      repeaters: [repeaterAddress],
      keys_file: holder.keysFile,
      // Nothing that is missing comes by comparing.
      digest_interval: '1h',
    }
    const config = { node: { name }, caches: [{ name: 'ssl', items: 100_000 }], replication }
    holder.process = await startServe(folder, config, holder.spawner)
    nodes.push(holder.process)
  }
  await untilAllKnowEachOther(nodes)

  const load = new PutLoad(nodes)
  const untilMorePuts = async () => {
    const enough = load.sessions.length + PUTS_PER_STEP
    await until('more puts', () => load.sessions.length >= enough, FAILSAFE_MS)
  }
  const steps = [[old, fresh], [fresh, old], [fresh]]
  for (const keys of steps) {
    for (const holder of holders) {
      await untilMorePuts()
      await holder.reload(keys)
    }
  }
  await untilMorePuts()
  const sessions = await load.stop()
  t.diagnostic(`${sessions.length} sessions over ${steps.length} steps`)

  const isEverywhere = async () => {
    const counts = await Promise.all(nodes.map(countItems))
    return counts.every((count) => count === sessions.length)
  }
  await until('every session is on every node', isEverywhere, FAILSAFE_MS)
  for (const session of [...sessions.slice(0, 20), ...sessions.slice(-20)]) {
    for (const node of nodes) assert.ok(await hasSession(node, session))
  }
  for (const { http } of nodes) {
    const { replication } = await askPeers(http)
    assert.equal(replication?.dropped['unauthenticated'], 0)
    assert.equal(replication?.lost, 0)
  }
  for (const { process: holder } of holders) {
    const { body } = await ask(holder.http, { path: '/metrics' })
    assert.doesNotMatch(body.toString(), /dropped_total\{reason="unauthenticated"\} [1-9]/)
  }

  // The old key is worth nothing now.
  const stranger = create('stranger')
  const replication = {
    listen: '127.0.0.1:0',
    peers: addresses,
    keys_file: stranger.keysFile,
  }
  stranger.process = await startServe(
    folder,
    { node: { name: 'stranger' }, replication },
    stranger.spawner,
  )
  assert.equal(await countItems(stranger.process), 0)
  await until('every node refused it', async () => {
    const answers = await Promise.all(nodes.map(({ http }) => askPeers(http)))
    return answers.every(({ replication: own }) => (own?.dropped['unauthenticated'] ?? 0) > 0)
  })
})
