// Relays bytes between TLS clients and backends, to which it speaks plain TCP: each direction ends by itself, a
// slow reader throttles the other side, and an idle connection is closed.

import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Clock } from '../base/clock.ts'
import type { BackendPool } from './backend-pool.ts'
import { type ProxiedConnection, type ProxyVersion, proxyHeader } from './proxy-header.ts'
import type { ClientOrigin } from './tls-front.ts'

export interface RelayOptions {
  readonly backends: BackendPool
  /** Longest time without a byte in either direction. */
  readonly idleTimeoutMs: number
  /** Version of the PROXY header that backends get; without it a backend sees the terminator as its client. */
  readonly proxyProtocol?: ProxyVersion
  readonly clock: Clock
}

/** Returns a function that connects a client, after its handshake, with a backend and relays their bytes. */
export function createRelay(
  options: RelayOptions,
): (client: TLSSocket, origin: ClientOrigin) => void {
  const { backends, proxyProtocol } = options
  return (client, origin) => {
    // A client that disconnects is nothing to report, but an 'error' event without a listener would end the
    // process.
    client.on('error', () => client.destroy())
    const header = proxyProtocol && headerOf(proxyProtocol, client, origin)
    const attempt = backends.connect((backend) => {
      client.off('close', giveUp)
      if (backend === undefined) {
        client.destroy()
        return
      }
      if (header !== undefined) backend.write(header)
      backend.on('error', () => backend.destroy())
      passOn(client, backend)
      passOn(backend, client)
      breakOffWhenIdle(options, client, backend)
    })
    const giveUp = () => attempt.cancel()
    client.once('close', giveUp)
  }
}

/**
 * Passes on the bytes of one direction. Not with stream.pipeline: two of them on the same sockets make Node warn of
 * a listener leak.
 */
function passOn(from: Socket, to: Socket): void {
  from.pipe(to)
  // A regular end is passed on by `pipe`. Without one, when `from` was cut off, `to` would stay open.
  from.once('close', () => {
    if (!from.readableEnded || !from.writableFinished) to.destroy()
  })
}

interface Moving {
  on(event: 'data' | 'close', listener: () => void): unknown
  destroy(): unknown
}

function breakOffWhenIdle({ clock, idleTimeoutMs }: RelayOptions, ...ends: Moving[]): void {
  let lastMs = clock.monotonicMs()
  const look = () => {
    const leftMs = lastMs + idleTimeoutMs - clock.monotonicMs()
    if (leftMs > 0) timer = clock.after(leftMs, look)
    else for (const end of ends) end.destroy()
  }
  let timer = clock.after(idleTimeoutMs, look)
  let open = ends.length
  for (const end of ends) {
    end.on('data', () => {
      lastMs = clock.monotonicMs()
    })
    end.on('close', () => {
      open -= 1
      if (open === 0) timer.cancel()
    })
  }
}

function headerOf(version: ProxyVersion, client: TLSSocket, origin: ClientOrigin): Buffer {
  const subject = client.authorized ? client.getPeerCertificate().subject : undefined
  const connection: ProxiedConnection = {
    ...origin.endpoints,
    serverName: origin.serverName,
    tlsVersion: client.getProtocol() ?? '',
    cipher: client.getCipher().name,
    applicationProtocol: nameOf(client.alpnProtocol),
    hasClientCertificate: client.authorized,
    clientCommonName: nameOf(subject?.CN),
  }
  return proxyHeader(version, connection)
}

/** Returns the name, or '' for the false, null or undefined that Node has in its place. */
function nameOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
