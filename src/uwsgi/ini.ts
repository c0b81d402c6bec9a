// Reads uWSGI's ini files and the values in them, addresses and cache2: the options of the section [uwsgi], each with
// its line. Placeholders (%d, %(name), $(NAME)) are not filled in here.

export interface IniOption {
  readonly name: string
  /** Text behind the equals sign; `true` when the option is only a name. */
  readonly value: string
  /** Position in the form `file:line`. */
  readonly where: string
}

export interface IniProblem {
  readonly where: string
  /** Name of the option; empty when the problem is not about one option. */
  readonly key: string
  readonly message: string
}

export interface IniFile {
  readonly name: string
  /** The options in the order of the file; a name may occur several times. */
  readonly options: readonly IniOption[]
  readonly problems: readonly IniProblem[]
}

const SECTION = 'uwsgi'
const NO_SECTION = `has no section [${SECTION}]: it is no file of uWSGI, and no others are converted; deploy/terminators has examples for each terminator`
const BARE_VALUE = 'true'
const BYTE_ORDER_MARK = '\ufeff'

export function parseIni(text: string, file: string): IniFile {
  const options: IniOption[] = []
  const problems: IniProblem[] = []
  /** Lines before the first section; a file of another program has nothing else. */
  const stray: IniProblem[] = []
  let section: string | undefined
  let hasSection = false
  const lines = text.replace(BYTE_ORDER_MARK, '').split(/\r?\n/)
  for (const [index, raw] of lines.entries()) {
    const line = raw.trim()
    const where = `${file}:${index + 1}`
    const report = (message: string) => problems.push({ where, key: '', message })
    if (line === '' || line.startsWith(';') || line.startsWith('#')) continue
    if (line.startsWith('[')) {
      if (!line.endsWith(']')) report('a section has no closing bracket')
      section = line.slice(1, -1)
      hasSection ||= section === SECTION
      continue
    }
    if (section === undefined) {
      stray.push({ where, key: '', message: `is before any section: [${SECTION}] is missing` })
    }
    if (section !== SECTION) continue
    const equals = line.indexOf('=')
    const name = (equals === -1 ? line : line.slice(0, equals)).trim()
    if (name === '') report('an option has no name')
    else {
      const value = equals === -1 ? BARE_VALUE : line.slice(equals + 1).trim()
      options.push({ name, value, where })
    }
  }
  if (hasSection) return { name: file, options, problems: [...stray, ...problems] }
  problems.push({ where: file, key: '', message: NO_SECTION })
  return { name: file, options, problems }
}

// How uWSGI writes addresses: `host:port`, `:port` for every address of the machine, or a path.

/** Returns the address in the form of our own settings. */
export function toAddressText(name: string): string {
  if (name.startsWith('/')) return `unix:${name}`
  return name.startsWith(':') ? `0.0.0.0${name}` : name
}

// The value of uWSGI's cache2: key=value pairs with commas between, each key in several spellings.

/** Longest key, in bytes, of a cache that sets no keysize (uWSGI's default). */
export const DEFAULT_KEYSIZE = 2048
/** Largest value, in bytes, of a cache that sets no blocksize (uWSGI's default). */
export const DEFAULT_BLOCKSIZE = 65_536
/** Name of the cache that uWSGI's older option `cache` creates. */
export const LEGACY_CACHE = 'default'

export interface CacheSpec {
  readonly name: string
  readonly items: number
  readonly keysize: number
  /** Largest value in bytes. */
  readonly blocksize: number
  /** Addresses (`host:port`) that changes are sent to. */
  readonly nodes: readonly string[]
  /** Addresses (`host:port`) at which changes are received. */
  readonly udp: readonly string[]
  /** Whether a full cache evicts the least recently used session instead of refusing the new one. */
  readonly purgeLru: boolean
  readonly where: string
}

/** A known option, or a part of one, that has no effect here. */
export interface Note {
  readonly option: string
  readonly where: string
  readonly why: string
}

const SPELLINGS: Readonly<Record<string, readonly string[]>> = {
  name: ['name'],
  items: ['items', 'max_items', 'maxitems'],
  keysize: ['keysize', 'key_size'],
  blocksize: ['blocksize'],
  blocks: ['blocks'],
  bitmap: ['bitmap'],
  node: ['node', 'nodes'],
  udp: ['udp', 'udp_server', 'udp_servers', 'udpserver', 'udpservers'],
  purge_lru: ['purge_lru', 'lru'],
  sync: ['sync'],
  hash: ['hash'],
  hashsize: ['hashsize', 'hash_size'],
  lazy_expire: ['lazy_expire', 'lazy'],
  no_expire: ['no_expire'],
  sweep_on_full: ['sweep_on_full'],
  clear_on_full: ['clear_on_full'],
  ignore_full: ['ignore_full'],
  lastmod: ['lastmod'],
  store: ['store'],
  store_sync: ['store_sync', 'storesync'],
  store_delete: ['store_delete', 'storedelete'],
  math_initial: ['math_initial'],
}
const CANONICAL = new Map(
  Object.entries(SPELLINGS).flatMap(([name, all]) => all.map((spelling) => [spelling, name])),
)
export const SPEC_KEYS: readonly string[] = [...CANONICAL.keys()]

