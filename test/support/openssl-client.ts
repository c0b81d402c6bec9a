// OpenSSL's own client, which offers a session under whatever server name it is told to (newer releases of Node.js refuse that)
// and begins with whatever key share it is told to.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { finish } from './node-processes.ts'

const TIMEOUT_MS = 20_000

export class OpensslClient {
  readonly #port: number
  readonly #file: string

  /** A client of the port on 127.0.0.1; its session file is removed at the end of the test. */
  constructor(t: TestContext, port: number) {
    const folder = mkdtempSync(join(tmpdir(), 'tlscached-openssl-'))
    t.after(() => rmSync(folder, { recursive: true }))
    this.#port = port
    this.#file = join(folder, 'session.pem')
  }

  /** Makes a session and keeps it; the verdict is `New` unless the server is wrong. */
  make(args: readonly string[]): Promise<string> {
    return this.#connect([...args, '-sess_out', this.#file])
  }

  /** Offers the session that was made last: `Reused` or `New`. */
  offer(args: readonly string[]): Promise<string> {
    return this.#connect([...args, '-sess_in', this.#file])
  }

  async #connect(args: readonly string[]): Promise<string> {
    const all = ['s_client', '-connect', `127.0.0.1:${this.#port}`, '-ign_eof', ...args]
    const client = spawn('openssl', all, { stdio: 'pipe', timeout: TIMEOUT_MS })
    client.stdin.on('error', () => {}) // It ended before it read the request.
    client.stdin.end('GET / HTTP/1.0\r\n\r\n')
    const { stdout, stderr } = await finish(client)
    const verdict = /^(New|Reused), TLSv1\.[23], Cipher is/m.exec(stdout)?.[1]
    if (verdict === undefined) throw new Error(`no handshake: ${stdout}${stderr}`)
    return verdict
  }
}
