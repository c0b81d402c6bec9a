// A small TLS terminator and its public certificate: answers each connection's first line with one short text, which
// says whether the handshake resumed a session. For the demo, and to try a cluster with any TLS client.

import type { TLSSocket } from 'node:tls'
import type { HostAddress } from '../base/address.ts'
import { TlscachedError } from '../base/errors.ts'
import { type Clock, type Logger, systemClock } from '../base/world.ts'
import type { SessionHooks } from '../hooks/hooks.ts'
import type { TerminatorStats } from '../terminator/stats.ts'
import { TlsFront } from '../terminator/tls-front.ts'
import { VirtualHosts } from '../terminator/virtual-hosts.ts'

/** Longest life of a connection after its handshake. */
const CONNECTION_MS = 10_000
const HANDSHAKE_MS = 10_000
/** Longest first line of a request. */
const MAX_LINE_BYTES = 8192
const MAX_CONNECTIONS = 4096
const NEWLINE = 0x0a

export interface TerminatorOptions {
  readonly listen: HostAddress
  /** Name of the node, which the answers contain. */
  readonly node: string
  readonly hooks: SessionHooks
  /** Session ID context, 1..32 bytes in UTF-8. */
  readonly context: string
  /** Key and certificate of the server, as PEM texts. */
  readonly certificate: { readonly key: string; readonly cert: string }
  /** Lifetime of the sessions that are created here. */
  readonly sessionTimeoutSec: number
  readonly deadlineMs?: number
  readonly clock?: Clock
  readonly logger: Logger
}

export interface Terminator {
  /** Address where it listens, with the port that the kernel chose. */
  readonly address: HostAddress
  readStats(): TerminatorStats
  /** Cuts all connections off and frees the port. Idempotent. */
  stop(): Promise<void>
}

/** Starts a terminator. Rejects with ERR_LISTEN when it cannot listen on the address. */
export async function startTerminator(options: TerminatorOptions): Promise<Terminator> {
  const { listen, node, certificate, clock = systemClock, ...rest } = options
  const { cert, key } = certificate
  const front = new TlsFront({
    ...rest,
    clock,
    listen: [listen],
    hosts: new VirtualHosts([{ names: [], context: rest.context, cert: [cert], key: [key] }]),
    minVersion: '1.2',
    maxVersion: '1.2',
    handshakeTimeoutMs: HANDSHAKE_MS,
    maxConnections: MAX_CONNECTIONS,
    serve: (client) => answerFirstLine(client, node, clock),
  })
  const [address] = await front.start()
  if (address === undefined) throw new TlscachedError('ERR_INTERNAL')
  return { address, readStats: () => front.readStats(), stop: () => front.stop() }
}

/**
 * Waits for the end of the first line or of the client's data, then answers and closes. A line above MAX_LINE_BYTES
 * gets no answer.
 */
