// Services that get ticket keys, played by a test: the runtime socket of HAProxy, the API server of Kubernetes, and a
// client that asks for keys over memcached as nghttpx and h2o do.

import { once } from 'node:events'
import { chmodSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, connect, createServer } from 'node:net'

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

/** An API server that takes every Secret and sends it back, unless it is asked for the metadata. */
export async function playKubernetes(stops: (() => unknown)[]): Promise<string> {
  const http = createHttpServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const isPartial = request.headers.accept?.includes('as=PartialObjectMetadata')
      response.end(isPartial ? '{"kind":"PartialObjectMetadata"}' : Buffer.concat(chunks))
    })
  })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  stops.push(() => http.close())
  return `http://127.0.0.1:${(http.address() as AddressInfo).port}`
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
