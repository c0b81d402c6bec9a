// OpenSSL's own client: one connection with one request, and what came of it.

import { spawn, spawnSync } from 'node:child_process'
import { releasedCommand } from '../support/debian-release.ts'
import { finish } from '../support/node-processes.ts'

export const TLS_VERSIONS = ['tls1_2', 'tls1_3'] as const
export type TlsVersion = (typeof TLS_VERSIONS)[number]

/**
 * Arguments of a client that sends a key share for ML-KEM alone and takes X25519, too: a server without ML-KEM has to ask
 * for another share (HelloRetryRequest) before it can resume.
 */
export const ML_KEM_FIRST: readonly string[] = ['-groups', 'X25519MLKEM768:X25519']

const TIMEOUT_MS = 20_000
/** The system's certificates take four fifths of the time of a client that never asks for them. */
const WITHOUT_STORE = ['-no-CAfile', '-no-CApath', '-no-CAstore']

/** Whether the client can do what ML_KEM_FIRST asks for: since OpenSSL 3.5. */
export function knowsMlKem(): boolean {
  const { stdout } = spawnSync(...releasedCommand('openssl', ['version']), { encoding: 'utf8' })
  const [, major, minor] = /^OpenSSL (\d+)\.(\d+)\./.exec(stdout) ?? []
  return Number(major) > 3 || (Number(major) === 3 && Number(minor) >= 5)
}

/** One TLS service of a terminator. */
export interface Service {
  readonly port: number
  readonly serverName: string
}

export interface Handshake {
  /** Undefined when it failed. */
  readonly verdict: 'New' | 'Reused' | undefined
  /** HTTP status of the answer. */
  readonly status: number | undefined
  /** Duration of the whole connection. */
  readonly durationMs: number
  /** What the client said, to explain a failure. */
  readonly said: string
}

/** The request makes the server speak, so that TLS 1.3 sessions arrive before the connection ends. */
export async function connect(
  { port, serverName }: Service,
  version: TlsVersion,
  args: readonly string[] = [],
): Promise<Handshake> {
  const where = ['-connect', `127.0.0.1:${port}`, '-servername', serverName]
  const all = ['s_client', ...where, `-${version}`, '-ign_eof', ...WITHOUT_STORE, ...args]
  const startMs = performance.now()
  const [program, programArgs] = releasedCommand('openssl', all)
  const client = spawn(program, programArgs, { stdio: 'pipe', timeout: TIMEOUT_MS })
  client.stdin.on('error', () => {}) // It ended before it read the request.
  client.stdin.end(`GET /index.html HTTP/1.1\r\nHost: ${serverName}\r\nConnection: close\r\n\r\n`)
  const { stdout, stderr } = await finish(client)
  const durationMs = performance.now() - startMs
  const [, verdict] = /^(New|Reused), TLSv1\.[23], Cipher is/m.exec(stdout) ?? []
  const [, status] = /^HTTP\/1\.[01] (\d{3}) /m.exec(stdout) ?? []
  return {
    verdict: verdict === 'New' || verdict === 'Reused' ? verdict : undefined,
    status: status === undefined ? undefined : Number(status),
    durationMs,
    said: `${stdout}${stderr}`,
  }
}
