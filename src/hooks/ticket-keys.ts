// Gives a Node.js TLS server the ticket keys of a ring, so that tickets of every server of the group resume on it.
//
// Node.js documents `setTicketKeys`, which holds one key: each rotation then ends all tickets. Its native context also
// has the callback of OpenSSL, by which a server opens tickets under several keys. It is not documented, so it is used
// only where it is there and works as expected. OpenSSL copies the key of a handshake and clears it afterwards; with
// `setTicketKeys` it holds the current key until the next one comes.

import { constants } from 'node:crypto'
import type { Server } from 'node:tls'
import { TlscachedError } from '../base/errors.ts'
import { checkMethods, checkOptions } from '../base/options.ts'
import { type RandomSource, systemRandom } from '../base/world.ts'
import type { TicketKeySource } from '../tickets/authority.ts'
import { keyBytes } from '../tickets/layouts/binary.ts'
import { type AgedKey, openedKeys, type RingView } from '../tickets/rule.ts'
import { TicketKey } from '../tickets/ticket-key.ts'
import { checkIsServer } from './server-setup.ts'

export interface TicketKeyOptions {
  readonly random?: RandomSource
  /** Uses `setTicketKeys` also where a server could open tickets under several keys. */
  readonly singleKey?: boolean
}

const OPTION_NAMES: ReadonlySet<string> = new Set<keyof TicketKeyOptions>(['random', 'singleKey'])
const CALLER = 'attachTicketKeys'
const NO_SOURCE =
  'the second argument must be a source of keys: what node.ticketKeys(group) or connectTicketKeys returns'

/** A server that takes its ticket keys from a source. */
export interface TicketKeyBinding {
  /** Whether tickets under every key of the ring resume; otherwise only those under the current one. */
  readonly opensAllKeys: boolean
  /** Ends it: the server goes on with a random key of its own, and tickets of the group end. Idempotent. */
  close(): void
}

/** What the callback answers: what to do, HMAC key, AES key, and for a new ticket the name and the IV. */
type KeyAnswer = readonly [number, Buffer, Buffer, Buffer, Buffer]
type KeyCallback = (name: Buffer, iv: Buffer, isNew: boolean) => KeyAnswer

/** The undocumented part of the native context. */
interface NativeContext {
  onticketkeycallback?: KeyCallback
  enableTicketKeyCallback?(): void
}

const FULL_HANDSHAKE = 0
const USE = 1
const USE_AND_RENEW = 2
const IV_BYTES = 16
const NO_KEY = Buffer.alloc(16)

/**
 * Makes tickets of this server with the current key of `source` and opens those of all its keys. While the source has no
 * key, handshakes are full ones. Throws ERR_SERVER for what is no TLS server and for one whose tickets
 * are switched off, and ERR_USAGE when `source` is none or an option is unknown.
 *
 * ```ts
 * const node = createNode({
 *   replication: { listen: '10.0.0.1:7171', peers: ['10.0.0.2:7171'], keys_file: '/etc/tlscached/keys' },
 *   tickets: { groups: [{ name: 'www' }] },
 * })
 * await node.start()
 * attachTicketKeys(server, node.ticketKeys('www'))
 * ```
 */
export function attachTicketKeys(
  server: Server,
  source: TicketKeySource,
  options: TicketKeyOptions = {},
): TicketKeyBinding {
  checkIsServer(server)
  checkMethods(CALLER, source, ['view', 'onChange'], NO_SOURCE)
  checkOptions(CALLER, options, OPTION_NAMES)
  const { random = systemRandom, singleKey = false } = options
  const secureOptions: unknown = Reflect.get(server, 'secureOptions')
  if (typeof secureOptions === 'number' && (secureOptions & constants.SSL_OP_NO_TICKET) !== 0) {
    throw new TlscachedError(
      'ERR_SERVER',
      'the TLS server has session tickets switched off: leave SSL_OP_NO_TICKET out of its secureOptions',
    )
  }
  const opensAllKeys = !singleKey && contextOf(server)?.enableTicketKeyCallback !== undefined
  return opensAllKeys ? bindAllKeys(server, source, random) : bindCurrentKey(server, source, random)
}

function bindAllKeys(
  server: Server,
  source: TicketKeySource,
  random: RandomSource,
): TicketKeyBinding {
  let keys = source
  const answer: KeyCallback = (name, iv, isNew) => {
    try {
      return isNew ? answerNew(keys.view(), random) : answerOld(keys.view(), name, iv)
    } catch {
      // A source that fails costs a full handshake, never the connection.
      return [FULL_HANDSHAKE, NO_KEY, NO_KEY, name, iv]
    }
  }
  // `setSecureContext`, which renews a certificate, makes a new context without the callback.
  const install = () => {
    const context = contextOf(server)
    if (context === undefined || context.onticketkeycallback === answer) return
    context.onticketkeycallback = answer
    context.enableTicketKeyCallback?.()
  }
  install()
  server.on('connection', install)
  return {
    opensAllKeys: true,
    close() {
      if (keys === source) keys = ownKey(random)
    },
  }
}

function answerNew({ current }: RingView, random: RandomSource): KeyAnswer {
  const iv = random(IV_BYTES)
  if (current === undefined) return [FULL_HANDSHAKE, NO_KEY, NO_KEY, NO_KEY, iv]
  const { key } = current
  return [USE, key.hmac(16), key.aes(16), key.name, iv]
}

/** Opens an old ticket. Only a key that is past has it renewed: one that is still to come is no reason for a new ticket. */
function answerOld(view: RingView, name: Buffer, iv: Buffer): KeyAnswer {
  const found = openedKeys(view).find(({ key }) => key.name.equals(name))
  if (found === undefined) return [FULL_HANDSHAKE, NO_KEY, NO_KEY, name, iv]
  const use = view.previous.includes(found) ? USE_AND_RENEW : USE
  return [use, found.key.hmac(16), found.key.aes(16), name, iv]
}

function bindCurrentKey(
  server: Server,
  source: TicketKeySource,
  random: RandomSource,
): TicketKeyBinding {
  let used: AgedKey['key'] | undefined
  const update = () => {
    const key = source.view().current?.key
    if (key === undefined || key === used) return
    used = key
    setKey(server, key)
  }
  // A server forgets its ticket keys when its certificate is renewed.
  let context = contextOf(server)
  const renew = () => {
    const now = contextOf(server)
    if (now === context) return
    context = now
    used = undefined
    update()
  }
  update()
  const unsubscribe = source.onChange(update)
  server.on('connection', renew)
  let isOpen = true
  return {
    opensAllKeys: false,
    close() {
      if (!isOpen) return
      isOpen = false
      unsubscribe()
      server.off('connection', renew)
      setKey(server, TicketKey.generate(random))
    },
  }
}

function setKey(server: Server, key: TicketKey): void {
  const bytes = keyBytes(key, 'hmac_aes', 48)
  server.setTicketKeys(bytes)
  bytes.fill(0)
}

/** A source with one random key that never changes. */
function ownKey(random: RandomSource): TicketKeySource {
  const current = { key: TicketKey.generate(random), bornMs: 0, knownMs: 0 }
  return { view: () => ({ current, next: [], previous: [] }), onChange: () => () => {} }
}

function contextOf(server: Server): NativeContext | undefined {
  const shared: unknown = Reflect.get(server, '_sharedCreds')
  if (typeof shared !== 'object' || shared === null) return undefined
  const context: unknown = Reflect.get(shared, 'context')
  return typeof context === 'object' && context !== null ? context : undefined
}
