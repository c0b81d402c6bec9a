// A program: compiles sources and tests for `npm test` into .test-build, file by file. tsx would do that in each of its
// processes, which costs each of them half a second of processor time and more.

import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build, type Plugin } from 'esbuild'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const TARGET = join(ROOT, '.test-build')
const FOLDERS = ['src', 'test']

/** Name, in each compiled module, of the constant in place of `import.meta.url`. */
const ADDRESS = '__sourceAddress'
/** Import of a module beside or above this one. */
const RELATIVE_IMPORT = /(\bfrom |\bimport |\bimport\()'(\.[^']*)\.ts'/g

/** Modules import each other as compiled, and find all other files by the address of their source. */
const sourceAddresses: Plugin = {
  name: 'source addresses',
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, ({ path }) => {
      const source = basename(path) === 'all.ts' ? folderSource(path) : readFileSync(path, 'utf8')
      const imports = source.replace(/^#!/, '//').replace(RELATIVE_IMPORT, "$1'$2.js'")
      const address = `const ${ADDRESS} = ${JSON.stringify(pathToFileURL(path).href)};`
      return { contents: `${address}${imports}`, loader: 'ts' }
    })
  },
}

/** Returns the program of all.ts with each of its imports written out, since their addresses are those of sources. */
function folderSource(path: string): string {
  const names = readdirSync(dirname(path)).filter((name) => name.endsWith('.test.ts'))
  const suites = names
    .sort()
    .map((name) => `describe('${name}', async () => { await import('./${name}') })`)
  return ["import { describe } from 'node:test'", ...suites].join('\n')
}

function sourcesIn(folder: string): string[] {
  const names = readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
  return names.filter((name) => name.endsWith('.ts')).map((name) => join(folder, name))
}

rmSync(TARGET, { recursive: true, force: true })
const { warnings } = await build({
  entryPoints: FOLDERS.flatMap(sourcesIn),
  absWorkingDir: ROOT,
  outdir: relative(ROOT, TARGET),
  outbase: '.',
  format: 'esm',
  platform: 'node',
  target: 'node20',
  sourcemap: true,
  tsconfigRaw: {},
  logLevel: 'warning',
  define: { 'import.meta.url': ADDRESS },
  plugins: [sourceAddresses],
})
if (warnings.length > 0) process.exitCode = 1
