// Ports on loopback for programs that must be told theirs before they start.
//
// They lie below the range from which the kernel takes ports for clients (32768 and up on Linux): in that
// range a port that is free now may belong to a connection a moment later, and stays taken for a minute
// after the connection ended. A port is reserved until this process ends: another test that runs beside this one gets
// others, also before the program that was told the port listens there.

import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'

const FIRST_PORT = 20_000
const END_PORT = 32_000
const HOST = '127.0.0.1'

/** Different ports, each of them free for TCP and UDP. */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>()
  while (ports.size < count) {
    const port = randomInt(FIRST_PORT, END_PORT)
    if (!ports.has(port) && (await reserve(port))) ports.add(port)
  }
  return [...ports]
}

/** Returns free ports of loopback as `host:port`. */
export async function freeAddresses(count: number): Promise<string[]> {
  return (await freePorts(count)).map((port) => `${HOST}:${port}`)
}

/** Takes the port among tests, by a name that the kernel frees with the process, and says whether it is free. */
async function reserve(port: number): Promise<boolean> {
  // Only Linux has names of sockets without a file.
  if (process.platform !== 'linux') return isFree(port)
  const reservation = createServer().unref()
  try {
    await once(reservation.listen(`\0tlscached-test-port-${port}`), 'listening')
  } catch {
    return false
  }
  if (await isFree(port)) return true
  reservation.close()
  return false
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  const socket = createSocket('udp4')
  try {
    await Promise.all([once(server, 'listening'), server.listen(port, HOST)])
    await Promise.all([once(socket, 'listening'), socket.bind(port, HOST)])
    return true
  } catch {
    return false
  } finally {
    socket.close()
    if (server.listening) await new Promise((resolve) => server.close(resolve))
  }
}
