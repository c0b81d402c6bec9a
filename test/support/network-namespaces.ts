// Hosts of our own: network namespaces joined by a bridge, made by a test and removed by it.

import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process'

const CAN_BE_SKIPPED = process.env['REQUIRE_ALL_TESTS'] === undefined

/** The interface of each host. */
export const INTERFACE = 'eth0'

export class NetworkNamespaces {
  /** `10.77.0.1` and up, one a host. */
  readonly hosts: readonly { readonly name: string; readonly address: string }[]
  readonly #bridge: string

  /** `prefix`: at most 6 characters, this test's own. Names have at most 15, as those of interfaces. */
  constructor(prefix: string, count: number) {
    removeAbandoned(prefix)
    const own = `${prefix}-${process.pid.toString(36)}`
    this.#bridge = `${own}-br`
    this.hosts = Array.from({ length: count }, (_, index) => ({
      name: `${own}-${index + 1}`,
      address: `10.77.0.${index + 1}`,
    }))
    ip('netns', 'add', this.#bridge)
    this.#inBridge('link', 'add', 'br0', 'type', 'bridge', 'mcast_snooping', '0')
    this.#inBridge('link', 'set', 'br0', 'up')
    this.#inBridge('link', 'add', 'br1', 'type', 'bridge', 'mcast_snooping', '0')
    this.#inBridge('link', 'set', 'br1', 'up')
    for (const { name, address } of this.hosts) {
      ip('netns', 'add', name)
      const inHost = (...args: string[]) => ip('-n', name, ...args)
      inHost('link', 'set', 'lo', 'up')
      inHost('link', 'add', INTERFACE, 'type', 'veth', 'peer', 'name', name, 'netns', this.#bridge)
      inHost('addr', 'add', `${address}/24`, 'dev', INTERFACE)
      // An address that is still being checked for doubles cannot be sent from.
      inHost('addr', 'add', `fd77::${address.split('.')[3]}/64`, 'dev', INTERFACE, 'nodad')
      inHost('link', 'set', INTERFACE, 'up')
      this.#inBridge('link', 'set', name, 'master', 'br0', 'up')
    }
  }

  /** A program on one of the hosts. */
  spawn(
    host: string,
    command: string,
    args: readonly string[],
    options: SpawnOptions,
  ): ChildProcess {
    return spawn('ip', ['netns', 'exec', host, command, ...args], options)
  }

  /** From now on these hosts reach each other only, and the others only each other. */
  cut(hosts: readonly string[]): void {
    for (const host of hosts) this.#inBridge('link', 'set', host, 'master', 'br1')
  }

  /** All hosts reach each other again. */
  heal(): void {
    for (const { name } of this.hosts) this.#inBridge('link', 'set', name, 'master', 'br0')
  }

  /** What the host sends is treated so from now on, as `tc qdisc` says it: `loss 10%`. Empty: as it is. */
  setNetem(host: string, netem: readonly string[]): void {
    const qdisc = netem.length === 0 ? ['noqueue'] : ['netem', ...netem]
    execFileSync('tc', ['-n', host, 'qdisc', 'replace', 'dev', INTERFACE, 'root', ...qdisc], {
      stdio: 'pipe',
    })
  }

  /** Whether the kernel can lose and delay what the hosts send. */
  hasNetem(): boolean {
    const [host] = this.hosts
    try {
      if (host !== undefined) this.setNetem(host.name, ['delay', '1ms'])
      if (host !== undefined) this.setNetem(host.name, [])
      return true
    } catch {
      return false
    }
  }

  remove(): void {
    for (const name of [...this.hosts.map((host) => host.name), this.#bridge]) {
      try {
        ip('netns', 'delete', name)
      } catch {
        // It was not there.
      }
    }
  }

  #inBridge(...args: string[]): void {
    ip('-n', this.#bridge, ...args)
  }
}

/**
 * Why namespaces cannot be made here, or false when they can. Where every test must run (CI), it is an
 * error that they cannot.
 */
export function whyNoNamespaces(): string | false {
  try {
    const probe = `tlsc-probe-${process.pid}`
    ip('netns', 'add', probe)
    ip('netns', 'delete', probe)
    return false
  } catch (error) {
    if (!CAN_BE_SKIPPED) throw error
    return 'network namespaces cannot be made here: needs root and iproute2'
  }
}

/** Takes away what a run left behind that was killed; those of a run beside this one stay. */
function removeAbandoned(prefix: string): void {
  for (const [name, pid = ''] of ip('netns', 'list').matchAll(/^[\w]+-([0-9a-z]+)-\w+/gm)) {
    if (name.startsWith(`${prefix}-`) && !isRunning(Number.parseInt(pid, 36))) {
      ip('netns', 'delete', name)
    }
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

function ip(...args: string[]): string {
  return execFileSync('ip', args, { stdio: 'pipe' }).toString()
}
