// Stands between nghttpx and its node: node relay.mjs LISTEN NODE, each of them host:port.
//
// When nobody listens, nghttpx loses the lookup and that handshake hangs. The relay is always there: it closes a
// connection at once when the node is away and soon when the node hangs, and that nghttpx takes for a miss.

import { createConnection, createServer } from 'node:net'
import { pipeline } from 'node:stream'

/**
 * nghttpx tries three times. An idle connection is closed as well: nghttpx makes it again when it needs one, which Apache
 * and h2o do not do without missing a session.
 */
const SILENCE_MS = 150

const [listen, node] = process.argv.slice(2).map(addressOf)

function addressOf(text) {
  const [host, port] = text.split(':')
  return { host, port: Number(port) }
}

createServer((nghttpx) => {
  const connection = createConnection(node)
  connection.setTimeout(SILENCE_MS, () => connection.destroy())
  // Whichever end goes, the other one goes with it.
  pipeline(nghttpx, connection, nghttpx, () => {})
}).listen(listen)
