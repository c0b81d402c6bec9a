// Reads what passed a memory network: opens datagrams with the test key and says what they are.

import { type Header, readHeader } from '../../src/wire/datagram.ts'
import { decodeMessage, type Message } from '../../src/wire/message.ts'
import { Opener } from '../../src/wire/seal.ts'
import type { Passed } from './memory-network.ts'
import { TEST_KEYRING } from './replication-node.ts'

export function headerOf(passed: Passed): Header {
  const header = readHeader(passed.datagram)
  if (header === undefined) throw new Error('no datagram of ours')
  return header
}

export function messageOf(passed: Passed): Message {
  const header = headerOf(passed)
  const key = TEST_KEYRING.senderKey(header.keyId, header.senderId, header.bootId, header.form)
  const message = key && new Opener(key).open(passed.datagram, header)
  const decoded = message && decodeMessage(message, 0)
  if (decoded === undefined) throw new Error('no message under the test key')
  return decoded
}

/** Those with a message of this kind. */
export function ofKind(tape: readonly Passed[], kind: Message['kind']): Passed[] {
  return tape.filter((passed) => messageOf(passed).kind === kind)
}
