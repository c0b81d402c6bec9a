// Node.js shares its TLS sessions, 1.2 and 1.3, through a node in the same process. The same for secure http2 and tls.

import { constants } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { attachSessionCache, createNode } from 'tlscached'

const node = createNode({
  node: { name: 'edge-1' },
  caches: [{ name: 'ssl', items: 100_000, timeout: '5m', contexts: ['shop', 'admin'] }],
  replication: {
    listen: '10.0.0.1:7171',
    peers: ['10.0.0.2:7171'],
    keys_file: '/etc/tlscached/keys',
  },
  frontends: { http: 'unix:/run/tlscached/http.sock' },
})
await node.start()

const tlsOptions = {
  cert: readFileSync('/etc/tlscached/cert.pem'),
  key: readFileSync('/etc/tlscached/key.pem'),
  secureOptions: constants.SSL_OP_NO_TICKET, // sessions go to the cache, not into tickets
  sessionTimeout: 300,
}

/** The context says who shares sessions: the same on all machines, and another one for every other service. */
function listen(context, port, options = {}) {
  const server = createServer(
    { ...tlsOptions, ...options, sessionIdContext: context },
    (_request, response) => response.end('hello\n'),
  )
  attachSessionCache(server, node.hooks('ssl'), { context })
  server.listen(port)
  return server
}

// Serves shop.example and mail.example: a session of one name never resumes under the other.
const shop = listen('shop', 443)
// Asks for client certificates.
const admin = listen('admin', 8443, {
  requestCert: true,
  ca: readFileSync('/etc/tlscached/clients.pem'),
})

process.once('SIGTERM', () => {
  shop.close()
  admin.close()
  void node.stop()
})
