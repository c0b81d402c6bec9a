// Where a node sends: who is told by repeaters, who is not any more, and how many are remembered.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { HostAddress } from '../../src/base/address.ts'
import { Sender } from '../../src/replication/live/senders.ts'
import {
  LISTED_LIFETIME_MS,
  MAX_CONTACTS,
  PeerAddresses,
  SILENCE_MS,
} from '../../src/replication/peers/addresses.ts'
import { createIdentity } from '../../src/wire/identity.ts'
import { seededBytes } from '../support/seeded-random.ts'

const CONTACT_LIFETIME_MS = 300_000

function at(number: number): HostAddress {
  return { host: `10.0.${Math.floor(number / 256)}.${number % 256}`, port: 7171 }
}

function hosts(peers: PeerAddresses['all']): string[] {
  return peers.map(({ address }) => address.host)
}

function senderAt(address: HostAddress): Sender {
  return new Sender(createIdentity(address.host, seededBytes(address.host)), address, 0)
}

/** Notes an answer of this sender from the address of `host`. */
function answer(addresses: PeerAddresses, host: string, sender: Sender, nowMs: number): void {
  const peer = addresses.all.find(({ address }) => address.host === host)
  assert.ok(peer !== undefined)
  peer.answer(sender, sender.address, nowMs)
  addresses.refresh(nowMs)
}

test('a node listed by a repeater gets changes through it, and directly when the lists end', () => {
  const addresses = new PeerAddresses()
  addresses.set([at(1), at(2)], undefined, 0)
  addresses.setRepeaters([at(9)], 0)
  assert.deepEqual(hosts(addresses.destinations), ['10.0.0.9', '10.0.0.1', '10.0.0.2'])
  addresses.list([at(2), at(3)], 1000)
  assert.deepEqual(hosts(addresses.destinations), ['10.0.0.9', '10.0.0.1'])
  assert.deepEqual(hosts(addresses.behindRepeaters), ['10.0.0.2'], 'the other did not answer yet')
  answer(addresses, at(3).host, senderAt(at(3)), 1000)
  assert.deepEqual(hosts(addresses.behindRepeaters), ['10.0.0.2', '10.0.0.3'])
  addresses.refresh(1000 + LISTED_LIFETIME_MS)
  assert.deepEqual(hosts(addresses.destinations), ['10.0.0.9', '10.0.0.1'])
  addresses.refresh(1001 + LISTED_LIFETIME_MS)
  assert.deepEqual(hosts(addresses.destinations), ['10.0.0.9', '10.0.0.1', '10.0.0.2', '10.0.0.3'])
  assert.deepEqual(addresses.behindRepeaters, [])
})

test('when a repeater ends, everybody is sent to directly at once', () => {
  const addresses = new PeerAddresses()
  addresses.setRepeaters([at(9)], 0)
  addresses.list([at(1), at(2), at(3)], 0)
  answer(addresses, at(1).host, senderAt(at(1)), 0)
  answer(addresses, at(2).host, senderAt(at(2)), 0)
  addresses.unlist(0)
  assert.deepEqual(hosts(addresses.destinations), ['10.0.0.9', '10.0.0.1', '10.0.0.2'])
  addresses.list([at(1)], 1)
  assert.deepEqual(hosts(addresses.destinations), ['10.0.0.9', '10.0.0.2'])
})

test('a node of two addresses is behind a repeater when one of them is', () => {
  const addresses = new PeerAddresses()
  addresses.setRepeaters([at(9)], 0)
  addresses.list([at(1), at(2)], 0)
  const sender = senderAt(at(1))
  answer(addresses, at(1).host, sender, 5000)
  answer(addresses, at(2).host, sender, 5000)
  addresses.list([at(2)], 5000)
  assert.deepEqual(hosts(addresses.destinations), ['10.0.0.9'])
  assert.deepEqual(hosts(addresses.behindRepeaters), ['10.0.0.2'])
})

test('a listed node is forgotten five minutes after the last list and the last answer', () => {
  const addresses = new PeerAddresses()
  addresses.list([at(1), at(2)], 0)
  answer(addresses, at(2).host, senderAt(at(2)), 100_000)
  addresses.refresh(CONTACT_LIFETIME_MS)
  assert.deepEqual(hosts(addresses.all), ['10.0.0.1', '10.0.0.2'])
  addresses.refresh(CONTACT_LIFETIME_MS + 1)
  assert.deepEqual(hosts(addresses.all), ['10.0.0.2'])
  addresses.refresh(CONTACT_LIFETIME_MS + 100_001)
  assert.deepEqual(addresses.all, [])
})

