// The program in the README that attaches a Node.js TLS server, as two processes that replicate to each other.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemRandom } from '../../src/base/world.ts'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import { adapt, type Replacement } from './adapt.ts'
import { freeAddresses, freePorts } from './free-ports.ts'
import { until } from './latch.ts'
import { handshake } from './tls-client.ts'

const README = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
/** The server answers it and closes. */
export const REQUEST = 'GET / HTTP/1.0\r\n\r\n'

export interface ReadmeServers {
  readonly children: readonly ChildProcess[]
  /** What the processes wrote to standard error so far. */
  readonly stderr: () => string
  /** Port of the TLS server of each process. */
  readonly ports: readonly [first: number, second: number]
}

/** Starts both in folders of their own below `folder`: with the arguments of node, and what else a reader would replace. */
export async function startReadmeServers(
  folder: string,
  replacements: readonly Replacement[],
): Promise<ReadmeServers> {
  const [, program = ''] = /```js\n([\s\S]*?)```/.exec(README) ?? []
  const keysFile = join(folder, 'keys')
  writeFileSync(keysFile, generateKey(systemRandom), { mode: 0o600 })
  const addresses = await freeAddresses(2)
  const [first = 0, second = 0] = await freePorts(2)
  let stderr = ''
  const children = ['web-1', 'web-2'].map((name, index) => {
    const [listen = '', peer = ''] = index === 0 ? addresses : addresses.toReversed()
    const home = join(folder, name)
    mkdirSync(home)
    writeFileSync(join(home, 'key.pem'), DEMO_CERTIFICATE.key)
    writeFileSync(join(home, 'cert.pem'), DEMO_CERTIFICATE.cert)
    writeFileSync(
      join(home, 'server.mjs'),
      adapt(program, [
        ...replacements,
        ["'web-1'", `'${name}'`],
        ["'10.0.0.1:7171'", `'${listen}'`],
        ["'10.0.0.2:7171', '10.0.0.3:7171'", `'${peer}'`],
        ['/etc/tlscached/keys', keysFile],
        ['8443', String(index === 0 ? first : second)],
      ]),
    )
    const child = spawn(process.execPath, ['server.mjs'], {
      cwd: home,
      stdio: ['ignore', 'inherit', 'pipe'],
    })
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString()
    })
    return child
  })
  return { children, stderr: () => stderr, ports: [first, second] }
}

/** Resolves when a session made at one process resumes at the other, which they do once they know each other. */
export async function untilShared([first, second]: readonly [number, number]): Promise<void> {
  await until('both processes know each other and share sessions', async () => {
    const made = await handshake(first, { request: REQUEST }).catch(() => undefined)
    if (made?.session === undefined) return false
    const { session } = made
    const again = await handshake(second, { session, request: REQUEST }).catch(() => undefined)
    return again?.isReused === true
  })
}
