// What a service manager such as systemd is told: that the service runs, reads its files again, stops, how it is, and, from a
// turn of the event loop, that it is alive. See sd_notify(3) for the protocol.
//
// It goes through a datagram socket of the unix kind, which Node.js does not have. So one small shell is started with the
// service, reads messages from it and calls systemd-notify for each (`NotifyAccess=all` in the unit): to start a program
// from this process would copy the page table of all its memory each time. Without systemd-notify nothing is told.

import { type ChildProcess, spawn } from 'node:child_process'
import { Socket } from 'node:net'
import { type Clock, every, systemClock } from '../base/clock.ts'

/** One message a line, its variables with tabs between. Signals to the whole service are not for this shell. */
const SCRIPT = `trap '' TERM INT HUP
tab=$(printf '\\t')
while IFS="$tab" read -r first second third; do
  systemd-notify "$first" \${second:+"$second"} \${third:+"$third"}
done`

/** Pings for each WATCHDOG_USEC; systemd asks for two. */
const PINGS_PER_TIMEOUT = 2

export interface ServiceManagerOptions {
  /** NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are taken out of it: they are not for children. */
  readonly environment: NodeJS.ProcessEnv
  readonly pid: number
  readonly clock?: Clock
}

export class ServiceManager {
  readonly #clock: Clock
  readonly #watchdogMs: number
  readonly #shell: ChildProcess | undefined
  #readStatus = (): string => ''
  #phase: 'starting' | 'ready' | 'stopping' = 'starting'

  /** Does nothing where no service manager asked to be told. */
  constructor(options: ServiceManagerOptions) {
    this.#clock = options.clock ?? systemClock
    const { environment, pid } = options
    const {
      NOTIFY_SOCKET: socket,
      WATCHDOG_USEC: watchdogUs,
      WATCHDOG_PID: watchdogPid,
    } = environment
    for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete environment[name]
    const isForUs = watchdogPid === undefined || Number(watchdogPid) === pid
    this.#watchdogMs = isForUs ? Number(watchdogUs ?? 0) / 1000 : 0
    if (socket === undefined) return
    const env = { ...environment, NOTIFY_SOCKET: socket }
    this.#shell = spawn('sh', ['-c', SCRIPT], { stdio: ['pipe', 'ignore', 'ignore'], env })
    this.#shell.on('error', () => {})
    this.#shell.stdin?.on('error', () => {})
    // Neither of the two keeps a process that has nothing else to do.
    this.#shell.unref()
    if (this.#shell.stdin instanceof Socket) this.#shell.stdin.unref()
  }

  /**
   * The service has started; from now on it says that it is alive, as often as it was asked to. `status` tells how it is
   * in a few words, for `systemctl status`.
   */
  ready(status: () => string): void {
    if (this.#phase === 'stopping') return
    this.#phase = 'ready'
    this.#readStatus = status
    this.#tell('READY=1', this.#status())
    if (this.#watchdogMs <= 0 || this.#shell === undefined) return
    every(this.#clock, this.#watchdogMs / PINGS_PER_TIMEOUT, () =>
      this.#tell('WATCHDOG=1', this.#status()),
    )
  }

  /** Tells that files are read again until `reload` ends; nothing before the service is ready and once it stops. */
  async reloading(reload: () => Promise<void> | void): Promise<void> {
    if (!this.#isReady) return reload()
    // systemd compares this with the time at which it sent the signal, on the same clock.
    this.#tell('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`)
    try {
      await reload()
    } finally {
      if (this.#isReady) this.#tell('READY=1', this.#status())
    }
  }

  stopping(): void {
    this.#phase = 'stopping'
    this.#tell('STOPPING=1', 'STATUS=stopping')
  }

  /** Asked anew after a reload, during which a signal may have stopped the service. */
  get #isReady(): boolean {
    return this.#phase === 'ready'
  }

  #status(): string {
    const status = this.#readStatus().replaceAll(/[\t\n]/g, ' ')
    return status === '' ? '' : `STATUS=${status}`
  }

  /** Leaves the message out when the shell does not keep up. */
  #tell(...variables: readonly string[]): void {
    const stdin = this.#shell?.stdin
    if (!stdin || stdin.writableNeedDrain) return
    stdin.write(`${variables.filter((variable) => variable !== '').join('\t')}\n`)
  }
}
