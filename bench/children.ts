// Programs that a benchmark started end with it, also when a signal ends it.

import type { ChildProcess } from 'node:child_process'

const running = new Map<ChildProcess, NodeJS.Signals>()

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    for (const [child, end] of running) child.kill(end)
    process.kill(process.pid, signal)
  })
}

/** `end` is the signal that stops this program. */
export function endWithUs(child: ChildProcess, end: NodeJS.Signals = 'SIGTERM'): void {
  running.set(child, end)
  child.once('exit', () => running.delete(child))
}
