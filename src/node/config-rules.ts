// What two settings say about each other; each setting by itself is the schema's business.

import { isLoopback, parseAddress } from '../base/address.ts'
import { DEFAULT_CACHE_NAME, isMulticastListen, NONE } from './config-schema.ts'
import { type ConfigTree, isSection } from './config-tree.ts'

/** Works on what was written, so that these problems are found beside those of the schema. */
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
  const has = (name: string) => replication[name] !== undefined && replication[name] !== null
  if (has('keys') && has('keys_file')) {
    tree.report(['replication', 'keys'], 'excludes keys_file: give one of the two')
  }
  if (!has('listen')) return
  if (isMulticastListen(replication['listen'])) {
    for (const name of ['peers', 'repeaters']) {
      if (!has(name)) continue
      const message = 'exclude a multicast listen address: the group is the list of peers'
      tree.report(['replication', name], message)
    }
    return
  }
  for (const name of ['interface', 'multicast_ttl']) {
    if (has(name)) tree.report(['replication', name], 'is only for a multicast listen address')
  }
}

function checkFrontends(tree: ConfigTree): void {
  const { frontends, caches } = tree.root
  if (!isSection(frontends)) return
  const { cache } = frontends
  if (typeof cache === 'string') {
    const names = Array.isArray(caches)
      ? caches.map((one) => (isSection(one) ? one['name'] : undefined))
      : [DEFAULT_CACHE_NAME]
    if (!names.includes(cache)) tree.report(['frontends', 'cache'], `there is no cache "${cache}"`)
  }
  for (const name of ['memcached', 'sessiond', 'rpc']) {
    const address = frontends[name]
    if (frontends['insecure'] === true || typeof address !== 'string') continue
    if (isBeyondLoopback(address)) {
      const message =
        'sessions would cross the network in clear: use loopback or a unix socket, or set insecure'
      tree.report(['frontends', name], message)
    }
  }
}

/** What is no address at all is the schema's business. */
function isBeyondLoopback(text: string): boolean {
  try {
    return text !== NONE && !isLoopback(parseAddress(text))
  } catch {
    return false
  }
}
