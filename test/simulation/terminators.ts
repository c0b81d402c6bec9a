// The terminators of a simulation: they call the hooks of nodes directly, and every answer is held against the model.

import { encodeSession } from '../support/session-encoder.ts'
import type { CallCounts, Member, Running } from './cluster.ts'
import { hexOf, type StoreModel } from './model.ts'
import { CACHE_NAMES, type Call } from './plan.ts'
import { Violation } from './world.ts'

const CONTEXTS = ['a', 'b', 'c', 'unlisted']
const SERVER_NAMES = ['', 'x.example', 'y.example']
const TLS_1_3 = 0x0304
/** Lengths of session IDs: some are longer than the `keysize` of some nodes. */
const SHORTEST_ID_BYTES = 20
const ID_LENGTHS = 13

export function idOf(number: number): Buffer {
  return Buffer.alloc(SHORTEST_ID_BYTES + (number % ID_LENGTHS), number + 1)
}

function sessionOf(call: Call, cache: string, context: string, serverName: string, wallMs: number) {
  if (cache !== 'once') {
    const bytes = Buffer.alloc(Math.max(4, call.sessionBytes), 0x5a)
    bytes.writeUInt32BE(call.value)
    return bytes
  }
  return encodeSession({
    protocolVersion: TLS_1_3,
    id: idOf(call.id),
    context: Buffer.from(context),
    serverName,
    timeSec: Math.floor(wallMs / 1000),
    timeoutSec: 1 + Math.ceil(call.ttlMs / 1000),
    ...(call.value % 50 === 0 ? { maxEarlyData: 1 } : {}),
  })
}

/** Makes a call on the node of a member; throws a Violation when the answer is wrong. Returns the answer in words. */
export function makeCall(call: Call, member: Member): string | undefined {
  const running = member.live
  if (running === undefined) return undefined
  const cache = CACHE_NAMES[call.cache] ?? 'ssl'
  const model = running.models.get(cache)
  const counts = running.counts.get(cache)
  if (model === undefined || counts === undefined) return undefined
  return carryOut(call, { running, cache, model, counts })
}

interface Called {
  readonly running: Running
  readonly cache: string
  readonly model: StoreModel
  readonly counts: CallCounts
}

function carryOut(call: Call, { running, cache, model, counts }: Called): string {
  const hooks = running.node.hooks(cache)
  const id = idOf(call.id)
  const context = CONTEXTS[call.context] ?? ''
  const serverName = SERVER_NAMES[call.serverName] ?? ''
  const contextBytes = Buffer.from(context)
  switch (call.kind) {
    case 'put': {
      // Now and then a session that says to be another one.
      const isOther = call.value % 90 === 0
      const wallMs = running.process.clock.wallMs()
      const told = isOther ? { ...call, id: call.id + 1 } : call
      const session = sessionOf(told, cache, context, serverName, wallMs)
      const result = hooks.put({
        context: contextBytes,
        id,
        session,
        ttlMs: call.ttlMs,
        serverName,
      })
      counts.puts.set(result, (counts.puts.get(result) ?? 0) + 1)
      return result
    }
    case 'get': {
      // Single use removes what it found, so the model is asked before with what it knows now.
      const known = model.known.get(hexOf(id))
      const found = hooks.get(contextBytes, id, serverName)
      counts.gets += 1
      if (found !== undefined) counts.hits += 1
      const after = model.known.get(hexOf(id))
      if (known !== undefined) model.known.set(hexOf(id), known)
      model.check(hexOf(id), context, serverName, found?.session)
      if (after !== undefined) model.known.set(hexOf(id), after)
      return found === undefined ? 'miss' : 'hit'
    }
    case 'remove': {
      const isRemoved = hooks.remove(contextBytes, id)
      counts.removes += 1
      if (isRemoved) counts.removed += 1
      return isRemoved ? 'removed' : 'was not there'
    }
    case 'touch': {
      const result = running.node.caches.get(cache)?.hooks.touchAny(id, call.ttlMs)
      if (result !== undefined) counts.puts.set(result, (counts.puts.get(result) ?? 0) + 1)
      return result ?? 'not there'
    }
  }
}

/** Throws when the counters of a node differ from the calls that were made on it. */
export function checkCounters(member: Member, { models, counts }: Running): void {
  for (const [cache, { store, appliedCount }] of models) {
    const { gets, puts, removes, applied } = store.stats
    const made = counts.get(cache)
    if (made === undefined) continue
    const expect = (what: string, counted: number, happened: number) => {
      if (counted === happened) return
      const where = `${member.name} ${cache}`
      throw new Violation(`${where} counted ${counted} ${what}, but there were ${happened}`)
    }
    expect('hits', gets.hit, made.hits)
    for (const [result, counted] of Object.entries(puts)) {
      expect(`puts ${result}`, counted, made.puts.get(result) ?? 0)
    }
    expect('applied changes', applied.applied, appliedCount)
    const lookups = gets.hit + gets.miss + gets.expired + gets.context_mismatch
    // A remove under another context counts as a mismatch, too.
    if (lookups < made.gets || lookups > made.gets + made.removes)
      expect('gets', lookups, made.gets)
    if (cache !== 'once') expect('removes', removes, made.removed)
  }
}
