// Notifies a service manager such as systemd when the service runs, reloads and stops, of its status and, from a turn
// of the event loop, that it is alive. See sd_notify(3) for the protocol.
//
// The protocol needs a unix datagram socket, which Node.js does not have. So one small shell is started with the
// service; it reads messages from a pipe and calls systemd-notify for each (`NotifyAccess=all` in the unit). To start a
// program from this process each time would copy the page table of all its memory. Without systemd-notify, no message
// reaches the service manager.

import { type ChildProcess, spawn } from 'node:child_process'
import { Socket } from 'node:net'
import { type Clock, every, systemClock, type Timer } from '../base/world.ts'

/** Reads one message per line, its variables separated by tabs. The shell ignores signals to the whole service. */
const SCRIPT = `trap '' TERM INT HUP
tab=$(printf '\\t')
while IFS="$tab" read -r first second third; do
  systemd-notify "$first" \${second:+"$second"} \${third:+"$third"}
done`

/** Notifications within WATCHDOG_USEC; systemd recommends two. */
const PINGS_PER_TIMEOUT = 2
/** Time between two looks at the status, which is sent when it changed. */
const STATUS_PERIOD_MS = 5000

export interface ServiceManagerOptions {
  /**
   * The environment of this process. NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are removed from it, because
   * children must not use them.
   */
  readonly environment: NodeJS.ProcessEnv
  readonly pid: number
  readonly clock?: Clock
}

export class ServiceManager {
  readonly #clock: Clock
  readonly #watchdogMs: number
  readonly #shell: ChildProcess | undefined
  #readStatus = (): string => ''
  #lastStatus = ''
  #statusTimer: Timer | undefined
  #phase: 'starting' | 'ready' | 'stopping' = 'starting'

  /** Starts the shell. Without NOTIFY_SOCKET there is no shell, and all methods send nothing. */
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
    // Neither the shell nor its pipe keeps this process running.
    this.#shell.unref()
    if (this.#shell.stdin instanceof Socket) this.#shell.stdin.unref()
  }

  /**
   * Sends that the service has started, and from then on its status when that changes, and that it is alive, as often
   * as WATCHDOG_USEC asks for. `status` returns a few words for `systemctl status`.
   */
  ready(status: () => string): void {
    if (this.#phase === 'stopping') return
    this.#phase = 'ready'
    this.#readStatus = status
    this.#tell('READY=1', this.#status())
    if (this.#shell === undefined) return
    this.#statusTimer = every(this.#clock, STATUS_PERIOD_MS, () => {
      const before = this.#lastStatus
      const status = this.#status()
      if (status !== before) this.#tell(status)
    })
    if (this.#watchdogMs <= 0) return
    every(this.#clock, this.#watchdogMs / PINGS_PER_TIMEOUT, () =>
      this.#tell('WATCHDOG=1', this.#isReady ? this.#status() : ''),
    )
  }

  /**
   * Sends that a reload is in progress until `reload` ends; sends nothing before the service is ready or once it
   * stops.
   */
  async reloading(reload: () => Promise<void> | void): Promise<void> {
    if (!this.#isReady) return reload()
    // systemd compares MONOTONIC_USEC with the time at which it sent the signal, on the same clock.
    this.#tell('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`)
    try {
      await reload()
    } finally {
      if (this.#isReady) this.#tell('READY=1', this.#status())
    }
  }

  stopping(): void {
    this.#phase = 'stopping'
    this.#statusTimer?.cancel()
    this.#tell('STOPPING=1', 'STATUS=stopping')
  }

  /** Whether the service runs. It is a getter because a signal may stop the service during a reload. */
  get #isReady(): boolean {
    return this.#phase === 'ready'
  }

  #status(): string {
    const status = this.#readStatus().replaceAll(/[\t\n]/g, ' ')
    this.#lastStatus = status === '' ? '' : `STATUS=${status}`
    return this.#lastStatus
  }

  /** Sends one message, or drops it when the shell does not keep up. */
  #tell(...variables: readonly string[]): void {
    const stdin = this.#shell?.stdin
    if (!stdin || stdin.writableNeedDrain) return
    stdin.write(`${variables.filter((variable) => variable !== '').join('\t')}\n`)
  }
}
