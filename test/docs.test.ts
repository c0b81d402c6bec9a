// All documents: links lead somewhere, examples name commands, flags, scripts and settings that exist, and pages stay narrow.

import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { checkConfig } from '../src/node/config.ts'
import { standaloneSettings } from '../src/node/config-schema.ts'
import { readTerminatorSettings } from '../src/terminator/settings.ts'
import { startCommandLine } from './support/command-line.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const PACKAGE: { scripts: Record<string, string> } = JSON.parse(
  readFileSync(join(ROOT, 'package.json'), 'utf8'),
)
const MAX_README_LINES = 180
/** A line of prose; tables, headings and what is between fences are as wide as they have to be. */
const MAX_LINE_CHARACTERS = 130
/** Written by `npm run bench`. */
const GENERATED = new Set(['bench/RESULTS.md'])

interface Document {
  /** Path below the root of the project. */
  readonly path: string
  readonly text: string
  /** What is between fences, with its language. */
  readonly blocks: readonly { readonly language: string; readonly text: string }[]
  /** The text without what is between fences. */
  readonly prose: string
}

const documents = ['.', 'bench', 'deploy', 'proto', 'src', 'test'].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: folder !== '.', encoding: 'utf8' })
    .filter((name) => name.endsWith('.md') && !name.includes('node_modules'))
    .map((name) => readDocument(join(ROOT, folder, name))),
)

function readDocument(path: string): Document {
  const text = readFileSync(path, 'utf8')
  const fence = /^```(\w*).*\n([\s\S]*?)^```$/gm
  const blocks = [...text.matchAll(fence)].map(([, language = '', body = '']) => ({
    language,
    text: body,
  }))
  return { path: relative(ROOT, path), text, blocks, prose: text.replaceAll(fence, '') }
}

/** The anchors of a page, as GitHub makes them of its headings. */
function anchorsOf({ prose }: Document): Set<string> {
  const anchors = new Set<string>()
  for (const [, heading = ''] of prose.matchAll(/^#{1,6} (.+)$/gm)) {
    const slug = heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-')
    let anchor = slug
    for (let count = 1; anchors.has(anchor); count += 1) anchor = `${slug}-${count}`
    anchors.add(anchor)
  }
  return anchors
}

/** Inline links and definitions of references. */
function linksOf({ prose }: Document): string[] {
  const inline = [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
  const definitions = [...prose.matchAll(/^\[[^\]]+\]: (\S+)$/gm)]
  return [...inline, ...definitions].map(([, link = '']) => link)
}

/** Narrowest width of a table, each cell broken between all words: of GitHub's fonts at 16 pixels, from above. */
function leastPixels(table: string): number {
  const widths: number[] = []
  for (const row of table.trim().split('\n')) {
    if (/^\|[ |-]*$/.test(row)) continue
    const cells = row.split(/(?<!\\)\|/).slice(1, -1)
    for (const [column, cell] of cells.entries()) {
      const shown = cell.replaceAll(/\]\([^)]*\)|\]\[[^\]]*\]|\[/g, '').split(/\s+/)
      const longest = Math.max(...shown.map((word) => word.replaceAll('`', '').length))
      widths[column] = Math.max(widths[column] ?? 0, longest)
    }
  }
  const PIXELS_OF_CHARACTER = 8.2
  const PIXELS_BESIDE_CELL = 39
  return widths.reduce((sum, width) => sum + width * PIXELS_OF_CHARACTER + PIXELS_BESIDE_CELL, 0)
}

function checkTerminator(root: Record<string, unknown>): void {
  readTerminatorSettings({ converted: { root, places: [], problems: [] } })
}

