// The pages for developers say what is there: files, functions, layers, packages, error codes, scripts, exports.

import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ERROR_CODES } from '../src/base/errors.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const PAGES = [
  'src/README.md',
  'src/frontends/memcached/fast/README.md',
  'proto/HTTP.md',
  'test/README.md',
  'bench/README.md',
]
const PACKAGE: {
  dependencies: Record<string, string>
  devDependencies: Record<string, string>
  scripts: Record<string, string>
} = JSON.parse(read('package.json'))

function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8')
}

const HANDBOOK = read('src/README.md')

const FOLDERS = ['src', 'test', 'bench', 'proto', 'deploy']
const FILES = FOLDERS.flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map((name) =>
    join(folder, name),
  ),
)

/** Files that a page may mean by this name: a path from the root or from src, or a name that stands somewhere. */
function filesNamed(name: string): string[] {
  const isPath = name.includes('/')
  return FILES.filter((file) =>
    isPath ? file === name || file === join('src', name) : basename(file) === name,
  )
}

for (const page of PAGES) {
  test(`${page}: every link leads somewhere`, () => {
    const links = [...read(page).matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)].map(
      ([, link = '']) => link,
    )
    const local = links.filter((link) => !/^https?:/.test(link))
    assert.ok(local.length > 0)
    const missing = local.filter((link) => !existsSync(join(ROOT, dirname(page), link)))
    assert.deepEqual(missing, [])
  })

  test(`${page}: every file that is named exists`, () => {
    const named = [...read(page).matchAll(/`([\w./-]+\.(?:ts|proto|c|sh|json|md|py))`/g)]
    const missing = named
      .map(([, name = '']) => name)
      .filter((name) => !name.includes('NAME') && filesNamed(name).length === 0)
      .filter((name) => !existsSync(join(ROOT, name)))
    assert.deepEqual(missing, [])
  })

  test(`${page}: every script that is named exists`, () => {
    const named = [...read(page).matchAll(/npm run (?:-s )?([\w:]+)/g)].map(([, name = '']) => name)
    assert.deepEqual(
      named.filter((name) => !(name in PACKAGE.scripts)),
      [],
    )
  })
}

test('functions and constants are in the files that the pages name', () => {
  const said = [...HANDBOOK.matchAll(/`(#?\w+)`\s(?:in|of)\s`([\w./-]+\.ts)`/g)]
  assert.ok(said.length >= 10)
  for (const [, name = '', file = ''] of said) {
    const found = filesNamed(file).some((path) => read(path).includes(name))
    assert.ok(found, `${name} in ${file}`)
  }
})

test('no file is named twice in a row', () => {
  const pairs = [...HANDBOOK.matchAll(/`([\w/-]+\.ts)`[ \w,()]{0,40}(?=`([\w/-]+\.ts)`)/g)]
  const twice = pairs.filter(([, one = '', next = '']) => {
    return `/${one}`.endsWith(`/${next}`) || `/${next}`.endsWith(`/${one}`)
  })
  assert.deepEqual(
    twice.map(([found]) => found),
    [],
  )
})

test('every folder of src has its row', () => {
  const folders = readdirSync(join(ROOT, 'src'), { withFileTypes: true }).filter((one) =>
    one.isDirectory(),
  )
  for (const { name } of folders) assert.match(HANDBOOK, new RegExp(`^\\| \`${name}/\` `, 'm'))
})

test('every package has its reason', () => {
  const { dependencies, devDependencies } = PACKAGE
  const section = HANDBOOK.slice(HANDBOOK.indexOf('## What it is built on'))
  for (const name of Object.keys(dependencies)) {
    assert.match(section, new RegExp(`^\\| .*\`${name}\`.* \\| \\w`, 'm'))
  }
  for (const name of Object.keys(devDependencies)) assert.ok(section.includes(`\`${name}\``), name)
})

test('every error code is explained', () => {
  const section = HANDBOOK.slice(HANDBOOK.lastIndexOf('### Errors'))
  const explained = [...section.matchAll(/`(ERR_\w+)`/g)].map(([, code]) => code)
  assert.deepEqual([...new Set(explained)].sort(), Object.keys(ERROR_CODES).sort())
})

test('every name that the library exports is explained', () => {
  const section = HANDBOOK.slice(HANDBOOK.indexOf('## The library'))
  const lists = [...read('src/index.ts').matchAll(/^export (?:type )?\{([^}]*)\}/gm)]
  const names = lists.flatMap(([, list = '']) => list.match(/\b(?!type\b)\w+/g) ?? [])
  assert.ok(names.length >= 20)
  assert.deepEqual(
    names.filter((name) => !new RegExp(`\\b${name}\\b`).test(section)),
    [],
  )
})

test('every script is explained', () => {
  const text = PAGES.map(read).join('\n')
  const explained = new Set(
    [...text.matchAll(/npm (?:run )?(?:-s )?([\w:]+)/g)].map(([, one]) => one),
  )
  const own = Object.keys(PACKAGE.scripts).filter((name) => /^(test|bench|check|raise)/.test(name))
  assert.deepEqual(
    own.filter((name) => !explained.has(name)),
    [],
  )
})

test('every folder of tests and every benchmark is explained', () => {
  const tests = readdirSync(join(ROOT, 'test'), { withFileTypes: true })
  for (const { name } of tests.filter((one) => one.isDirectory())) {
    assert.ok(read('test/README.md').includes(`\`${name}/\``), name)
  }
  const tables = [...read('bench/run.ts').matchAll(/^ {2}(\w+): bench/gm)].map(
    ([, name = '']) => name,
  )
  assert.ok(tables.length >= 9)
  for (const name of tables) assert.ok(read('bench/README.md').includes(`\`${name}\``), name)
})
