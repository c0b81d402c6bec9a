// Who runs on which processor: what is measured on one, the load generator on the other, so that neither
// takes the other's time.

import { spawnSync } from 'node:child_process'
import { availableParallelism } from 'node:os'

export const SERVER_CPU = 0
export const GENERATOR_CPU = 1
/**
 * Where the kernel likes. For what is profiled: on one processor the thread that takes V8's samples waits for the one it
 * watches, and then sees it idle.
 */
export const ANY_CPU = 'any'

export type Cpu = number | typeof ANY_CPU

/** Command and arguments that run a program on one processor, where there is more than one. */
export function pinned(cpu: Cpu, program: string, args: readonly string[]): [string, string[]] {
  if (cpu === ANY_CPU || !canPin()) return [program, [...args]]
  return ['taskset', ['-c', String(cpu), program, ...args]]
}

/** Moves a process that runs, with all its threads, onto one processor, where there is more than one. */
export function pin(cpu: number, pid: number | undefined): void {
  if (canPin()) spawnSync('taskset', ['-a', '-c', '-p', String(cpu), String(pid)])
}

function canPin(): boolean {
  return availableParallelism() > 1 && spawnSync('taskset', ['--version']).status === 0
}