function answerFirstLine(socket: TLSSocket, node: string, clock: Clock): void {
  const timer = clock.after(CONNECTION_MS, () => socket.destroy())
  socket.once('close', () => timer.cancel())
  let lineBytes = 0
  let isAnswered = false
  const answer = () => {
    if (isAnswered) return
    isAnswered = true
    const body = `${node} ${socket.isSessionReused() ? 'resumed' : 'full'}\n`
    socket.end(
      `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
        `Connection: close\r\n\r\n${body}`,
    )
  }
  socket.on('data', (chunk: Buffer) => {
    const isLineOver = chunk.includes(NEWLINE)
    lineBytes += chunk.length
    if (isAnswered || isLineOver) answer()
    else if (lineBytes > MAX_LINE_BYTES) socket.destroy()
  })
  socket.on('end', answer)
  // A client that disconnects is nothing to report, but an 'error' event without a listener would end the process.
  socket.on('error', () => socket.destroy())
}

// PUBLIC: anyone can read this key. A throw-away certificate for localhost, for the demo and the tests only.
//
// openssl req -x509 -newkey rsa:2048 -nodes -sha256 -days 36500 -subj /CN=localhost
//   -addext subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1 -addext basicConstraints=critical,CA:FALSE

export const DEMO_CERTIFICATE: { readonly key: string; readonly cert: string } = {
  key: `-----BEGIN PRIVATE KEY-----
MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYwggSiAgEAAoIBAQCeeRNPc2eT8Qh7
NqWij459cKC6IWo0Uj5agxpd2waxcXtfYx2/Xy9Kc2YaGI34IHtbnXlehykpP+YI
okNDq1rmkfQrYh+YynHJrzcJ23eZfxJepAZYwmK5er/ZENk0gcOSq2e/BRP0o96C
3hV8lOxHPJrf4bfrcNH0hG8nZy0JwJFtFw3W99A3i0pWZnxFbDnZFkFcPx7DBLCh
BFA9gmpbj/kYMnsto85QbgvvD1ZAudR5BYZcxPD7dXVXpFP3fySpvnzjPNOjv+1D
wbhyDX0zOFDEUbmy3E/c/oN893NqDc0oRAxYMyYuLv49qgmFvrjsli70wVorzEQD
1FHrPsVFAgMBAAECggEAG2WPIxMuevMWpkaCSCJNXf5UqxkPxU/am8dCjatJ8u9N
huYZxHXuNQ7SPfy0vorPCL2mt+LiCNGVMTTsMAy1wFrHPaDPGZkWJun1t+yLNqwz
Ps1Yk4u3iZ1hAWPaSSuN5hNf8jQsiQSzeShvyoPsfTxLAh2BsGBmy8EBfmxl6uNs
Fta5TLfjZEDX515iNuKjZm6kv+eAOzizNg2Sqw5SiCQeAf6CKCemyPUTFVUKRoIn
nTSBKo786qPCugwtmVWfklNrRkNP/Nh/sqPnfLZ1qJGCrZiwtpOE8+/bAYWa7rIY
t6dZfYnECeCsSCqcQ8WruzbkDlOABkTuAFjM70rHAQKBgQDObDytn53ukn3i/oEK
yOHVAJINPHiDjKKJpQ6lyl+cSnF9iKBjeYwUJegQnC00m09cmhjMejiaNChEcOUM
l8KMZbnAtdFCdyBjglNH10NyphpdxUd9ciDTYvEC7+kR2BlwDZex8lT4ZDtQUlVp
Bn5ybB6IYKl+X1s08QlID9kl5QKBgQDEiKzSSavaaULQfsDCNkBSSzUBIz/wD/8K
lok9Qc/BZzxwquYY0XhpfRaWipl5pAzsNCZhPmpePkVXoiDxHiOEP26UGe4dWXDB
IeuoZmpduOy1moHM6/8OOd1xsphV0GIwJWG4DmW2Z9Qtsmqf5qWOjzr6Mn5LvSVc
I2ejI3sr4QKBgCT4qd2HCyhhwH5Ziw89b4VQ9te8DvGwzKPOllMHbhx2EOGlCOUI
LhiluWzQLCCR+KLjTrHA6kZkNRodBkk9HTE8PwrPBc3bvEdWXkgtu/za1zoYTXeg
a1SxEe2uvpXdmKDDLnpGpwVeHmmCdZ279gXUa5uNhI4H0jQnP7xSalgpAoGAKPwj
pjrs1sBqyZYVVqr/oOnEJPeX5tU/J5MbDaZC0B9aUFijYXuVc9I9OqmutdpLQ5rg
ghkFD6BGz66k1gOl/ndH9SSvLnmvdOdBAL5S4jalTn3pIbX5W5sfng1TjVnGkCnL
hhmihnaCngD+EViFIASolPKgueS4/Mz5WOEWV6ECgYBVG1E7YsKoZGjPp1YJ/5CW
NA89RPISBlsojkydqpD0vJtB9Jz+eqr7i/KyJqoNZ152DlE+8ajNOekoswHifLyW
Nv+KuBF15SfOnB+loTZ7N2J7ap/Uer+j0gleKp7R3m77hypQ87RsCMxS+Rj/3Ibd
+N2c656VOzSHvI+aSDaUow==
-----END PRIVATE KEY-----
`,
  cert: `-----BEGIN CERTIFICATE-----
MIIDXTCCAkWgAwIBAgIUTKR7sSOT+N5KpYBcaPdaOcVjEvowDQYJKoZIhvcNAQEL
BQAwFDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTA2MDgwMFoYDzIxMjYx
MDI4MDYwODAwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwggEiMA0GCSqGSIb3DQEB
AQUAA4IBDwAwggEKAoIBAQCeeRNPc2eT8Qh7NqWij459cKC6IWo0Uj5agxpd2wax
cXtfYx2/Xy9Kc2YaGI34IHtbnXlehykpP+YIokNDq1rmkfQrYh+YynHJrzcJ23eZ
fxJepAZYwmK5er/ZENk0gcOSq2e/BRP0o96C3hV8lOxHPJrf4bfrcNH0hG8nZy0J
wJFtFw3W99A3i0pWZnxFbDnZFkFcPx7DBLChBFA9gmpbj/kYMnsto85QbgvvD1ZA
udR5BYZcxPD7dXVXpFP3fySpvnzjPNOjv+1DwbhyDX0zOFDEUbmy3E/c/oN893Nq
Dc0oRAxYMyYuLv49qgmFvrjsli70wVorzEQD1FHrPsVFAgMBAAGjgaQwgaEwHQYD
VR0OBBYEFDLrhT7pi7IgTn7ZPtswbemPL7TYMB8GA1UdIwQYMBaAFDLrhT7pi7Ig
Tn7ZPtswbemPL7TYMCwGA1UdEQQlMCOCCWxvY2FsaG9zdIcEfwAAAYcQAAAAAAAA
AAAAAAAAAAAAATAMBgNVHRMBAf8EAjAAMA4GA1UdDwEB/wQEAwIFoDATBgNVHSUE
DDAKBggrBgEFBQcDATANBgkqhkiG9w0BAQsFAAOCAQEAkP7qKfNt7EtQCepYqWDy
fAyhJS5RdA6Rl+lUSifDCDF28peN+Sv8AJWbwcvj0e3qZ/GlFs6gnf6xcMFnpacH
58F26L3a34ECbprNn/F0aDzcCaIXAnpyQ8OQVoOkWHhsU+DLKYGS3Y+0UiJ+MxbQ
S4ggw3KwOplSwLn2naJDv4E5qMLRQzF27utpwR7yfM/SWGWGHB37d4D1Gkr3eM2O
vlGAKEDGs26JRzHr7ck5V+JLHYfO0+x8Dp/l3PmjiHdwbG7UqlxM6Z602cK6WMD9
98ajMF1xC8Y6puSTAZvvyOMalK5s8S9WjTaiccJSt+wSZCDenKHIDjkppDjxToiJ
xg==
-----END CERTIFICATE-----
`,
}
