// What Node.js itself can do: a server that answers each line with the same value, and looks nothing up. Its
// arguments are a port and the size of the value.

import { createServer } from 'node:net'

const NEWLINE = 0x0a
/** Lines answered with one write, at most: more than a connection has outstanding. */
const MOST_LINES = 64

const [, , port, valueBytes] = process.argv
const value = `VALUE key:00000000 0 ${valueBytes}\r\n${'x'.repeat(Number(valueBytes))}\r\nEND\r\n`
const answers = Buffer.from(value.repeat(MOST_LINES))

const server = createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => socket.destroy())
  socket.on('data', (chunk) => {
    let lines = 0
    for (const byte of chunk) if (byte === NEWLINE) lines += 1
    socket.write(answers.subarray(0, lines * value.length))
  })
})
server.listen(Number(port), '127.0.0.1')
process.once('SIGTERM', () => process.exit())
