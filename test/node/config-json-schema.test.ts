// The JSON Schema of the configuration file agrees with the program: in what both take, and in what both refuse.

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Ajv } from 'ajv'
import fc from 'fast-check'
import { parse } from 'yaml'
import { parseDurationMs, parseSizeBytes } from '../../src/base/bytes.ts'
import { checkConfig } from '../../src/node/config.ts'
import { configSchema, settings } from '../../src/node/config-schema.ts'
import { ConfigError } from '../../src/settings/errors.ts'
import { jsonSchemaOf } from '../../src/settings/schema.ts'
import { mistakes } from '../support/config-mistakes.ts'

const ROOT = new URL('../../', import.meta.url)
const SCHEMA = jsonSchemaOf(configSchema, 'Configuration of tlscached')
const ajv = new Ajv({ allErrors: true, allowUnionTypes: true })
// Editors show it in place of the pattern.
ajv.addKeyword('patternErrorMessage')
const isValid = ajv.compile(SCHEMA)

/** Mistakes that no JSON Schema sees, and why. */
const BEYOND: Readonly<Record<string, readonly string[]>> = {
  'what YAML itself forbids': ['a key there twice', 'a tag that YAML does not know'],
  'a bound of what is given as text': ['a duration above the limit'],
  'a rule between two settings': [
    'a frontend beyond loopback whose protocol protects nothing',
    'an rpc frontend beyond loopback, which protects nothing either',
    'a frontend on a cache that is not there',
    'a cache there twice',
    'a listener that sends in clear',
    'a listener on a cache that is not there',
    'a listener with a group and peers',
    'our own replication without an address beside a listener',
    'replication that listens nowhere',
    'peers of a multicast group',
    'repeaters of a multicast group',
    'multicast settings without a group',
    'keys and a file of keys',
    'a wait that is longer than the interval of keys',
    'a wait that is too short for a terminator that polls',
    'tickets that live longer than a terminator holds keys',
    'two groups of one name',
    'a target of a group that is not there',
    'a frontend of a cache on a node with tickets alone',
    'ticket keys over memcached of a group that is not there',
    'ticket keys over memcached without memcached',
    'ticket keys over memcached beyond loopback, where sessions may go in clear',
    'a wait that is too short for those who read keys over memcached',
  ],
}
const beyond = new Set(Object.values(BEYOND).flat())

/** What the program says of rules between two settings. */
const RULES = [
  /^is required$/,
  /^there is no (cache|group) "/,
  /^".*" is the name of (caches|groups)\[/s,
  /^must (be at least|not be longer than) /,
  /^(sessions|ticket keys) would cross the network in clear/,
  /^needs memcached/,
  /^excludes? /,
  /^is only for a multicast listen address$/,
]

function problemsOf(config: Readonly<Record<string, unknown>>): readonly string[] {
  try {
    checkConfig(config, 'host')
    return []
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    return error.problems.map(({ message }) => message)
  }
}

function assertValid(name: string, yaml: string): void {
  assert.ok(isValid(parse(yaml)), `${name}: ${ajv.errorsText(isValid.errors)}`)
}

test('every example is valid', () => {
  const read = (name: string) => readFileSync(new URL(name, ROOT), 'utf8')
  const below = readdirSync(new URL('deploy', ROOT), { recursive: true, encoding: 'utf8' })
  const names = ['README.md', ...below.map((name) => `deploy/${name}`)]
  const files = names.filter((name) => /\/tlscached\.ya?ml$/.test(name))
  assert.ok(files.length >= 6)
  for (const name of files) assertValid(name, read(name))

  const blocks = names
    .filter((name) => name.endsWith('.md'))
    .flatMap((name) =>
      [...read(name).matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, yaml = '']) => ({ name, yaml })),
    )
    .filter(({ yaml }) => !yaml.startsWith('# terminate.yaml\n'))
  assert.ok(blocks.length >= 3)
  for (const { name, yaml } of blocks) assertValid(name, yaml)
})

test('an empty file and an empty section are valid, as they are to the program', () => {
  assertValid('empty', '# nothing yet\n')
  const sections = Object.keys(SCHEMA.properties ?? {})
  assertValid('sections', sections.map((name) => `${name}:\n`).join(''))
  assert.deepEqual(problemsOf(Object.fromEntries(sections.map((name) => [name, null]))), [])
})

test('what else is beyond the schema is named, and still a mistake', () => {
  const names = mistakes.map(({ name }) => name)
  assert.equal(new Set(names).size, names.length)
  assert.deepEqual(
    [...beyond].filter((name) => !names.includes(name)),
    [],
  )
})

