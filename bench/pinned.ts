// Who runs on which processor: what is measured on one, the load generator on the other, so that neither
// takes the other's time.

import { spawnSync } from 'node:child_process'
import { availableParallelism } from 'node:os'

export const SERVER_CPU = 0
export const GENERATOR_CPU = 1

/** Command and arguments that run a program on one processor, where there is more than one. */
export function pinned(cpu: number, program: string, args: readonly string[]): [string, string[]] {
  return canPin() ? ['taskset', ['-c', String(cpu), program, ...args]] : [program, [...args]]
}

/** Moves a process that runs, with all its threads, onto one processor, where there is more than one. */
export function pin(cpu: number, pid: number | undefined): void {
  if (canPin()) spawnSync('taskset', ['-a', '-c', '-p', String(cpu), String(pid)])
}

function canPin(): boolean {
  return availableParallelism() > 1 && spawnSync('taskset', ['--version']).status === 0
}
