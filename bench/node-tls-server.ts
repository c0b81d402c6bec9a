// Node's own TLS server, which answers every client with one byte and closes:
// `node node-tls-server.ts PORT CERT_FILE KEY_FILE [--tickets]`. It has no cache; without tickets it resumes nothing.

import { constants } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:tls'
import { parseArgs } from 'node:util'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { tickets: { type: 'boolean', default: false } },
})
const [port, certFile = '', keyFile = ''] = positionals
const server = createServer(
  {
    cert: readFileSync(certFile),
    key: readFileSync(keyFile),
    // Without one OpenSSL resumes no session that it made itself.
    sessionIdContext: 'bench',
    ...(!values.tickets && { secureOptions: constants.SSL_OP_NO_TICKET }),
  },
  (client) => {
    client.on('error', () => client.destroy()) // The load generator went away.
    client.end('x')
  },
)
server.on('tlsClientError', () => {})
server.listen(Number(port), '127.0.0.1')