for (const { name, yaml } of mistakes) {
  if (BEYOND['what YAML itself forbids']?.includes(name)) continue
  test(`${beyond.has(name) ? 'taken' : 'refused'}: ${name}`, () => {
    assert.equal(isValid(parse(yaml)), beyond.has(name))
  })
}

/** The parts of the schema by the key that a setting has; an element of a list has the key of the list and `[]`. */
function partsOf(part: unknown, key: string): [string, Part][] {
  if (typeof part !== 'object' || part === null) return []
  const whole: Part = part
  const inner = Object.entries(whole.properties ?? {}).flatMap(([name, one]) =>
    partsOf(one, key === '' ? name : `${key}.${name}`),
  )
  const kinds = (whole.oneOf ?? []).flatMap((one) => partsOf(one, key).slice(1))
  return [[key, whole], ...inner, ...kinds, ...partsOf(whole.items, `${key}[]`)]
}

interface Part {
  readonly description?: string
  readonly default?: unknown
  readonly examples?: readonly unknown[]
  readonly enum?: readonly unknown[]
  readonly properties?: object
  readonly items?: unknown
  /** The kinds of an element. */
  readonly oneOf?: readonly unknown[]
}

const parts = partsOf(SCHEMA, '')

test('every setting says what it is, and its default where that is a value', () => {
  for (const { key, description, fallback, defaultText } of settings) {
    // A field of several kinds of targets means another thing in each.
    const [, part] = parts.find(
      ([name, one]) => name === key && one.description?.startsWith(description),
    ) ?? [key, undefined]
    assert.ok(part !== undefined, key)
    const hasValue = defaultText !== undefined && fallback === undefined
    assert.equal(part?.default !== undefined, hasValue, key)
  }
})

const TARGETS = 'tickets.targets[]'

/** What an editor offers to write, with the key of the setting that takes it. */
const offered = parts.flatMap(([key, part]) => {
  // What a target has depends on its kind: the next test has one of each.
  if (key.startsWith(`${TARGETS}.`)) return []
  const values = [...(part.examples ?? []), ...(part.enum ?? [])]
  if (part.default !== undefined) values.push(part.default)
  return values.map((value): [string, unknown] =>
    key.endsWith('[]') ? [key.slice(0, -2), [value]] : [key, value],
  )
})

test('what an editor offers is valid', () => {
  assert.ok(offered.length > 40)
  for (const [key, value] of offered) {
    const config = configOf(key, value)
    assert.ok(isValid(config), `${key}: ${ajv.errorsText(isValid.errors)}`)
    const problems = problemsOf(config).filter((one) => !RULES.some((rule) => rule.test(one)))
    assert.deepEqual(problems, [], key)
  }
})

test('a target of each kind is valid with what it needs, and with all that an editor offers', () => {
  const [, schema] = parts.find(([key]) => key === TARGETS) ?? []
  const kinds = (schema?.oneOf ?? []).map((one) => new Map(partsOf(one, '')))
  assert.ok(kinds.length >= 11)
  for (const kind of kinds) {
    const required = new Set(Reflect.get(kind.get('') ?? {}, 'required') as readonly string[])
    const least: Record<string, unknown> = { group: 'www' }
    for (const name of required) {
      least[name] ??= name === 'kind' ? Reflect.get(kind.get(name) ?? {}, 'const') : '/run/keys'
      if (['namespace', 'secret'].includes(name)) least[name] = 'tickets'
    }
    // Demanded by rules of these kinds.
    if (least['kind'] === 'apache') least['insecure'] = true
    if (least['kind'] === 'kubernetes-secret') least['allow_disk'] = true
    for (const [name, part] of kind) {
      for (const value of [undefined, ...(part.examples ?? []), ...(part.enum ?? [])]) {
        if (name.includes('.') || name === '') continue
        const target = value === undefined ? least : { ...least, [name]: value }
        const config = { tickets: { groups: [{ name: 'www' }], targets: [target] } }
        assert.ok(isValid(config), `${JSON.stringify(target)}: ${ajv.errorsText(isValid.errors)}`)
        const rules = problemsOf(config).filter((problem) => !isBeyondForm(problem, [value]))
        assert.deepEqual(rules, [], JSON.stringify(target))
      }
    }
  }
})

/** A valid configuration with one setting changed; in a list, with that of its first element. */
function configOf(key: string, value: unknown, base = validConfig()): Record<string, unknown> {
  const parts = key.replaceAll('[]', '.0').split('.')
  let section: object = base
  for (const part of parts.slice(0, -1)) section = Object(Reflect.get(section, part))
  Reflect.set(section, parts.at(-1) ?? '', value)
  return base
}

