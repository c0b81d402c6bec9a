// The configuration as people write it: keys, forms, bounds and defaults of every setting.

import { z } from 'zod'
import { isMulticast, parseHostAddress } from '../base/address.ts'
import { formatDurationMs } from '../base/bytes.ts'
import { REMOVE_POLICIES } from '../frontends/sessiond/frontend.ts'
import { DEFAULT_DIGEST_INTERVAL_MS } from '../replication/sync/synchronizer.ts'
import {
  address,
  duration,
  flag,
  frontendAddress,
  hostAddress,
  hostName,
  integer,
  label,
  list,
  logSection,
  notes,
  oneOf,
  peerAddress,
  size,
  text,
  watchdog,
} from '../settings/forms.ts'
import { isStandalone, settingsOf } from '../settings/schema.ts'
import {
  CACHE_NAME_PATTERN,
  MAX_BLOCKSIZE,
  MAX_ITEMS,
  MAX_KEYSIZE,
  MAX_MEMORY_BYTES,
  MAX_TIMEOUT_MS,
  MIN_MEMORY_BYTES,
} from '../store/limits.ts'
import { findTicketsProblems, ticketsSchema, toTicketsConfig } from '../tickets/settings.ts'
import { DEFAULT_DATAGRAM_BYTES, MAX_DATAGRAM_BYTES, MIN_DATAGRAM_BYTES } from '../wire/datagram.ts'
import { PROTOCOL_VERSION } from '../wire/message.ts'
import { context, keyring, keysFileMode, nodeName, peerSource } from './config-forms.ts'

/** Name of the cache of a node that configures none. */
export const DEFAULT_CACHE_NAME = 'ssl'

const MAX_CACHES = 256
const MAX_PEERS = 1024
/** Most repeaters of a node; each of them sends every change once more. */
const MAX_REPEATERS = 8
const MAX_LISTENERS = 64
const MAX_HTTP_HOSTS = 64
const MAX_HOPS = 255
const MAX_DIGEST_INTERVAL_MS = 86_400_000

export const cacheSchema = z.strictObject({
  name: label(CACHE_NAME_PATTERN).register(notes, {
    description: 'name of the cache',
    form: 'text',
  }),
  items: integer(1, MAX_ITEMS)
    .prefault(20_000)
    .register(notes, {
      description: 'most sessions held; N holds N',
      form: `1..${MAX_ITEMS}`,
    }),
  keysize: size(1, MAX_KEYSIZE)
    .prefault(128)
    .register(notes, {
      description: 'longest session ID; those of OpenSSL have 32 bytes',
      form: `size, 1..${MAX_KEYSIZE}`,
    }),
  blocksize: size(1, MAX_BLOCKSIZE)
    .prefault('16KiB')
    .register(notes, {
      description: 'largest encoded session; memory goes by the own size of each',
      form: `size, 1..${MAX_BLOCKSIZE}`,
    }),
  memory: size(MIN_MEMORY_BYTES, MAX_MEMORY_BYTES).optional().register(notes, {
    description: 'most memory, all included; the smaller of this and `items` bounds the cache',
    form: 'size, 16MiB..1024GiB',
    fallback: 'as `items` needs',
  }),
  timeout: duration(MAX_TIMEOUT_MS).prefault('300s').register(notes, {
    description: 'longest lifetime of a session; shorter ones stay as they are',
    form: 'duration, at most 7d',
  }),
  contexts: list(context(), 1, 1024).optional().register(notes, {
    description: 'the only session ID contexts accepted; `hex:` before one that is not text',
    form: 'list of text',
    fallback: 'every one',
  }),
  full: oneOf(['evict', 'refuse']).prefault('evict').register(notes, {
    description: 'a put into a full cache pushes out the least recently used session, or fails',
    form: 'evict or refuse',
  }),
  replicate: flag().prefault(true).register(notes, {
    description: 'whether the sessions of this cache go to the peers of `replication.listen`',
    form: 'true or false',
  }),
  renew: flag().prefault(false).register(notes, {
    description: 'resumed TLS 1.3 handshakes make sessions of full lifetime, not of what is left',
    form: 'true or false',
  }),
  single_use: flag().prefault(false).register(notes, {
    description: 'a get takes a TLS 1.3 session out (RFC 8446 8.1); between nodes best effort',
    form: 'true or false',
  }),
})

