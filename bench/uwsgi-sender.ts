// Sessions as a uWSGI node sends them: a real datagram of its HTTPS router with new session IDs, at a steady
// rate.

import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { parseHostAddress } from '../src/base/address.ts'

const VECTOR = new URL('../test/vectors/uwsgi/tls1_2-router-new-session.txt', import.meta.url)
const ID_AT = 6
const ID_BYTES = 32
/** Of the field that says when the session was made: its tag and that of the number in it. */
const TIME_FIELD = Buffer.from('a1060204', 'hex')
const EXPIRY_DIGITS = 10
/** Of the rate at once: this program, held up for longer, catches up slowly and does not turn into a burst. */
const MAX_STEP_MS = 3

/**
 * Sends `count` different sessions, the same ones for the same `series`, and resolves with the rate that
 * came of it, per second.
 */
export async function sendSessions(
  to: string,
  count: number,
  perSec: number,
  series = randomBytes(ID_BYTES),
): Promise<number> {
  const { host, port } = parseHostAddress(to)
  const template = freshTemplate()
  const idInSession = template.lastIndexOf(template.subarray(ID_AT, ID_AT + ID_BYTES))
  const id = Buffer.from(series)
  const socket = createSocket({
    type: 'udp4',
    lookup: (_host, _options, done) => done(null, host, 4),
  })
  const startMs = performance.now()
  for (let sent = 0; sent < count; ) {
    const dueSoFar = ((performance.now() - startMs) / 1000) * perSec
    const due = Math.min(count, dueSoFar, sent + Math.ceil((perSec * MAX_STEP_MS) / 1000))
    for (; sent < due; sent += 1) {
      id.writeUInt32LE(sent)
      const datagram = Buffer.from(template)
      id.copy(datagram, ID_AT)
      id.copy(datagram, idInSession)
      socket.send(datagram, port, host)
    }
    await delay(1)
  }
  const rate = (count / (performance.now() - startMs)) * 1000
  await new Promise<void>((resolve) => socket.close(resolve))
  return rate
}

/** Made now, with 300 seconds to live. */
function freshTemplate(): Buffer {
  const hex = /^raw ([0-9a-f]+)$/m.exec(readFileSync(VECTOR, 'utf8'))?.[1] ?? ''
  const template = Buffer.from(hex, 'hex')
  const nowSec = Math.floor(Date.now() / 1000)
  template.writeUInt32BE(nowSec, template.indexOf(TIME_FIELD) + TIME_FIELD.length)
  template.write(String(nowSec + 300), template.length - EXPIRY_DIGITS, 'latin1')
  return template
}
