// Certificates for a test, made by the openssl program in a folder of their own.

import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
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
  /** Names in the certificate, such as `DNS:a.test`; default: none. */
  readonly alternatives?: readonly string[]
  readonly keyType?: 'ec' | 'rsa'
  /** The authority that signs it; default: it signs itself. */
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

  /** The revocation list of an authority, PEM. Times are as openssl takes them: `20300101000000Z`. */
  makeCrl(
    authority: CertificateFiles,
    revoked: readonly CertificateFiles[],
    { lastUpdate = '20200101000000Z', nextUpdate = '20990101000000Z' } = {},
  ): string {
    this.#count += 1
    const base = join(this.path, `crl-${this.#count}`)
    const lines = revoked.map(({ cert }) => {
      const { serialNumber } = new X509Certificate(cert)
      return ['R', '990101000000Z', '200101000000Z', serialNumber, 'unknown', '/CN=x'].join('\t')
    })
    writeFileSync(`${base}.txt`, lines.map((line) => `${line}\n`).join(''))
    writeFileSync(
      `${base}.cnf`,
      `[ca]\ndefault_ca = own\n[own]\ndatabase = ${base}.txt\ndefault_md = sha256\n`,
    )
    execFileSync(
      'openssl',
      [
        ...['ca', '-config', `${base}.cnf`, '-gencrl', '-out', `${base}.pem`],
        ...['-cert', authority.certFile, '-keyfile', authority.keyFile],
        ...['-crl_lastupdate', lastUpdate, '-crl_nextupdate', nextUpdate],
      ],
      { stdio: 'ignore' },
    )
    return readFileSync(`${base}.pem`, 'utf8')
  }

  remove(): void {
    rmSync(this.path, { recursive: true })
  }
}
