// Checks the rules between settings; the schema checks each setting by itself.

import { isLoopback, parseAddress } from '../base/address.ts'
import { NONE } from '../settings/forms.ts'
import type { ConfigPath } from '../settings/schema.ts'
import { type ConfigTree, isSection } from '../settings/sources.ts'
import { DEFAULT_CACHE_NAME, isMulticastListen } from './config-schema.ts'

/**
 * Reports settings that contradict each other. It reads the written values, so that these problems are found together
 * with those of the schema.
 */
export function checkRules(tree: ConfigTree): void {
  checkCacheNames(tree)
  checkReplication(tree)
  checkFrontends(tree)
}

function checkCacheNames(tree: ConfigTree): void {
  const { caches } = tree.root
  if (!Array.isArray(caches)) return
  const firstIndex = new Map<string, number>()
  for (const [index, cache] of caches.entries()) {
    const name = isSection(cache) ? cache['name'] : undefined
    if (typeof name !== 'string') continue
    const first = firstIndex.get(name)
    if (first === undefined) firstIndex.set(name, index)
    else tree.report(['caches', index, 'name'], `"${name}" is the name of caches[${first}] already`)
  }
}

function checkReplication(tree: ConfigTree): void {
  const { replication } = tree.root
  if (!isSection(replication)) return
  const has = hasIn(replication)
  const { listeners } = replication
  if (Array.isArray(listeners)) {
    for (const [index] of listeners.entries()) checkListener(tree, listeners[index], index)
  }
  if (has('keys') && has('keys_file')) {
    tree.report(['replication', 'keys'], 'excludes keys_file: give one of the two')
  }
  if (has('listen')) checkMulticast(tree, replication, ['replication'])
  // A section with nothing but `listeners` needs no `listen`: every other setting is about our own nodes.
  else if (!has('listeners') || Object.keys(replication).some((name) => name !== 'listeners')) {
    tree.report(['replication', 'listen'], 'is required')
  }
}

function checkMulticast(
  tree: ConfigTree,
  section: Readonly<Record<string, unknown>>,
  path: ConfigPath,
): void {
  const has = hasIn(section)
  if (isMulticastListen(section['listen'])) {
    for (const name of ['peers', 'repeaters']) {
      if (!has(name)) continue
      const message = 'exclude a multicast listen address: the group is the list of peers'
      tree.report([...path, name], message)
    }
    return
  }
  for (const name of ['interface', 'multicast_ttl']) {
    if (has(name)) tree.report([...path, name], 'is only for a multicast listen address')
  }
}

function checkListener(tree: ConfigTree, listener: unknown, index: number): void {
  if (!isSection(listener)) return
  const path = ['replication', 'listeners', index]
  const { cache, listen, peers, insecure } = listener
  if (hasIn(listener)('listen')) checkMulticast(tree, listener, path)
  if (typeof cache === 'string') checkCacheName(tree, cache, [...path, 'cache'])
  const addresses = [listen, ...(Array.isArray(peers) ? peers : [])]
  const exposed = addresses.find(
    (address) => typeof address === 'string' && isBeyondLoopback(address),
  )
  if (insecure === true || exposed === undefined) return
  const message = `sessions would cross the network in clear with ${exposed}: this wire has no keys, set insecure to use it all the same`
  tree.report(path, message)
}

function hasIn(section: Readonly<Record<string, unknown>>): (name: string) => boolean {
  return (name) => section[name] !== undefined && section[name] !== null
}

function checkFrontends(tree: ConfigTree): void {
  const { frontends } = tree.root
  if (!isSection(frontends)) return
  const { cache } = frontends
  if (typeof cache === 'string') checkCacheName(tree, cache, ['frontends', 'cache'])
  for (const name of ['memcached', 'sessiond', 'uwsgi']) {
    const isThere = hasIn(frontends)(name) && frontends[name] !== NONE
    if (!isThere || cacheNames(tree).length > 0) continue
    tree.report(
      ['frontends', name],
      'serves a cache, and a node with tickets alone has none: give caches',
    )
  }
  checkMemcachedTickets(tree, frontends)
  for (const name of ['memcached', 'sessiond', 'rpc', 'uwsgi']) {
    const address = frontends[name]
    if (frontends['insecure'] === true || typeof address !== 'string') continue
    if (isBeyondLoopback(address)) {
      const message =
        'sessions would cross the network in clear: use loopback or a unix socket, or set insecure'
      tree.report(['frontends', name], message)
    }
  }
}

function checkMemcachedTickets(tree: ConfigTree, frontends: Readonly<Record<string, unknown>>) {
  const { memcached, memcached_tickets: group } = frontends
  if (typeof group !== 'string') return
  const path = ['frontends', 'memcached_tickets']
  const { tickets } = tree.root
  const groups = isSection(tickets) && Array.isArray(tickets['groups']) ? tickets['groups'] : []
  if (!groups.some((one) => isSection(one) && one['name'] === group)) {
    tree.report(path, `there is no group "${group}" in tickets.groups`)
  }
  if (typeof memcached !== 'string' || memcached === NONE) {
    tree.report(path, 'needs memcached, over which the keys are served')
  } else if (isBeyondLoopback(memcached)) {
    const message =
      'ticket keys would cross the network in clear, which insecure does not allow: let memcached listen on loopback or a unix socket'
    tree.report(path, message)
  }
}

function checkCacheName(tree: ConfigTree, name: string, path: ConfigPath): void {
  if (!cacheNames(tree).includes(name)) tree.report(path, `there is no cache "${name}"`)
}

function cacheNames(tree: ConfigTree): readonly unknown[] {
  const { caches, tickets } = tree.root
  if (Array.isArray(caches)) return caches.map((one) => (isSection(one) ? one['name'] : undefined))
  return tickets === undefined || tickets === null ? [DEFAULT_CACHE_NAME] : []
}

/** Whether the text is an address beyond loopback; false for text that is no address, which the schema reports. */
function isBeyondLoopback(text: string): boolean {
  try {
    return text !== NONE && !isLoopback(parseAddress(text))
  } catch {
    return false
  }
}
