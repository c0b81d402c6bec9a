// A program, for a worker thread or a worker of node:cluster: listens on the unix socket that LISTEN_PATH names, reports
// what came of it, and ends when it is told anything.

import { createServer } from 'node:net'
import { parentPort } from 'node:worker_threads'
import { listenOn } from '../../src/streams/listener.ts'

const server = createServer()
const path = process.env['LISTEN_PATH'] ?? ''
const outcome = await listenOn(server, { path }, 'field').then(
  () => 'listening',
  (error: Error) => error.message,
)
if (parentPort === null) {
  process.once('message', () => server.close(() => process.disconnect()))
  process.send?.(outcome)
} else {
  parentPort.once('message', () => server.close())
  parentPort.postMessage(outcome)
}
