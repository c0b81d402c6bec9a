// Converts a uWSGI file to our configuration, to the options of the terminator in front of it, and to notes about
// the options that have no effect here. The order of the options makes no difference.

import { applyLogic, type Machine, openPlaceholder } from './config-logic.ts'
import { convertCaches } from './converted-caches.ts'
import { convertReplication, type Wire } from './converted-replication.ts'
import { convertTerminator, type TerminatorPlan } from './converted-terminator.ts'
import {
  type IniFile,
  type IniOption,
  type IniProblem,
  LEGACY_CACHE,
  type Note,
  toAddressText,
  wholeNumber,
} from './ini.ts'
import {
  type ConversionDraft,
  KNOWN_OPTIONS,
  OPTION_ALIASES,
  type Place,
  REPEATABLE,
  USED_OPTIONS,
  type UsedOption,
  whyMeaningless,
} from './options.ts'

export interface Conversion {
  /** The configuration with the keys of our own file. */
  readonly config: Readonly<Record<string, unknown>>
  readonly places: readonly Place[]
  readonly terminator: TerminatorPlan | undefined
  readonly notes: readonly Note[]
  readonly problems: readonly IniProblem[]
}

export interface ConversionOptions {
  /** Protocol between the nodes: `sealed` is our own, `uwsgi` is uWSGI's datagrams. */
  readonly wire: Wire
  /**
   * Whether sessions may cross the network in clear: in uWSGI's datagrams, in ours without keys, and over
   * frontends.
   */
  readonly isInsecure: boolean
  /** Machine that the conditions and placeholders of the file refer to. */
  readonly machine: Machine
  /** Address at which the terminator reaches the node. */
  readonly rpcAddress: string
  /** Returns the known word closest to an unknown one, or '' when none is near. */
  readonly nearest: (word: string, known: readonly string[]) => string
}

export function convert(source: IniFile, options: ConversionOptions): Conversion {
  const file = applyLogic(source, options.machine, (name) => KNOWN_OPTIONS.includes(name))
  const problems: IniProblem[] = [...file.problems]
  const notes = new Map<string, Note>()
  const places: Place[] = []
  const used = new Map<UsedOption, IniOption[]>()
  for (const option of file.options) {
    const { name, where } = option
    const known = USED_OPTIONS.find((one) => one === name) ?? OPTION_ALIASES.get(name)
    const why = whyMeaningless(name)
    const placeholder = openPlaceholder(option.value)
    if (known !== undefined && placeholder !== undefined) {
      problems.push({ where, key: name, message: `"${placeholder}" is not defined above it` })
    } else if (known !== undefined) used.set(known, [...(used.get(known) ?? []), option])
    else if (why !== undefined) notes.set(name, notes.get(name) ?? { option: name, where, why })
    else {
      const near = options.nearest(name, KNOWN_OPTIONS)
      const hint = near === '' ? '' : `; the nearest known one is ${near}`
      problems.push({ where, key: name, message: `unknown option${hint}` })
    }
  }
  const draft: ConversionDraft = {
    one: (name) => used.get(name)?.at(-1),
    all: (name) => used.get(name) ?? [],
    number(name, fallback) {
      const option = draft.one(name)
      const value = option === undefined ? fallback : wholeNumber(option.value)
      if (option !== undefined && value === undefined) {
        draft.report(option, `must be a whole number, not "${option.value}"`)
      }
      return value ?? fallback
    },
    report(option, message) {
      problems.push({ where: option.where, key: 'value' in option ? option.name : '', message })
    },
    note: (option, where, why) => notes.set(option, notes.get(option) ?? { option, where, why }),
    place: (path, where) => places.push({ path, where }),
  }
  for (const [name, all] of used) {
    const values = new Set(all.map(({ value }) => value))
    const last = all.at(-1)
    if (last === undefined || values.size === 1 || REPEATABLE.includes(name)) continue
    draft.report(last, 'is there twice with different values')
  }
  const caches = convertCaches(draft, options.nearest)
  if (caches.list.length === 0 && problems.length === 0) {
    problems.push({
      where: file.name,
      key: '',
      message: 'has no cache: neither `cache` nor `cache2`',
    })
  }
  const terminator = convertTerminator(draft, caches)
  const replication = convertReplication(draft, caches, options)
  const frontends = convertFrontends(
    draft,
    caches,
    options.isInsecure,
    terminator && options.rpcAddress,
  )
  const address = ownAddressOf(draft, caches, terminator)
  return {
    config: {
      // The nodes of one machine need different names.
      ...(address !== undefined && { node: { name: `${options.machine.hostName}/${address}` } }),
      ...(caches.list.length > 0 && {
        caches: caches.list.map(({ spec, timeout, full, isReplicated }) => ({
          name: spec.name,
          items: spec.items,
          keysize: spec.keysize,
          blocksize: spec.blocksize,
          timeout,
          full,
          ...(!isReplicated && { replicate: false }),
        })),
      }),
      ...(replication !== undefined && { replication }),
      frontends,
    },
    places,
    terminator,
    notes: [...notes.values()],
    problems,
  }
}

function convertFrontends(
  draft: ConversionDraft,
  caches: ReturnType<typeof convertCaches>,
  isInsecure: boolean,
  rpc: string | undefined,
) {
  const stats = draft.one('stats')
  const socket = draft.one('socket')
  if (stats !== undefined) draft.place(['frontends', 'stats'], stats.where)
  if (socket !== undefined) draft.place(['frontends', 'uwsgi'], socket.where)
  // Serves commands that name no cache. Without a legacy cache, uWSGI uses the first one of the file for them, and
  // we use the cache of TLS sessions.
  const names = caches.list.map(({ spec }) => spec.name)
  const first = names.includes(LEGACY_CACHE) ? LEGACY_CACHE : caches.sslCache
  return {
    // Several nodes may run on this machine, and nothing in their files gives each its own HTTP port.
    http: 'none',
    ...(stats !== undefined && { stats: toAddressText(stats.value) }),
    ...(socket !== undefined && { uwsgi: toAddressText(socket.value) }),
    // The other frontends listen on this machine only, or show no sessions.
    ...(socket !== undefined && isInsecure && { insecure: true }),
    ...(rpc !== undefined && { rpc }),
    ...(first !== undefined && { cache: first }),
  }
}

/**
 * Returns an address that only this node of the machine listens on, or undefined when the file has none. Wildcard
 * and multicast addresses do not count.
 */
function ownAddressOf(
  draft: ConversionDraft,
  { list }: ReturnType<typeof convertCaches>,
  terminator: TerminatorPlan | undefined,
): string | undefined {
  const servers = list.flatMap(({ spec }) => spec.udp)
  const stats = draft.one('stats')?.value
  const addresses = [terminator?.listen, ...servers.toSorted(), stats]
  return addresses.find(
    (address) =>
      address !== undefined && /^(?!0\.0\.0\.0|22[4-9]\.|23\d\.)[^:]+:\d+$/.test(address),
  )
}
