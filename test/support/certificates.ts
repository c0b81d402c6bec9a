// Certificates for a test, made by the openssl program in a folder of their own.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface CertificateFiles {
  readonly certFile: string
  readonly keyFile: string
  /** PEM. */
  readonly cert: string
  readonly key: string
}

export interface CertificateOptions {
  readonly commonName: string
  /** As in `DNS:a.test`; none without. */
  readonly alternatives?: readonly string[]
  readonly keyType?: 'ec' | 'rsa'
  /** Who signs it; it signs itself without. */
  readonly issuer?: CertificateFiles
}

export class CertificateFolder {
  readonly path = mkdtempSync(join(tmpdir(), 'tlscached-certificates-'))
  #count = 0

  make({ commonName, alternatives, keyType = 'ec', issuer }: CertificateOptions): CertificateFiles {
    this.#count += 1
    const certFile = join(this.path, `${this.#count}.pem`)
    const keyFile = join(this.path, `${this.#count}.key`)
    const kind = keyType === 'ec' ? ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'] : ['rsa:2048']
    execFileSync(
      'openssl',
      [
        ...['req', '-x509', '-nodes', '-days', '3650', '-subj', `/CN=${commonName}`],
        ...['-newkey', ...kind, '-keyout', keyFile, '-out', certFile],
        ...(alternatives ? ['-addext', `subjectAltName=${alternatives.join(',')}`] : []),
        ...(issuer ? ['-CA', issuer.certFile, '-CAkey', issuer.keyFile] : []),
      ],
      { stdio: 'ignore' },
    )
    return {
      certFile,
      keyFile,
      cert: readFileSync(certFile, 'utf8'),
      key: readFileSync(keyFile, 'utf8'),
    }
  }

  remove(): void {
    rmSync(this.path, { recursive: true })
  }
}