/** Whole commands of the shell: continued lines are one, comments are none. */
function commandsOf({ blocks }: Document): string[] {
  return blocks
    .filter(({ language }) => language === 'sh' || language === 'text')
    .flatMap(({ text }) => text.replaceAll('\\\n', ' ').split('\n'))
    .map((line) => line.replace(/(^|\s)#.*$/, ''))
}

describe('documents', () => {
  test('there are those that the README leads to', () => {
    for (const path of ['README.md', 'deploy/README.md', 'deploy/uwsgi/README.md']) {
      assert.ok(
        documents.some((document) => document.path === path),
        path,
      )
    }
  })

  test('every link leads to a file, and every anchor to a heading', () => {
    let count = 0
    for (const document of documents) {
      for (const link of linksOf(document)) {
        if (/^[a-z]+:/.test(link)) continue
        const [file = '', anchor] = link.split('#')
        const path = file === '' ? document.path : join(dirname(document.path), file)
        assert.ok(existsSync(join(ROOT, path)), `${document.path}: there is no ${link}`)
        count += 1
        if (anchor === undefined) continue
        const target = readDocument(join(ROOT, path))
        assert.ok(anchorsOf(target).has(anchor), `${document.path}: no heading of ${link}`)
      }
    }
    assert.ok(count > 0)
  })

  test('every reference has its definition', () => {
    for (const { path, prose } of documents) {
      const defined = new Set([...prose.matchAll(/^\[([^\]]+)\]: /gm)].map(([, name]) => name))
      for (const [, name = ''] of prose.matchAll(/\]\[([^\]]+)\]/g)) {
        assert.ok(defined.has(name), `${path}: [${name}]`)
      }
    }
  })

  test('the README is short, and lines of prose are', () => {
    const readme = readDocument(join(ROOT, 'README.md'))
    assert.ok(readme.text.split('\n').length - 1 <= MAX_README_LINES)
    for (const { path, prose } of documents) {
      if (GENERATED.has(path) || !(path === 'README.md' || path.startsWith('deploy/'))) continue
      for (const line of prose.split('\n')) {
        const isFree = line.startsWith('|') || line.startsWith('<!--')
        assert.ok(isFree || line.length <= MAX_LINE_CHARACTERS, `${path}: ${line}`)
      }
    }
  })

  test('every table fits a page of 980 pixels', () => {
    for (const { path, prose } of documents) {
      if (GENERATED.has(path)) continue
      for (const [table = ''] of prose.matchAll(/(?:^\|.*\n)+/gm)) {
        const [first = ''] = table.split('\n')
        assert.ok(leastPixels(table) <= 980, `${path}: ${leastPixels(table)} pixels: ${first}`)
      }
    }
  })

  test('every script of npm that is named exists', () => {
    for (const { path, text } of documents) {
      for (const [, name = ''] of text.matchAll(/\bnpm run (?:-s |--silent )?([\w:]+)/g)) {
        assert.ok(name in PACKAGE.scripts, `${path}: npm run ${name}`)
      }
    }
  })

  test('every YAML block is a configuration without a mistake', () => {
    let count = 0
    for (const { path, blocks } of documents) {
      for (const { language, text } of blocks) {
        if (language !== 'yaml') continue
        const isTerminator = text.startsWith('# terminate.yaml\n')
        const check = isTerminator ? checkTerminator : (root: object) => checkConfig(root, 'host')
        assert.doesNotThrow(() => check(parse(text)), `${path}:\n${text}`)
        count += 1
      }
    }
    assert.ok(count >= 3)
  })

  test('every setting that is named as code exists', () => {
    const known = new Set(standaloneSettings.map(({ key }) => key))
    const files = /\.(?:ts|js|mjs|proto|test|load|network)$/
    for (const { path, prose } of documents) {
      for (const [, key = ''] of prose.matchAll(/`((?:replication|frontends|log)\.[a-z_]+)/g)) {
        assert.ok(known.has(key) || files.test(key), `${path}: ${key}`)
      }
    }
  })

  test('every command and flag of tlscached exists', async () => {
    const run = startCommandLine()
    const used = new Map<string, Set<string>>()
    for (const document of documents) {
      for (const line of commandsOf(document)) {
        const call =
          /(?:^|[|&;(]\s*|\bexec )\s*(?:tlscached|npm run -s tlscached --) (\w+)(.*)/.exec(line)
        if (call === null) continue
        const [, command = '', rest = ''] = call
        const flags = used.get(command) ?? new Set()
        used.set(command, flags)
        for (const [, flag = ''] of rest.matchAll(/\s(--[a-z][\w-]*)/g)) flags.add(flag)
      }
    }
    assert.ok(used.size >= 8)
    await Promise.all(
      [...used].map(async ([command, flags]) => {
        const { code, stdout } = await run(['help', command])
        assert.equal(code, 0, command)
        const known = new Set([...stdout.matchAll(/(--[a-z][\w-]*)/g)].map(([flag]) => flag))
        for (const flag of flags) assert.ok(known.has(flag), `tlscached ${command} ${flag}`)
      }),
    )
  })
})