test('where nobody answers for a while only greetings go, whatever is there', () => {
  const addresses = new PeerAddresses()
  addresses.set([at(1)], undefined, 0)
  addresses.setRepeaters([at(9)], 0)
  addresses.list([at(2)], 5000)
  answer(addresses, at(2).host, senderAt(at(2)), 5000)
  addresses.refresh(SILENCE_MS)
  assert.deepEqual(hosts(addresses.destinations), ['10.0.0.9', '10.0.0.1'])
  addresses.refresh(SILENCE_MS + 1)
  assert.deepEqual(hosts(addresses.destinations), [])
  addresses.refresh(SILENCE_MS + 5000)
  assert.deepEqual(hosts(addresses.destinations), ['10.0.0.2'])
  addresses.refresh(SILENCE_MS + 5001)
  assert.deepEqual(addresses.destinations, [])
  addresses.list([at(2)], 16_000)
  assert.deepEqual(addresses.behindRepeaters, [])
  answer(addresses, at(9).host, senderAt(at(9)), 16_000)
  assert.deepEqual(hosts(addresses.destinations), ['10.0.0.9'])
  assert.equal(addresses.all.length, 3)
})

test('a node that is heard at its proven address counts as there, though its answers are lost', () => {
  const addresses = new PeerAddresses()
  addresses.set([at(1), at(2)], undefined, 0)
  const sender = senderAt(at(1))
  answer(addresses, at(1).host, sender, 0)
  answer(addresses, at(2).host, senderAt(at(2)), 0)
  sender.prove(at(1), 0)
  sender.hear(at(1), 5000)
  addresses.refresh(5000 + SILENCE_MS)
  assert.deepEqual(hosts(addresses.destinations), ['10.0.0.1'])
  addresses.refresh(5001 + SILENCE_MS)
  assert.deepEqual(hosts(addresses.destinations), [])
  // From another of its addresses: this one may be cut off.
  sender.hear(at(3), 20_000)
  addresses.refresh(20_000)
  assert.deepEqual(hosts(addresses.destinations), [])
})

test('no more than the limit of addresses are taken from repeaters', () => {
  const addresses = new PeerAddresses()
  addresses.set([at(0)], undefined, 0)
  for (let start = 0; start < 2 * MAX_CONTACTS; start += 64) {
    addresses.list(
      Array.from({ length: 64 }, (_, index) => at(start + index)),
      0,
    )
  }
  assert.equal(addresses.all.length, 1 + MAX_CONTACTS)
  assert.equal(addresses.kindOf(at(0)), 'peer')
})

test('a repeater is known by the address it answers from, too', () => {
  const addresses = new PeerAddresses()
  addresses.setRepeaters([at(9)], 0)
  const sender = senderAt(at(8))
  sender.prove(at(8), 0)
  assert.equal(addresses.isRepeater(at(8)), false)
  answer(addresses, at(9).host, sender, 0)
  assert.equal(addresses.isRepeater(at(8)), true)
  addresses.setRepeaters([], 1)
  assert.equal(addresses.isRepeater(at(8)), false)
  assert.equal(addresses.hasRepeaters, false)
})

test('an address in both lists is that of a repeater, in whatever order they are set', () => {
  const addresses = new PeerAddresses()
  addresses.set([at(9)], undefined, 0)
  addresses.setRepeaters([at(9)], 0)
  addresses.set([at(9), at(1)], undefined, 1)
  assert.equal(addresses.kindOf(at(9)), 'repeater')
  assert.deepEqual(hosts(addresses.all), ['10.0.0.9', '10.0.0.1'])
})

test('a copy is no wonder from an address that is known, where there are repeaters', () => {
  const addresses = new PeerAddresses()
  addresses.set([at(1)], undefined, 0)
  assert.equal(addresses.mayComeTwice(at(1)), false)
  addresses.setRepeaters([at(9)], 0)
  assert.deepEqual(
    [at(1), at(9), at(2)].map((address) => addresses.mayComeTwice(address)),
    [true, true, false],
  )
})
