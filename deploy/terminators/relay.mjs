// Stands between a terminator and its node, for one that must not wait: node relay.mjs LISTEN NODE, each of them
// host:port or unix:/path.
//
// It is always there, and closes a connection at once when the node is away and soon when the node hangs; all
// terminators take that for a miss. nghttpx needs it: when nobody listens, it loses the lookup and that handshake hangs.
// Apache and h2o need it only against a node that hangs.

import { rmSync } from 'node:fs'
import { createConnection, createServer } from 'node:net'
import { pipeline } from 'node:stream'

/** nghttpx tries three times. An idle connection is closed as well, and made again when it is needed. */
const SILENCE_MS = 150

const [listen, node] = process.argv.slice(2).map(addressOf)

function addressOf(text) {
  if (text.startsWith('unix:')) return { path: text.slice('unix:'.length) }
  const [host, port] = text.split(':')
  return { host, port: Number(port) }
}

if (listen.path !== undefined) rmSync(listen.path, { force: true })
createServer((terminator) => {
  const connection = createConnection(node)
  connection.setTimeout(SILENCE_MS, () => connection.destroy())
  // Whichever end goes, the other one goes with it.
  pipeline(terminator, connection, terminator, () => {})
}).listen(listen)
