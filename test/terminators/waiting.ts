// How long the machine kept a process waiting for a processor: what a deadline of few milliseconds cannot outlast,
// whatever the process does.

import { existsSync, readFileSync } from 'node:fs'

const NS_PER_MS = 1_000_000
/** What /proc/stat counts in: USER_HZ is 100 on every Linux. */
const TICK_MS = 10

/**
 * Milliseconds since `pid` began that its main thread could run and did not, with what the host took from all. 0
 * where the kernel does not say: nothing is left out there.
 */
export function waitedMs(pid: number): number {
  return existsSync(`/proc/${pid}/schedstat`) ? queuedMs(pid) + stolenMs() : 0
}

/** Linux, sched-stats.rst: time on a processor, time in a queue for one, both in nanoseconds, and turns. */
function queuedMs(pid: number): number {
  const [, waitedNs] = readFileSync(`/proc/${pid}/schedstat`, 'latin1').split(' ')
  return Number(waitedNs) / NS_PER_MS
}

/** proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal; of all processors together. */
function stolenMs(): number {
  const [line = ''] = readFileSync('/proc/stat', 'latin1').split('\n', 1)
  const [, , , , , , , , steal] = line.split(/ +/)
  return Number(steal) * TICK_MS
}
