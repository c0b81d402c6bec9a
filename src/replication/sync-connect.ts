// Connects to a peer over TCP and proves to have the primary key of the keyring.

import { connect } from 'node:tls'
import type { HostAddress } from '../base/address.ts'
import type { Clock } from '../base/clock.ts'
import type { Keyring } from '../wire/keyring.ts'
import { FrameStream } from './frame-stream.ts'
import { SyncError } from './sync-stats.ts'
import { clientOptions, HANDSHAKE_TIMEOUT_MS, handshakeReason } from './sync-tls.ts'

/**
 * Connects to a peer; resolves when both sides have proved the key. Rejects with a SyncError, at once when `signal`
 * aborts.
 */
export function connectSync(
  address: HostAddress,
  keyring: Keyring,
  clock: Clock,
  signal?: AbortSignal,
): Promise<FrameStream> {
  return new Promise((resolve, reject) => {
    const { host, port } = address
    const socket = connect({ host, port, ...clientOptions(keyring) })
    socket.setNoDelay()
    const fail = (reason: string) => {
      finish()
      socket.destroy()
      reject(new SyncError('handshake', reason))
    }
    const timer = clock.after(HANDSHAKE_TIMEOUT_MS, () => fail('no handshake in time'))
    const abort = () => fail('stopped')
    const finish = () => {
      timer.cancel()
      signal?.removeEventListener('abort', abort)
    }
    signal?.addEventListener('abort', abort)
    socket.on('error', (error) => fail(handshakeReason(error)))
    socket.on('close', () => fail('closed during the handshake'))
    socket.once('secureConnect', () => {
      finish()
      socket.removeAllListeners('close')
      resolve(new FrameStream(socket, clock))
    })
  })
}
