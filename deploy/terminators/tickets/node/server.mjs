// A Node.js server that resumes by tickets, under keys of the node beside it: all servers of the group accept them.

import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { attachTicketKeys, connectTicketKeys } from 'tlscached'

const server = createServer(
  {
    cert: readFileSync('/etc/tlscached/cert.pem'),
    key: readFileSync('/etc/tlscached/key.pem'),
    sessionIdContext: 'www.example', // the same on all servers of the group
    sessionTimeout: 3600, // as `lifetime` of the group
  },
  (_request, response) => response.end('hello\n'),
)

// The server goes on under its last keys while the node is away, and connects again by itself.
const keys = connectTicketKeys('unix:/run/tlscached/rpc.sock', { group: 'www', logger: console })
attachTicketKeys(server, keys)
await keys.open()
server.listen(443)

process.once('SIGTERM', () => {
  server.close()
  keys.close()
})
