// What is installed works: from a tarball and from git, each into an empty project, on the Node.js that runs this file.
// There are the command, the library with its types, and the server of the README that uses it.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { readVersion } from '../../src/base/version.ts'
import { stopProcess } from '../support/node-processes.ts'
import { startReadmeServers, untilShared } from '../support/readme-servers.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const TSC = join(ROOT, 'node_modules/typescript/bin/tsc')
const QUIET = ['--no-audit', '--no-fund', '--loglevel=error']

const CONSUMER = `import { attachSessionCache, type CacheNode, createNode } from 'tlscached'

const node: CacheNode = createNode({ caches: [{ name: 'ssl', items: 10 }] })
attachSessionCache satisfies (...args: never[]) => unknown
// @ts-expect-error a cache has a name of text: so the types are there, and are no "any"
node.hooks(1)
`
const CONSUMER_TSCONFIG = {
  compilerOptions: {
    target: 'es2023',
    lib: ['es2023'],
    module: 'nodenext',
    strict: true,
    noEmit: true,
    types: ['node'],
    typeRoots: [join(ROOT, 'node_modules/@types')],
  },
  files: ['consumer.ts'],
}

const folder = mkdtempSync(join(tmpdir(), 'tlscached-install-'))
/** What lies in this checkout, committed or not, as a clone has it: without what was built or installed here. */
const clone = join(folder, 'clone')

before(() => {
  const left = new Set(
    ['.git', '.test-build', 'node_modules', 'dist', 'coverage'].map((name) => join(ROOT, name)),
  )
  cpSync(ROOT, clone, { recursive: true, filter: (path) => !left.has(path) })
  run('git', ['init', '--quiet'], clone)
  run('git', ['add', '--all'], clone)
  const author = ['-c', 'user.name=test', '-c', 'user.email=test@localhost']
  run('git', [...author, 'commit', '--quiet', '--message=test'], clone)
})
after(() => rmSync(folder, { recursive: true, force: true }))

test('from git', async () => {
  const project = newProject('from-git')
  run('npm', ['install', ...QUIET, `git+file://${clone}`], project)
  await checkInstalled(project)
})

test('from a tarball that npm pack makes in a fresh clone', async () => {
  // One release makes it, and all install it, as users do.
  const packed = process.env['PACKED_FOLDER'] ?? folder
  const tarball = join(packed, `tlscached-${readVersion()}.tgz`)
  if (!existsSync(tarball)) {
    run('npm', ['ci', ...QUIET], clone)
    run('npm', ['pack', '--pack-destination', packed, ...QUIET], clone)
  }
  const project = newProject('from-tarball')
  run('npm', ['install', '--engine-strict', ...QUIET, tarball], project)
  await checkInstalled(project)
})

function newProject(name: string): string {
  const project = join(folder, name)
  mkdirSync(project)
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }\n')
  return project
}

async function checkInstalled(project: string): Promise<void> {
  const command = spawnSync('npx', ['--no-install', 'tlscached', '--version'], { cwd: project })
  assert.deepEqual([String(command.stdout), String(command.stderr)], [`${readVersion()}\n`, ''])

  const schema = readFileSync(
    join(project, 'node_modules/tlscached/dist/config.schema.json'),
    'utf8',
  )
  assert.match(schema, /^\{\n {2}"title": "Configuration of tlscached",/)

  const dist = join(project, 'node_modules/tlscached/dist')
  const all = readdirSync(dist, { recursive: true, encoding: 'utf8' })
  assert.ok(all.includes('index.d.ts'))
  // The sources that maps would lead to are not part of the package.
  assert.deepEqual(
    all.filter((name) => name.endsWith('.map')),
    [],
  )

  const required = `process.stdout.write(typeof require('tlscached').createNode)`
  assert.equal(
    run(process.execPath, ['--input-type=commonjs', '-e', required], project),
    'function',
  )

  const page = join(project, 'node_modules/tlscached/dist/page')
  const files = ['help.html', 'icon.svg', 'index.html', 'page.css', 'page.js']
  assert.deepEqual(readdirSync(page).toSorted(), files)

  writeFileSync(join(project, 'consumer.ts'), CONSUMER)
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify(CONSUMER_TSCONFIG))
  run(process.execPath, [TSC, '-p', '.'], project)

  const servers = await startReadmeServers(project, [])
  try {
    await untilShared(servers.ports)
  } finally {
    await Promise.all(servers.children.map((child) => stopProcess(child)))
  }
  // A node in somebody else's program logs nothing unless it is asked to, and Node.js has nothing to warn of.
  assert.equal(servers.stderr(), '')
}

/** Standard output of a command that ends with code 0; otherwise all that it said is in the error. */
function run(command: string, args: readonly string[], cwd: string): string {
  const { status, error, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' })
  if (error !== undefined) throw error
  assert.equal(status, 0, `${command} ${args.join(' ')}\n${stdout}${stderr}`)
  return stdout
}
