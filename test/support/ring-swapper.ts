// A program that swaps rings of ticket keys over TLS, 20 times, as `caller` or as the one that is `called`, and then waits.
// The secret of all keys is in a file, so that this process has it nowhere but in what it swaps.

import { readFileSync } from 'node:fs'
import { createServer } from 'node:tls'
import { systemClock } from '../../src/base/world.ts'
import { connectSync } from '../../src/replication/sync/client.ts'
import { sendRings } from '../../src/replication/sync/ring-exchange.ts'
import { FrameStream } from '../../src/replication/sync/stream.ts'
import { serverOptions } from '../../src/replication/sync/tls.ts'
import { Keyring } from '../../src/wire/keyring.ts'
import { eraseSecrets, type RingOffer } from '../../src/wire/ring-message.ts'

const SWAPS = 20
const KEYS = 6
const HOST = '127.0.0.1'
const keyring = new Keyring([Buffer.alloc(32, 7)])
const [, , role, file = '', port = '0'] = process.argv

function ownRings(): RingOffer[] {
  const keys = Array.from({ length: KEYS }, (_, index) => ({
    name: Buffer.alloc(16, index + 1),
    secret: readFileSync(file),
    ageMs: 5000,
    isDoubted: false,
  }))
  return [{ group: 'www', keys, retired: [] }]
}

async function receive(frames: FrameStream): Promise<boolean> {
  const frame = await frames.receive()
  if (frame?.kind !== 'rings') return false
  eraseSecrets(frame.rings)
  return true
}

async function answer(frames: FrameStream): Promise<void> {
  while (await receive(frames)) await sendRings(frames, ownRings())
  frames.end()
}

async function call(): Promise<void> {
  for (let count = 0; count < SWAPS; count += 1) {
    const frames = await connectSync({ host: HOST, port: Number(port) }, keyring, systemClock)
    await sendRings(frames, ownRings())
    if (!(await receive(frames))) throw new Error('no answer')
    frames.end()
  }
}

const say = (what: string | number) => process.stdout.write(`${what}\n`)
// Until it is ended from outside.
setInterval(() => {}, 1000)
if (role === 'caller') {
  await call()
  say('done')
} else {
  const server = createServer(serverOptions({ current: keyring }))
  server.on('secureConnection', (socket) => {
    socket.on('error', () => {})
    void answer(new FrameStream(socket, systemClock))
  })
  server.listen(0, HOST, () => {
    const address = server.address()
    if (typeof address === 'object' && address !== null) say(address.port)
  })
}
