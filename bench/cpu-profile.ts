// Reads what `node --cpu-prof` wrote: in which functions a process spent its time, in a part of its life.
// https://chromedevtools.github.io/devtools-protocol/tot/Profiler/#type-Profile

import { readdirSync, readFileSync } from 'node:fs'
import { findSourceMap } from 'node:module'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

interface CallFrame {
  readonly functionName: string
  /** Empty for what is not JavaScript. */
  readonly url: string
  /** Both from 0. */
  readonly lineNumber: number
  readonly columnNumber: number
}

interface CpuProfile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: CallFrame }[]
  /** CLOCK_MONOTONIC, as that of process.hrtime, in microseconds. */
  readonly startTime: number
  /** IDs of nodes. */
  readonly samples: readonly number[]
  /** From each sample's predecessor to it, in microseconds; the first from the start. */
  readonly timeDeltas: readonly number[]
}

/** Part of a life, in microseconds of CLOCK_MONOTONIC. */
export type Period = readonly [fromUs: number, toUs: number]

export interface Profiled {
  /** What the process was not idle of the period, 0..1. */
  readonly busyShare: number
  /** Those with most time of their own, calls of others left out, first. Shares of the busy time, 0..1. */
  readonly functions: readonly { readonly name: string; readonly share: number }[]
}

const PROJECT = fileURLToPath(new URL('..', import.meta.url))
const IDLE = '(idle)'
/** `CPU.<date>.<time>.<process>.<thread>.<number>.cpuprofile`; the other threads load modules. */
const MAIN_THREAD = /^CPU\.\d+\.\d+\.\d+\.0\.\d+\.cpuprofile$/

/** Options for a process of Node to write its profile into a folder of its own, when it ends cleanly. */
export function profilingArgs(folder: string): string[] {
  return ['--cpu-prof', `--cpu-prof-dir=${folder}`]
}

export function nowUs(): number {
  return Number(process.hrtime.bigint() / 1000n)
}

/** Reads the one profile of a folder. */
export function readProfile(folder: string, [fromUs, toUs]: Period, count: number): Profiled {
  const file = readdirSync(folder).find((name) => MAIN_THREAD.test(name))
  if (file === undefined) throw new Error('the process wrote no profile')
  const profile: CpuProfile = JSON.parse(readFileSync(join(folder, file), 'utf8'))
  const names = new Map(profile.nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]))
  const usByName = new Map<string, number>()
  let atUs = profile.startTime
  for (const [index, id] of profile.samples.entries()) {
    atUs += profile.timeDeltas[index] ?? 0
    if (atUs < fromUs || atUs > toUs) continue
    const name = names.get(id) ?? ''
    const lastsUs = profile.timeDeltas[index + 1] ?? 0
    usByName.set(name, (usByName.get(name) ?? 0) + lastsUs)
  }
  const idleUs = usByName.get(IDLE) ?? 0
  usByName.delete(IDLE)
  const busyUs = [...usByName.values()].reduce((sum, us) => sum + us, 0)
  const functions = [...usByName]
    .sort(([, one], [, other]) => other - one)
    .slice(0, count)
    .map(([name, us]) => ({ name, share: us / busyUs }))
  return { busyShare: busyUs / (busyUs + idleUs), functions }
}

/** `function src/file.ts:line`, or what stands for it where there is no file of ours. */
function nameOf({ functionName, url, lineNumber, columnNumber }: CallFrame): string {
  const name = functionName === '' ? '(anonymous)' : functionName
  // V8's own: (program), (garbage collector), (idle).
  if (functionName.startsWith('(')) return functionName
  if (url === '') return `(native) ${name}`
  if (!url.startsWith('file:')) return `${name} ${url}:${lineNumber + 1}`
  const path = relative(PROJECT, fileURLToPath(url))
  // tsx runs one long line. This process has loaded most modules, too, and knows where they come from.
  const entry = findSourceMap(url)?.findEntry(lineNumber, columnNumber)
  return entry !== undefined && 'originalLine' in entry
    ? `${name} ${path}:${entry.originalLine + 1}`
    : `${name} ${path}`
}
