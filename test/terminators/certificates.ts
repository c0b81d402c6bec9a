// What the services show, and what clients show to those that ask.

import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { DEMO_CERTIFICATE } from '../../src/cli/demo-terminator.ts'

const run = promisify(execFile)

/** A usual one, or one so small that stunnel, which shares sessions up to 512 bytes, can share it. */
export type ClientCertificate = 'usual' | 'small'

const KEYS: Record<ClientCertificate, readonly string[]> = {
  usual: ['-newkey', 'rsa:2048'],
  small: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
}

/** Writes cert.pem, key.pem, and clients.pem with the client certificates that services accept. */
export async function makeCertificates(folder: string): Promise<void> {
  writeFileSync(join(folder, 'cert.pem'), DEMO_CERTIFICATE.cert)
  writeFileSync(join(folder, 'key.pem'), DEMO_CERTIFICATE.key, { mode: 0o600 })
  // No extensions: that makes the small one small.
  const plain = join(folder, 'plain.cnf')
  writeFileSync(plain, '[req]\ndistinguished_name = name\nx509_extensions = none\n[name]\n[none]\n')
  const all = await Promise.all(
    (['usual', 'small'] as const).map(async (name) => {
      const key = ['-keyout', join(folder, `${name}.key`), '-nodes', '-sha256']
      const request = ['req', '-x509', '-config', plain, '-subj', `/CN=${name}`, '-days', '2']
      const { stdout } = await run('openssl', [...request, ...KEYS[name], ...key])
      writeFileSync(join(folder, `${name}.pem`), stdout)
      return stdout
    }),
  )
  writeFileSync(join(folder, 'clients.pem'), all.join(''))
}

/** Arguments for `openssl s_client`. */
export function clientCertificateArgs(folder: string, name: ClientCertificate): string[] {
  return ['-cert', join(folder, `${name}.pem`), '-key', join(folder, `${name}.key`)]
}
