// Makes a server of a terminator listen.

import type { Server } from 'node:net'
import { formatAddress, type HostAddress } from '../base/address.ts'
import { codeOf, messageOf, TlscachedError } from '../base/errors.ts'

/** Resolves with the address and the port that the kernel chose. Rejects with ERR_LISTEN. */
export function listen(server: Server, address: HostAddress): Promise<HostAddress> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => {
      const reason = codeOf(error) ?? messageOf(error)
      const message = `cannot listen on ${formatAddress(address)}: ${reason}`
      reject(new TlscachedError('ERR_LISTEN', message, { cause: error }))
    }
    server.once('error', fail)
    server.listen(address.port, address.host, () => {
      server.off('error', fail)
      const bound = server.address()
      const port = typeof bound === 'object' && bound !== null ? bound.port : address.port
      resolve({ host: address.host, port })
    })
  })
}
