// How bad the network is on the way out of a host: for the kernel's netem, or for the sockets of a process
// where the kernel has none.

import { Socket } from 'node:dgram'

export interface Impairment {
  /** Shares of all datagrams, 0..1. */
  readonly loss?: number
  readonly duplication?: number
  /** Share that goes at once while the others wait `delayMs`. */
  readonly reordering?: number
  readonly delayMs?: number
  /** Plus or minus. */
  readonly jitterMs?: number
  /** Larger datagrams are lost, as in a tunnel whose ICMP messages a filter drops; by the sockets only. */
  readonly maxBytes?: number
}

/** The arguments of `tc qdisc .. netem`; none for a perfect network. */
export function netemOf(impairment: Impairment): string[] {
  const { loss, duplication, reordering, delayMs, jitterMs } = impairment
  const percent = (share: number) => `${100 * share}%`
  return [
    ...(delayMs === undefined ? [] : ['delay', `${delayMs}ms`]),
    ...(jitterMs === undefined ? [] : [`${jitterMs}ms`]),
    ...(loss === undefined ? [] : ['loss', percent(loss)]),
    ...(duplication === undefined ? [] : ['duplicate', percent(duplication)]),
    ...(reordering === undefined ? [] : ['reorder', percent(reordering)]),
  ]
}

type Send = (...args: unknown[]) => void

/** Makes every UDP socket of this process treat what it sends so; returns how to change it. */
export function impairSockets(random: () => number): (impairment: Impairment) => void {
  let current: Impairment = {}
  const prototype: { send: Send } = Socket.prototype as never
  const { send } = prototype
  const happens = (share = 0) => share > 0 && random() < share
  prototype.send = function impairedSend(this: Socket, ...args: unknown[]) {
    const { loss, duplication, reordering, delayMs = 0, jitterMs = 0, maxBytes } = current
    if (maxBytes !== undefined && (args[0] as Buffer).length > maxBytes) return
    const copies = happens(loss) ? 0 : happens(duplication) ? 2 : 1
    for (let copy = 0; copy < copies; copy += 1) {
      const waitMs = happens(reordering) ? 0 : delayMs + (2 * random() - 1) * jitterMs
      const sendNow = () => {
        try {
          send.apply(this, args)
        } catch {
          // The socket was closed while the datagram was on its way.
        }
      }
      if (waitMs <= 0) sendNow()
      else setTimeout(sendNow, waitMs)
    }
  }
  return (impairment) => {
    current = impairment
  }
}
