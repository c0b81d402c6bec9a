// Services that get ticket keys, played by a test: the runtime socket of HAProxy, the API server of Kubernetes, and a
// client that asks for keys over memcached as nghttpx and h2o do.

import { once } from 'node:events'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer, type RequestListener } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { CertificateFolder } from '../support/certificates.ts'

const SLOTS = 3

/** The runtime socket of a HAProxy that reads the key files of both nodes. */
export async function playHaproxy(path: string, fileOf: (index: number) => string) {
  const slots = [0, 1].map((index) => ({ file: fileOf(index), keys: Array(SLOTS).fill('none') }))
  const socket = createServer((client) => {
    client.on('error', () => {})
    client.once('data', (bytes: Buffer) => {
      const pushes = [...bytes.toString().matchAll(/set ssl tls-key (\S+) ([^\s;]+)/g)]
      for (const [, file, key] of pushes) {
        const keys = slots.find((one) => one.file === file)?.keys
        keys?.shift()
        keys?.push(key)
        client.write('TLS ticket key updated!\n\n')
      }
      if (pushes.length > 0) {
        client.end()
        return
      }
      const lines = slots.map(({ file: name, keys }, index) => {
        return `# ${index} (${name})\n${keys.map((one, slot) => `${index}.${slot} ${one}\n`).join('')}`
      })
      client.end(`${lines.join('')}\n`)
    })
  })
  socket.listen(path)
  await once(socket, 'listening')
  chmodSync(path, 0o666)
  return () => socket.close()
}

/**
 * An API server that takes every Secret and sends it back, unless it is asked for the metadata. It speaks HTTP, and HTTPS
 * with a certificate for 127.0.0.1 that `folder` gets as `ca.crt`, beside a token.
 */
export async function playKubernetes(folder: string, stops: (() => unknown)[]) {
  const answer: RequestListener = (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const isPartial = request.headers.accept?.includes('as=PartialObjectMetadata')
      response.end(isPartial ? '{"kind":"PartialObjectMetadata"}' : Buffer.concat(chunks))
    })
  }
  const certificates = new CertificateFolder()
  const { cert, key } = certificates.make({ commonName: 'api', alternatives: ['IP:127.0.0.1'] })
  certificates.remove()
  mkdirSync(folder)
  writeFileSync(join(folder, 'token'), 'a token')
  writeFileSync(join(folder, 'ca.crt'), cert)
  const urlOf = async (server: Server, scheme: string) => {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    stops.push(() => server.close())
    return `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`
  }
  return {
    credentials: folder,
    http: await urlOf(createHttpServer(answer), 'http'),
    https: await urlOf(createHttpsServer({ cert, key }, answer), 'https'),
  }
}

/** Asks for ticket keys as nghttpx and h2o do; returns how many values came. */
export async function askMemcached(path: string): Promise<number> {
  const socket = connect(path)
  socket.on('error', () => {})
  socket.end('get nghttpx:tls-ticket-key\r\nget h2o:ssl-session-key\r\nquit\r\n')
  const chunks: Buffer[] = []
  for await (const chunk of socket) chunks.push(chunk)
  return Buffer.concat(chunks).toString('latin1').split('VALUE ').length - 1
}
