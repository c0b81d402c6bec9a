// connectHooks with a scripted node at the other end, on a clock that moves by command.

import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { type ConnectOptions, connectHooks } from '../../src/hooks/remote-hooks.ts'
import { FakeClock } from './fake-clock.ts'
import { until } from './latch.ts'
import { RecordingLogger } from './recording-logger.ts'
import { ScriptedNode } from './scripted-node.ts'

export const CONTEXT = Buffer.from('shop')
export const ID = Buffer.alloc(32, 7)
export const SESSION = Buffer.from('a session')

/** Every wait is the longest it can be. */
const highest = () => Buffer.alloc(4, 0xff)

export function remoteFixture(
  t: TestContext,
  options: Partial<ConnectOptions> = {},
  clock = new FakeClock(),
) {
  const node = new ScriptedNode()
  const logger = new RecordingLogger()
  const { connect } = node
  const hooks = connectHooks('unix:/nowhere', {
    cache: 'ssl',
    ...{ clock, logger, connect, random: highest },
    ...options,
  })
  t.after(() => hooks.close())
  return { node, clock, logger, hooks, get: () => hooks.get(CONTEXT, ID) }
}

export type RemoteFixture = ReturnType<typeof remoteFixture>

/** Makes the first connection, with a get that misses. */
export async function connectedFixture(
  t: TestContext,
  options?: Partial<ConnectOptions>,
): Promise<RemoteFixture> {
  const fixture = remoteFixture(t, options)
  const first = fixture.get()
  await fixture.node.last.pong()
  await fixture.node.last.answer('get', { kind: 'miss' })
  assert.equal(await first, undefined)
  assert.equal(fixture.hooks.isConnected, true)
  return fixture
}

/** The node ends the connection. */
export async function lose({ hooks, node }: RemoteFixture): Promise<void> {
  const { disconnects } = hooks.stats
  node.last.stream.destroy()
  await until('the loss is known', () => hooks.stats.disconnects > disconnects)
}
