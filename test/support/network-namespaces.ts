// Hosts of our own: network namespaces joined by a bridge, made by a test and removed by it.

import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process'

const CAN_BE_SKIPPED = process.env['REQUIRE_ALL_TESTS'] === undefined

/** The interface of each host. */
export const INTERFACE = 'eth0'

export class NetworkNamespaces {
  /** `10.77.0.1` and up, one a host. */
  readonly hosts: readonly { readonly name: string; readonly address: string }[]
  readonly #bridge: string

  /** `prefix`: at most 8 characters, this test's own. */
  constructor(prefix: string, count: number) {
    this.#bridge = `${prefix}br`
    this.hosts = Array.from({ length: count }, (_, index) => ({
      name: `${prefix}${index + 1}`,
      address: `10.77.0.${index + 1}`,
    }))
    this.remove()
    ip('netns', 'add', this.#bridge)
    this.#inBridge('link', 'add', 'br0', 'type', 'bridge', 'mcast_snooping', '0')
    this.#inBridge('link', 'set', 'br0', 'up')
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
    ip('netns', 'add', 'tlsc-probe')
    ip('netns', 'delete', 'tlsc-probe')
    return false
  } catch (error) {
    if (!CAN_BE_SKIPPED) throw error
    return 'network namespaces cannot be made here: needs root and iproute2'
  }
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: 'pipe' })
}
