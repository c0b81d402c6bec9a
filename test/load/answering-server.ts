// A program for load runs: a TLS server joined to a node by `connectHooks`, which answers and closes within 'secureConnection',
// as servers do that have nothing to wait for. Its first argument is the node's rpc socket; it prints its port.

import { constants } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:tls'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { attachSessionCache } from '../../src/hooks/node-tls.ts'
import { connectHooks } from '../../src/hooks/remote-hooks.ts'

const ANSWER = 'ping'
const CONTEXT = 'shop.example'

const server = createServer({
  ...DEMO_CERTIFICATE,
  secureOptions: constants.SSL_OP_NO_TICKET,
  sessionIdContext: CONTEXT,
})
server.on('secureConnection', (socket) => {
  socket.on('error', () => socket.destroy())
  socket.resume()
  socket.end(ANSWER)
})
const hooks = connectHooks(process.argv[2] ?? '', { cache: 'ssl', deadlineMs: 2000 })
attachSessionCache(server, hooks, { context: CONTEXT, deadlineMs: 2000 })
await hooks.open()
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`)
})
process.on('SIGTERM', () => {
  server.close()
  void hooks.close()
})