/** Protocols of other programs that a listener can have; `replication.listen` has our own. */
const WIRES = ['uwsgi'] as const

const listener = z.strictObject({
  wire: oneOf(WIRES).register(notes, {
    description: 'what is spoken there: `uwsgi` is its cache-udp, plain text and not authenticated',
    form: WIRES.join(' or '),
    fallback: 'required',
  }),
  listen: hostAddress().register(notes, {
    description: 'where its datagrams come in (UDP), or the multicast group',
    form: 'host:port',
    fallback: 'required',
  }),
  peers: list(peerAddress(), 0, MAX_PEERS).optional().register(notes, {
    description: 'where changes are sent; beyond loopback, nobody else is listened to',
    form: 'list of host:port',
    fallback: 'nobody',
  }),
  cache: text().optional().register(notes, {
    description: 'the one cache that is shared there',
    form: 'name of a cache',
    fallback: 'the first one',
  }),
  insecure: flag().prefault(false).register(notes, {
    description: 'send and take sessions in clear beyond loopback',
    form: 'true or false',
  }),
  interface: multicastInterface(),
  multicast_ttl: multicastTtl(),
})

const replication = z.strictObject({
  listen: hostAddress().optional().register(notes, {
    description: 'where this node receives from its peers (UDP), or the multicast group it joins',
    form: 'host:port',
    fallback: 'required to replicate',
  }),
  peers: list(peerSource(), 0, MAX_PEERS).optional().register(notes, {
    description: 'the other nodes; own addresses may be among them, names are looked up again',
    form: 'list of host:port or dns+srv://name',
    fallback: 'nobody',
  }),
  repeaters: list(peerSource(), 0, MAX_REPEATERS).optional().register(notes, {
    description: 'where `tlscached repeat` runs: it passes everything on and knows the other nodes',
    form: 'list of host:port or dns+srv://name',
    fallback: 'none',
  }),
  keys_file: text().optional().register(notes, {
    description:
      'file of keys of the cluster, one a line, mode 0600; `tlscached keygen` makes them',
    form: 'path',
    fallback: 'no keys',
  }),
  keys_file_mode: keysFileMode(),
  keys: keyring().optional().register(notes, {
    description: 'the keys themselves, where there is no file; the first one seals, all open',
    form: 'list of base64',
    fallback: 'no keys',
    isSecret: true,
  }),
  insecure: flag().prefault(false).register(notes, {
    description: 'replicate without keys beyond loopback: whoever listens there reads sessions',
    form: 'true or false',
  }),
  interface: multicastInterface(),
  multicast_ttl: multicastTtl(),
  digest_interval: duration(MAX_DIGEST_INTERVAL_MS)
    .prefault(formatDurationMs(DEFAULT_DIGEST_INTERVAL_MS))
    .register(notes, {
      description: 'how often this node compares what it holds with one of its peers, in turn',
      form: 'duration, at most 1d',
    }),
  max_datagram: size(MIN_DATAGRAM_BYTES, MAX_DATAGRAM_BYTES)
    .prefault(DEFAULT_DATAGRAM_BYTES)
    .register(notes, {
      description: 'largest datagram sent; what is larger travels in several',
      form: `size, ${MIN_DATAGRAM_BYTES}..${MAX_DATAGRAM_BYTES}`,
    }),
  minimum_version: integer(1, PROTOCOL_VERSION)
    .prefault(1)
    .register(notes, {
      description:
        'lowest version of the protocol taken from peers; raise it when every node of the cluster is upgraded',
      form: `1..${PROTOCOL_VERSION}`,
    }),
  listeners: list(listener, 1, MAX_LISTENERS).optional().register(notes, {
    description: 'further listeners, for nodes of other programs',
    form: 'list of listeners',
    fallback: 'none',
  }),
})

