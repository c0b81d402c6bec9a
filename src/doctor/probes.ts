// What doctor tries over the network. It connects by TCP and proves keys as a node does, and sends no datagram that
// another node would count as one of a peer.

import { execFile } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { connect as connectTcp, isIPv6 } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { HostAddress } from '../base/address.ts'
import { codeOf } from '../base/errors.ts'
import { clientOptions } from '../replication/sync/tls.ts'
import type { Keyring } from '../wire/keyring.ts'

const CONNECT_TIMEOUT_MS = 2000
const COMMAND_TIMEOUT_MS = 3000
/** A refusal comes back within a round trip. */
const REFUSAL_TIMEOUT_MS = 500

/**
 * `refused`: the machine is there, and nobody listens. `silent`: no answer in time. `unreachable`: no way there, or the
 * name is not known.
 */
export type Reach = 'open' | 'refused' | 'silent' | 'unreachable'

/** `no_node`: something listens there that does not answer as a node does. */
export type KeyAnswer = 'has' | 'lacks' | 'no_node' | Exclude<Reach, 'open'>

export interface Probes {
  /** Resolves with all addresses of a host; empty when the name is not known. */
  resolve(host: string): Promise<readonly string[]>
  tcp(address: HostAddress): Promise<Reach>
  /** Resolves with `refused` when the other machine says that nobody receives there, `silent` otherwise. */
  udp(address: HostAddress): Promise<'refused' | 'silent'>
  /** Proves a key in a handshake and has the node there prove it; nobody learns it. */
  key(address: HostAddress, keyring: Keyring, keyId: number): Promise<KeyAnswer>
  /** Runs a program and resolves with all it printed; undefined when it is not installed. */
  run(program: string, args: readonly string[]): Promise<string | undefined>
}

export const systemProbes: Probes = {
  async resolve(host) {
    const found = await lookup(host, { all: true }).catch(() => [])
    return found.map(({ address }) => address)
  },
  tcp: (address) =>
    new Promise((resolve) => {
      const socket = connectTcp({ ...address, timeout: CONNECT_TIMEOUT_MS })
      const end = (reach: Reach) => {
        socket.destroy()
        resolve(reach)
      }
      socket.on('connect', () => end('open'))
      socket.on('timeout', () => end('silent'))
      socket.on('error', (error) => end(reachOf(error)))
    }),
  udp: (address) =>
    new Promise((resolve) => {
      const socket = createSocket(isIPv6(address.host) ? 'udp6' : 'udp4')
      const end = (answer: 'refused' | 'silent') => {
        clearTimeout(timer)
        socket.close()
        resolve(answer)
      }
      const timer = setTimeout(() => end('silent'), REFUSAL_TIMEOUT_MS)
      socket.on('error', () => end('refused'))
      // An empty datagram is no message of any kind; only a connected socket is told that it was refused.
      socket.connect(address.port, address.host, () => socket.send(Buffer.alloc(0)))
    }),
  key: (address, keyring, keyId) =>
    new Promise((resolve) => {
      const options = clientOptions(keyring, keyId)
      let isConnected = false
      const socket = connectTls({ ...options, ...address, timeout: CONNECT_TIMEOUT_MS })
      const end = (answer: KeyAnswer) => {
        socket.destroy()
        resolve(answer)
      }
      socket.on('connect', () => {
        isConnected = true
      })
      socket.on('secureConnect', () => {
        // Ended in order: a node logs a connection that breaks off.
        socket.end(() => resolve('has'))
      })
      socket.on('timeout', () => end(isConnected ? 'no_node' : 'silent'))
      // A node without the key ends the handshake with an alert; whatever else is there speaks no TLS, or closes.
      socket.on('error', (error) => {
        if (!isConnected) return end(reachOf(error))
        const isAlert = /ALERT|NO_SUITABLE|DECRYPT|BINDER|BAD_PSK/.test(codeOf(error) ?? '')
        end(isAlert ? 'lacks' : 'no_node')
      })
    }),
  run: (program, args) =>
    new Promise((resolve) => {
      execFile(program, args, { timeout: COMMAND_TIMEOUT_MS }, (error, stdout, stderr) => {
        resolve(codeOf(error) === 'ENOENT' ? undefined : stdout + stderr)
      })
    }),
}

function reachOf(error: Error): Exclude<Reach, 'open'> {
  const code = codeOf(error)
  if (code === 'ECONNREFUSED') return 'refused'
  return code === 'ETIMEDOUT' ? 'silent' : 'unreachable'
}
