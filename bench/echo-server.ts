// What Node.js itself can do with sockets like ours: a server that answers each line with the same value, and looks
// nothing up. Its arguments are a port and the size of the value.

import { createServer } from 'node:net'
import { ClientSocket } from '../src/frontends/memcached/fast/client-socket.ts'

const NEWLINE = 0x0a
const READ_BYTES = 65_536
/** Lines answered with one write, at most: more than a connection has outstanding. */
const MOST_LINES = 64

const [, , port, valueBytes] = process.argv
const value = `VALUE key:00000000 0 ${valueBytes}\r\n${'x'.repeat(Number(valueBytes))}\r\nEND\r\n`
const answers = Buffer.from(value.repeat(MOST_LINES))
const input = Buffer.alloc(READ_BYTES)

const options = { noDelay: true, allowHalfOpen: true, pauseOnConnect: true }
const server = createServer(options, (accepted) => {
  const socket = new ClientSocket(accepted, input, {
    received(bytes, length) {
      let lines = 0
      for (let at = 0; at < length; at += 1) if (bytes[at] === NEWLINE) lines += 1
      socket.send(answers, 0, lines * value.length)
    },
    ended: () => socket.end(),
    drained() {},
    closed() {},
  })
})
server.listen(Number(port), '127.0.0.1')
process.once('SIGTERM', () => process.exit())