export const configSchema = z
  .strictObject({
    node: z
      .strictObject({
        name: nodeName().register(notes, {
          description: 'name of this node, different on every node',
          form: 'text',
          fallback: 'the host name',
        }),
        watchdog: watchdog('serve'),
      })
      .prefault({}),
    caches: list(cacheSchema, 1, MAX_CACHES)
      .optional()
      .register(notes, {
        description: 'the caches of this node',
        form: 'list of caches',
        fallback: `[{name: ${DEFAULT_CACHE_NAME}}], with \`tickets\` none`,
      }),
    replication: replication.optional(),
    tickets: ticketsSchema.optional(),
    frontends: z
      .strictObject({
        http: frontendAddress().prefault('127.0.0.1:5080').register(notes, {
          description: 'HTTP: sessions, metrics, health; `none` for no such frontend',
          form: 'host:port or unix:/path',
        }),
        http_hosts: list(hostName(), 1, MAX_HTTP_HOSTS).optional().register(notes, {
          description:
            'names that a request may come to beside localhost and IP addresses; on loopback no others',
          form: 'list of host names',
          fallback: 'none',
        }),
        memcached: frontendAddress().optional().register(notes, {
          description: 'memcached, text and binary on one port: Apache, h2o, nghttpx',
          form: 'host:port or unix:/path',
          fallback: 'none',
        }),
        memcached_tickets: text().optional().register(notes, {
          description:
            'group of `tickets` whose keys nghttpx and h2o get over memcached; loopback or unix only',
          form: 'name of a group',
          fallback: 'none',
        }),
        sessiond: hostAddress().optional().register(notes, {
          description: 'the UDP protocol of stunnel (`sessiond =` there)',
          form: 'host:port',
          fallback: 'none',
        }),
        stats: address().optional().register(notes, {
          description: 'one JSON document per connection, the fields of uWSGI first; no sessions',
          form: 'host:port or unix:/path',
          fallback: 'none',
        }),
        uwsgi: frontendAddress().optional().register(notes, {
          description: "uWSGI's cache commands over TCP: `cache_get(key, 'name@host:port')` there",
          form: 'host:port or unix:/path',
          fallback: 'none',
        }),
        sessiond_remove: oneOf(REMOVE_POLICIES)
          .prefault('honour')
          .register(notes, {
            description:
              'whether stunnel may remove; it also does when its own small cache overflows',
            form: REMOVE_POLICIES.join(' or '),
          }),
        rpc: frontendAddress().optional().register(notes, {
          description:
            'hooks for TLS servers in other processes (`connectHooks`), upon every cache',
          form: 'host:port or unix:/path',
          fallback: 'none',
        }),
        cache: text().optional().register(notes, {
          description: 'the cache behind memcached, sessiond and uwsgi, where they name none',
          form: 'name of a cache',
          fallback: 'the first one',
        }),
        insecure: flag().prefault(false).register(notes, {
          description: 'let sessions cross the network in clear on frontends beyond loopback',
          form: 'true or false',
        }),
      })
      .prefault({}),
    log: logSection(),
  })
  .superRefine(({ tickets, frontends }, context) => {
    if (tickets === undefined) return
    const config = toTicketsConfig(tickets, frontends.memcached_tickets)
    for (const { path, message } of findTicketsProblems(config)) {
      context.addIssue({ code: 'custom', path: ['tickets', ...path], message })
    }
  })

/** Every setting of a node, in the order of the reference. */
export const settings = settingsOf(configSchema)
export const standaloneSettings = settings.filter(isStandalone)

/**
 * A configuration as it may be written, before defaults: the keys and forms of the YAML file, such as `timeout: '5m'`.
 */
export type ConfigInput = z.input<typeof configSchema>
export type ParsedConfig = z.output<typeof configSchema>

/** Whether the value of a `listen` setting is a multicast group; false for text that is no address. */
export function isMulticastListen(listen: unknown): boolean {
  try {
    return typeof listen === 'string' && isMulticast(parseHostAddress(listen).host)
  } catch {
    return false
  }
}

function multicastInterface() {
  return text().optional().register(notes, {
    description: 'address or name of the interface for the multicast group',
    form: 'text',
    fallback: 'the system decides',
  })
}

function multicastTtl() {
  return integer(0, MAX_HOPS)
    .optional()
    .register(notes, {
      description: 'routers that a multicast datagram may pass',
      form: `0..${MAX_HOPS}`,
      fallback: '1',
    })
}
