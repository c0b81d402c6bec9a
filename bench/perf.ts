// Whose code has the processor while a program works, by the kernel's own samples: perf(1), where it is installed and
// allowed. V8's samples do not tell the kernel from what calls it.

import { execFile, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const SAMPLES_PER_SEC = 1000
/** `  73.45%  [kernel.kallsyms]` */
const SHARE = /^\s*([\d.]+)%\s+(.+?)\s*$/

/** Of the processor time of the program, 0..1. */
export interface PerfShares {
  readonly kernel: number
  /** Node.js, V8 and libuv, and the C library. */
  readonly runtime: number
  /** What V8 compiled: ours, lru-cache's, and Node's own JavaScript. */
  readonly javaScript: number
}

/** Why perf cannot be used here, or undefined. */
export function whyWithoutPerf(): string | undefined {
  const { error, status } = spawnSync('perf', ['stat', '-e', 'cpu-clock', 'true'], {
    stdio: 'ignore',
  })
  if (error !== undefined) return 'perf is not installed'
  return status === 0 ? undefined : 'perf is not allowed here'
}

/** Looks at a running process for so long. */
export async function perfShares(pid: number, seconds: number): Promise<PerfShares> {
  const folder = mkdtempSync(join(tmpdir(), 'tlscached-perf-'))
  const file = join(folder, 'samples')
  try {
    const recording = ['-q', '-F', String(SAMPLES_PER_SEC), '-p', String(pid), '-o', file]
    await run('perf', ['record', ...recording, '--', 'sleep', String(seconds)])
    const { stdout } = await run('perf', ['report', '-i', file, '--no-children', '--sort', 'dso'])
    return sharesOf(stdout)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function sharesOf(report: string): PerfShares {
  const shares = { kernel: 0, runtime: 0, javaScript: 0 }
  for (const line of report.split('\n')) {
    const [, percent, object = ''] = SHARE.exec(line) ?? []
    if (percent !== undefined) shares[kindOf(object)] += Number(percent) / 100
  }
  return shares
}

/** Of a shared object; what V8 compiled lies in none. */
function kindOf(object: string): keyof PerfShares {
  if (object.startsWith('[kernel')) return 'kernel'
  const isFile = object === 'node' || object === '[vdso]' || object.includes('.so')
  return isFile ? 'runtime' : 'javaScript'
}
