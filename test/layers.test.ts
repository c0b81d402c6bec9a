// The import table of the design: layers import downwards only, and each file says what it is for.

import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const SRC = join(ROOT, 'src')

/** What each folder of src may import from, besides itself. `types` allows type imports only. */
const TABLE: Record<
  string,
  { readonly from: readonly string[]; readonly types?: readonly string[] }
> = {
  base: { from: [] },
  streams: { from: ['base'] },
  settings: { from: ['base'] },
  session: { from: ['base'] },
  'tls-client': { from: ['base', 'session'] },
  store: { from: ['base', 'session'] },
  wire: { from: ['base', 'session', 'store'] },
  replication: { from: ['base', 'session', 'store', 'wire'] },
  tickets: { from: ['base', 'settings', 'tls-client', 'wire'] },
  hooks: { from: ['base', 'session', 'store', 'wire', 'tickets'] },
  status: { from: ['base', 'store', 'wire', 'replication'], types: ['tickets'] },
  page: { from: [], types: ['status'] },
  frontends: {
    from: ['base', 'streams', 'session', 'store', 'tickets', 'hooks', 'wire', 'uwsgi', 'status'],
    types: ['replication'],
  },
  uwsgi: { from: ['base', 'session', 'store', 'replication', 'hooks'] },
  terminator: { from: ['base', 'streams', 'settings', 'session', 'store', 'hooks'] },
  node: {
    from: [
      'base',
      'streams',
      'settings',
      'session',
      'store',
      'wire',
      'replication',
      'tickets',
      'hooks',
      'uwsgi',
      'status',
      'frontends',
    ],
  },
  prove: { from: ['base', 'session', 'tls-client'] },
  doctor: { from: ['base', 'settings', 'wire', 'replication', 'node'] },
  cli: {
    from: [
      'base',
      'streams',
      'settings',
      'session',
      'tls-client',
      'hooks',
      'wire',
      'uwsgi',
      'status',
      'node',
      'terminator',
      'prove',
      'doctor',
    ],
  },
  'index.ts': {
    from: [
      'base',
      'settings',
      'session',
      'store',
      'tickets',
      'hooks',
      'node',
      'terminator',
      'prove',
    ],
  },
}

const BANNED_NAMES = /^(utils?|helpers?|common|misc|types|manager)\.ts$/
const MAX_LINES = 400

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.tsx?$/.test(name))
    .map((name) => join(folder, name))
}

function layerOf(file: string): string {
  return relative(SRC, file).split('/')[0] ?? ''
}

interface Import {
  readonly target: string
  readonly isTypeOnly: boolean
}

function importsOf(source: string): Import[] {
  const pattern = /^(?:import|export)\s+(type\s+)?[^'"]*?from\s+'(\.[^']+)'/gm
  return [...source.matchAll(pattern)].map((match) => ({
    target: match[2] ?? '',
    isTypeOnly: match[1] !== undefined,
  }))
}

test('layers import downwards only', () => {
  const wrong: string[] = []
  for (const file of filesBelow(SRC)) {
    const layer = layerOf(file)
    const row = TABLE[layer]
    assert.ok(row !== undefined, `${layer} is not in the table`)
    for (const { target, isTypeOnly } of importsOf(readFileSync(file, 'utf8'))) {
      const imported = layerOf(resolve(dirname(file), target))
      const isAllowed =
        imported === layer ||
        row.from.includes(imported) ||
        (isTypeOnly && (row.types ?? []).includes(imported))
      if (!isAllowed) wrong.push(`${relative(ROOT, file)} imports ${imported}`)
    }
  }
  assert.deepEqual(wrong, [])
})

test('the table of src/README.md is this one', () => {
  const page = readFileSync(join(SRC, 'README.md'), 'utf8')
  const rows = [...page.matchAll(/^\| `([\w.-]+?)\/?` +\|[^|]*\|([^|]*)\|([^|]*)\|$/gm)]
  const words = (cell = '') => cell.split(' ').filter((word) => word !== '')
  const documented = rows.map(([, layer = '', from, types]) => [layer, words(from), words(types)])
  const held = Object.entries(TABLE).map(([layer, { from, types = [] }]) => [layer, from, types])
  assert.deepEqual(documented, held)
})

test('the table sees the imports that are there', () => {
  const source = readFileSync(join(SRC, 'store', 'stored-entries.ts'), 'utf8')
  assert.ok(importsOf(source).some((one) => one.target === './digest.ts' && !one.isTypeOnly))
  assert.ok(importsOf(source).some((one) => one.target.startsWith('../base/') && one.isTypeOnly))
})

test("what exists for memcached's speed has no other caller", () => {
  const callers = filesBelow(SRC)
    .filter((file) => /\.(?:together|lookupsIn|getFound)\(/.test(readFileSync(file, 'utf8')))
    .map((file) => relative(SRC, file))
  const isOwn = (file: string) => file.startsWith('frontends/memcached/fast/')
  assert.ok(callers.some(isOwn))
  assert.deepEqual(callers.filter((file) => !isOwn(file)).toSorted(), [
    'frontends/memcached/entries.ts',
    'hooks/contextless-hooks.ts',
  ])
})

test('each file is small, named after its subject, and says what it is for in its first line', () => {
  for (const file of [...filesBelow(SRC), ...filesBelow(join(ROOT, 'bench'))]) {
    const name = relative(ROOT, file)
    const source = readFileSync(file, 'utf8')
    assert.ok(!BANNED_NAMES.test(file.split('/').at(-1) ?? ''), `${name} says nothing`)
    assert.ok(source.split('\n').length <= MAX_LINES, `${name} is longer than ${MAX_LINES} lines`)
    assert.match(source, /^(#!.*\n)?\/\/ \S/, `${name} does not begin with its subject`)
  }
})

test('npm test and test:releases leave no test file out', () => {
  const folders = readdirSync(join(ROOT, 'test')).filter((folder) => {
    const path = join(ROOT, 'test', folder)
    return statSync(path).isDirectory() && readdirSync(path).some((one) => one.endsWith('.test.ts'))
  })
  const apart = folders.filter((folder) => !existsSync(join(ROOT, 'test', folder, 'all.ts')))
  assert.deepEqual(apart, ['e2e'])
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  assert.ok(
    scripts.test.endsWith(
      ' .test-build/test/*.test.js .test-build/test/e2e/*.test.js .test-build/test/*/all.js',
    ),
  )
})