function validConfig(): Record<string, unknown> {
  const listen = '127.0.0.1:7171'
  return {
    node: {},
    caches: [{ name: 'ssl' }],
    replication: { listen, listeners: [{ wire: 'uwsgi', listen: '127.0.0.1:7272' }] },
    frontends: {},
    tickets: {
      groups: [{ name: 'www' }],
      targets: [{ kind: 'nginx', group: 'www', dir: '/run/a' }],
    },
    log: {},
  }
}

const written = fc.oneof(
  fc.constantFrom('ssl', 'none', 'evict', 'honour', 'json', 'info', 'private', 'uwsgi', 'a b', ''),
  fc.constantFrom(
    '127.0.0.1:1',
    '[::1]:65535',
    '[::1%eth0]:1',
    '*:1',
    'a.test:0',
    '127.0.0.1:65536',
  ),
  fc.constantFrom(
    '[12]:1',
    '[::1]',
    'unix:/a',
    'unix:a',
    'unix:7',
    '/a',
    'dns+srv://a.test.',
    'DNS+srv://a',
  ),
  fc.constantFrom('dns+srv://-a', 'dns+srv://a:1', '225.1.1.1:7', '10.0.0.1:7', 'shop:00080'),
  fc.constantFrom(
    '5m',
    '0s',
    '9d',
    '2s',
    '1w',
    '300',
    '0',
    '00',
    '0m',
    '4KiB',
    '0B',
    '4kb',
    '1GiB',
    '100B',
  ),
  fc.constantFrom('hex:', 'hex:0g', 'hex:0a', 'hex:123', 'x'.repeat(32), 'x'.repeat(33)),
  fc.constantFrom(Buffer.alloc(32, 7).toString('base64'), `${'A'.repeat(42)}B=`, 'c2VjcmV0'),
  fc.string({ unit: fc.constantFrom(...'01:[].%/*@ -_aFghmsKiB'), maxLength: 8 }),
)
const plain = fc.oneof(
  { weight: 6, arbitrary: written },
  {
    weight: 1,
    arbitrary: fc.constantFrom(true, false, null, 0, 1, -1, 1.5, 2, 64, 300, 4096, 1e7, 1e15),
  },
)
const value = fc.oneof(
  { weight: 4, arbitrary: plain },
  { weight: 1, arbitrary: fc.array(plain, { maxLength: 3 }) },
  { weight: 1, arbitrary: fc.constantFrom({}, [{}], { name: 'a' }, [{ name: 'a' }]) },
)
const key = fc.constantFrom(...settings.map((setting) => setting.key), 'frontends.nothing')
const change = fc.oneof(fc.tuple(key, value), fc.constantFrom(...offered))

/** Whether this is about a rule, a bound of what is given as text, or the digits of an IPv6 address. */
function isBeyondForm(problem: string, values: readonly unknown[]): boolean {
  if (RULES.some((rule) => rule.test(problem))) return true
  const texts = values.flat().filter((one) => typeof one === 'string')
  if (/^must be (0 \(off\) or )?a duration/.test(problem)) {
    return texts.some((text) => parseDurationMs(text) !== undefined)
  }
  if (/^must be a size/.test(problem))
    return texts.some((text) => parseSizeBytes(text) !== undefined)
  return /^"\[[^"]*\]:\d+" is not host:port/.test(problem)
}

test('the program takes what the schema takes, but for rules, and the schema refuses nothing else', () => {
  const seen = { taken: 0, refused: 0 }
  fc.assert(
    fc.property(fc.oneof(fc.tuple(change), fc.tuple(change, change)), (changes) => {
      const config = changes.reduce(
        (base, [name, to]) => configOf(name, structuredClone(to), base),
        validConfig(),
      )
      const problems = problemsOf(config)
      if (isValid(config)) {
        seen.taken += 1
        const values = changes.map(([, to]) => to)
        assert.deepEqual(
          problems.filter((problem) => !isBeyondForm(problem, values)),
          [],
        )
      } else {
        seen.refused += 1
        assert.notDeepEqual(problems, [], ajv.errorsText(isValid.errors))
      }
    }),
    { seed: 21, numRuns: 2000 },
  )
  assert.ok(seen.taken > 400 && seen.refused > 400, JSON.stringify(seen))
})

test('the build writes it where an editor finds it', () => {
  const file = fileURLToPath(new URL('dist/config.schema.json', ROOT))
  assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), SCHEMA)
})