const DISK = 'sessions are never written to disk'
const SWEEP = 'every get looks at the lifetime, and a sweeper takes out what is over'
const INDEX = 'the index is our own, and grows with what is held'

const MEANINGLESS: Readonly<Record<string, string>> = {
  sync: 'a node that starts copies what its peers hold',
  hash: INDEX,
  hashsize: INDEX,
  lazy_expire: SWEEP,
  no_expire: SWEEP,
  sweep_on_full: 'what is expired always gives way first',
  clear_on_full: 'a full cache is never emptied; purge_lru makes room',
  ignore_full: 'refused sessions are counted, not logged',
  lastmod: 'it is always kept',
  store: DISK,
  store_sync: DISK,
  store_delete: DISK,
  math_initial: 'values are sessions, not numbers',
}
const HASHES = ['djb33x', 'murmur2', 'random', 'rand', 'rr']
const TRUE = ['1', 'true', 'yes', 'on']
const FALSE = ['0', 'false', 'no', 'off']

export function parseCacheSpec(
  { value: text, where }: IniOption,
  nearest: (word: string, known: readonly string[]) => string,
): { readonly spec: CacheSpec; readonly notes: readonly Note[]; readonly problems: IniProblem[] } {
  const problems: IniProblem[] = []
  const notes: Note[] = []
  const report = (message: string) => problems.push({ where, key: 'cache2', message })
  const values = new Map<string, string>()
  for (const pair of text.split(',')) {
    const [spelling = '', ...rest] = pair.trim().split('=')
    const key = CANONICAL.get(spelling.trim())
    const value = rest.length === 0 ? '1' : rest.join('=').trim()
    if (key === undefined) {
      const known = nearest(spelling.trim(), SPEC_KEYS)
      const hint = known === '' ? '' : `; the nearest known one is ${known}`
      report(`unknown key "${spelling.trim()}"${hint}`)
    } else if (values.has(key)) report(`${key} is there twice`)
    else values.set(key, value)
  }
  const number = (key: string, fallback: number) => {
    const value = values.get(key)
    if (value === undefined) return fallback
    const parsed = wholeNumber(value)
    if (parsed === undefined) report(`${key} must be a whole number, not "${value}"`)
    return parsed ?? fallback
  }
  const flag = (key: string) => {
    const value = values.get(key) ?? '0'
    const isTrue = readFlag(value)
    if (isTrue === undefined) report(`${key} must be 1 or 0, not "${value}"`)
    return isTrue ?? false
  }
  for (const key of ['name', 'items']) if (!values.has(key)) report(`${key} is missing`)
  for (const [key, why] of Object.entries(MEANINGLESS)) {
    if (values.has(key)) notes.push({ option: `cache2 ${key}`, where, why })
  }
  const hash = values.get('hash') ?? 'djb33x'
  if (!HASHES.includes(hash)) report(`hash must be one of ${HASHES.join(', ')}, not "${hash}"`)
  const items = number('items', 0)
  const blocks = number('blocks', items)
  if (blocks < items) report('there must be as many blocks as items')
  const isBitmap = flag('bitmap')
  const blockBytes = number('blocksize', DEFAULT_BLOCKSIZE)
  if (values.has('bitmap') || values.has('blocks')) {
    const why =
      'a session takes the memory it needs; with bitmap it may have the size of all blocks'
    notes.push({ option: `cache2 ${values.has('bitmap') ? 'bitmap' : 'blocks'}`, where, why })
  }
  const spec = {
    name: values.get('name') ?? '',
    items,
    keysize: number('keysize', DEFAULT_KEYSIZE),
    blocksize: isBitmap ? blocks * blockBytes : blockBytes,
    nodes: list(values.get('node')),
    udp: list(values.get('udp')),
    purgeLru: flag('purge_lru'),
    where,
  }
  return { spec, notes, problems }
}

export function wholeNumber(text: string): number | undefined {
  return /^\d{1,12}$/.test(text) ? Number(text) : undefined
}

export function readFlag(text: string): boolean | undefined {
  if (TRUE.includes(text)) return true
  return FALSE.includes(text) ? false : undefined
}

function list(text: string | undefined): string[] {
  return (text ?? '')
    .split(';')
    .map((part) => part.trim())
    .filter((part) => part !== '')
}
