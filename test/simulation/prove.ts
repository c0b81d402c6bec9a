// Proves that the simulation finds faults: puts each of the twelve defects into a copy of the code, and runs the
// simulation there until it fails. Usage: npm run test:simulation:defects [-- NAME ...]

import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DEFECTS, type Defect, withDefect } from './defects.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const COPIED = ['src', 'test/simulation', 'test/support', 'proto', 'package.json', 'tsconfig.json']
/** Longest time for one defect, as the simulation takes it. */
const MINUTES = process.env['DEFECT_MINUTES'] ?? '5'

/** Makes a copy of the code with a defect in it; resolves with the folder. */
function copyWith(defect: Defect): string {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-defect-'))
  for (const part of COPIED) cpSync(join(ROOT, part), join(folder, part), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  const path = join(folder, 'src', defect.file)
  writeFileSync(path, withDefect(readFileSync(path, 'utf8'), defect))
  return folder
}

/** Runs the simulation in a folder; resolves with the line that says what failed, or undefined. */
function simulate(folder: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const script = join(folder, 'test/simulation/main.ts')
    const args = ['--import', 'tsx', script, '--minutes', MINUTES, '--brief']
    const child = spawn(process.execPath, args, { cwd: folder })
    let text = ''
    child.stdout.on('data', (piece: Buffer) => {
      text += piece.toString()
    })
    child.stderr.on('data', (piece: Buffer) => {
      text += piece.toString()
    })
    child.on('close', (code) => {
      const found = /^FAILED +(.*)$/m.exec(text)?.[1]
      if (found === undefined && code !== 0) process.stderr.write(text)
      resolve(found)
    })
  })
}

const wanted = process.argv.slice(2)
const chosen = DEFECTS.filter(({ name }) => wanted.length === 0 || wanted.includes(name))
let missed = 0
for (const defect of chosen) {
  const folder = copyWith(defect)
  const startMs = performance.now()
  const found = await simulate(folder).finally(() => rmSync(folder, { recursive: true }))
  const tookSec = Math.round((performance.now() - startMs) / 1000)
  if (found === undefined) missed += 1
  process.stdout.write(`${defect.name}: ${found ?? 'NOT FOUND'} (${tookSec} s)\n`)
}
process.stdout.write(`${chosen.length - missed} of ${chosen.length} defects found\n`)
process.exitCode = missed === 0 ? 0 : 1
