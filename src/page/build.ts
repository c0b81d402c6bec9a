// Builds the page: bundles its code and style, and makes the help out of the documentation.

import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { Marked } from 'marked'

const ROOT = new URL('../../', import.meta.url)
const SOURCE = new URL('src/page/', ROOT)
const TARGET = new URL('dist/page/', ROOT)
const HELP = 'deploy/troubleshooting.md'

const pathOf = (url: URL) => fileURLToPath(url)

rmSync(TARGET, { recursive: true, force: true })
mkdirSync(TARGET, { recursive: true })
await build({
  entryPoints: [
    { in: pathOf(new URL('main.tsx', SOURCE)), out: 'page' },
    { in: pathOf(new URL('page.css', SOURCE)), out: 'page' },
  ],
  outdir: pathOf(TARGET),
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  legalComments: 'none',
  banner: { js: '/* tlscached; with preact, MIT License, Copyright Jason Miller */' },
  tsconfigRaw: {},
  logLevel: 'warning',
})
for (const file of ['index.html', 'icon.svg'])
  copyFileSync(new URL(file, SOURCE), new URL(file, TARGET))
writeFileSync(new URL('help.html', TARGET), helpPage(readFileSync(new URL(HELP, ROOT), 'utf8')))

/** Returns the documentation as a page. What it links to outside of itself is named, since only this page is served. */
function helpPage(markdown: string): string {
  let section = ''
  let tables = 0
  const marked = new Marked({
    renderer: {
      heading({ tokens, depth, text }) {
        section = text
        tables = 0
        const inner = this.parser.parseInline(tokens)
        return `<h${depth} id="${sectionOf(text)}">${inner}</h${depth}>\n`
      },
      link({ href, tokens }) {
        const inner = this.parser.parseInline(tokens)
        return href.startsWith('#')
          ? `<a href="${href}">${inner}</a>`
          : `${inner} (<code>${href}</code>)`
      },
      table(token) {
        const cells = (row: typeof token.header, name: string) =>
          row.map(({ tokens }) => `<${name}>${this.parser.parseInline(tokens)}</${name}>`).join('')
        const body = token.rows.map((row) => `<tr>${cells(row, 'td')}</tr>`).join('\n')
        tables += 1
        const label = `${section}: table ${tables}`
        return `<div class="scroll" tabindex="0" role="region" aria-label="${label}"><table><thead><tr>${cells(token.header, 'th')}</tr></thead><tbody>${body}</tbody></table></div>`
      },
      code({ text }) {
        const escaped = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
        return `<pre tabindex="0"><code>${escaped}</code></pre>\n`
      },
    },
  })
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>Troubleshooting tlscached</title>
    <link rel="icon" href="icon.svg" type="image/svg+xml">
    <link rel="stylesheet" href="page.css">
  </head>
  <body>
    <main class="help">
      <p><a href="..">Back to the cluster</a></p>
      ${marked.parse(markdown, { async: false })}
    </main>
  </body>
</html>
`
}

/** The name of a section, as GitHub makes it out of its heading. */
function sectionOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(' ', '-')
}
