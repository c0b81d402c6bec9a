// What a client says in clear before it starts TLS: STARTTLS of SMTP (RFC 3207), IMAP (RFC 9051) and POP3 (RFC 2595),
// and PostgreSQL's SSLRequest.

import type { Socket } from 'node:net'

export const STARTTLS_PROTOCOLS = ['smtp', 'imap', 'pop3', 'postgres'] as const
export type StartTlsProtocol = (typeof STARTTLS_PROTOCOLS)[number]

/** The port of each protocol, used where a target names none. */
export const STARTTLS_PORTS: Readonly<Record<StartTlsProtocol, number>> = {
  smtp: 25,
  imap: 143,
  pop3: 110,
  postgres: 5432,
}

/** Longest answer before TLS that is read; the longest is the list of an SMTP server's extensions. */
const MAX_ANSWER_BYTES = 16_384
/** Length 8, then the number 80877103, which stands for no version of PostgreSQL's protocol. */
const POSTGRES_SSL_REQUEST = Buffer.from('0000000804d2162f', 'hex')
const POSTGRES_WILLING = 'S'

interface Step {
  /** What is sent first; undefined where the server begins. */
  readonly say?: string | Buffer
  /** Whether the text so far is the whole answer. */
  readonly isWhole: (text: string) => boolean
  /** Whether a whole answer agrees. */
  readonly agrees: (text: string) => boolean
}

const isLine = (text: string) => text.endsWith('\n')
/** SMTP: the last line has a blank behind the number, the ones before a hyphen. */
const isSmtpAnswer = (text: string) => /(?:^|\n)\d{3}(?: [^\n]*)?\r?\n$/.test(text)
const isTagged = (text: string) => /(?:^|\n)a [^\n]*\n$/.test(text)

const STEPS: Readonly<Record<StartTlsProtocol, readonly Step[]>> = {
  smtp: [
    { isWhole: isSmtpAnswer, agrees: (text) => text.startsWith('220') },
    {
      say: 'EHLO tlscached.invalid\r\n',
      isWhole: isSmtpAnswer,
      agrees: (text) => /^250[ -]STARTTLS\b/im.test(text),
    },
    { say: 'STARTTLS\r\n', isWhole: isSmtpAnswer, agrees: (text) => text.startsWith('220') },
  ],
  imap: [
    { isWhole: isLine, agrees: (text) => text.startsWith('* OK') },
    { say: 'a STARTTLS\r\n', isWhole: isTagged, agrees: (text) => /(?:^|\n)a OK\b/.test(text) },
  ],
  pop3: [
    { isWhole: isLine, agrees: (text) => text.startsWith('+OK') },
    { say: 'STLS\r\n', isWhole: isLine, agrees: (text) => text.startsWith('+OK') },
  ],
  postgres: [
    {
      say: POSTGRES_SSL_REQUEST,
      isWhole: (text) => text.length > 0,
      agrees: (text) => text === POSTGRES_WILLING,
    },
  ],
}

/**
 * Speaks to the server until it expects TLS. Rejects with an Error that quotes the server's answer when it does not
 * agree, when the answer is too long, or when the connection ends. The caller bounds the time and destroys the socket.
 */
export async function startTls(socket: Socket, protocol: StartTlsProtocol): Promise<void> {
  for (const { say, isWhole, agrees } of STEPS[protocol]) {
    if (say !== undefined) socket.write(say)
    const answer = await readAnswer(socket, isWhole)
    if (!agrees(answer)) throw new Error(`${protocol}: the server answered ${quoted(answer)}`)
  }
}

function readAnswer(socket: Socket, isWhole: (text: string) => boolean): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const finish = (settle: () => void) => {
      // TLS reads the socket itself from here on: nothing may be taken away from it.
      socket.pause()
      socket.off('data', onData).off('error', onError).off('close', onClose).off('end', onClose)
      settle()
    }
    const onError = (error: Error) => finish(() => reject(error))
    const onClose = () => finish(() => reject(new Error('the server closed before TLS began')))
    const onData = (chunk: Buffer) => {
      text += chunk.toString('latin1')
      if (isWhole(text)) finish(() => resolve(text))
      else if (text.length > MAX_ANSWER_BYTES) {
        finish(() => reject(new Error(`more than ${MAX_ANSWER_BYTES} bytes before TLS began`)))
      }
    }
    socket.on('data', onData).on('error', onError).on('close', onClose).on('end', onClose)
    socket.resume()
  })
}

/** The first line of an answer, without what a terminal would obey. */
function quoted(answer: string): string {
  const [line = ''] = answer.split(/\r?\n/)
  return JSON.stringify(line.slice(0, 100))
}
