// Stands between nghttpx and its node, and is always there. When nobody listens, nghttpx loses the lookup and that
// handshake hangs; a connection that opens and closes at once it takes for a miss, and makes a full handshake.

import { createConnection, createServer } from 'node:net'
import { pipeline } from 'node:stream'

const LISTEN = { host: '127.0.0.1', port: 11210 }
const NODE = { host: '127.0.0.1', port: 11211 }
/** A node that hangs costs a handshake three times this; an idle connection is made again when it is needed. */
const SILENCE_MS = 250

createServer((nghttpx) => {
  const node = createConnection(NODE)
  node.setTimeout(SILENCE_MS, () => node.destroy())
  // Whichever end goes, the other one goes with it.
  pipeline(nghttpx, node, nghttpx, () => {})
}).listen(LISTEN)
