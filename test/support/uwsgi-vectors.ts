// Datagrams and results of real uWSGI nodes in test/vectors/uwsgi.

import { readFileSync } from 'node:fs'

const DIRECTORY = new URL('../vectors/uwsgi/', import.meta.url)

/** The datagrams of a file, each on a line that begins with `raw`. */
export function readDatagrams(name: string): Buffer[] {
  const text = readFileSync(new URL(name, DIRECTORY), 'utf8')
  return [...text.matchAll(/^raw ([0-9a-f]+)$/gm)].map(([, hex = '']) => Buffer.from(hex, 'hex'))
}

/** What uWSGI 2.0.21 made of a crafted datagram: a line of injection-table.txt. */
export interface Injection {
  readonly name: string
  readonly bytes: number
  /** The first 24 bytes, or all. */
  readonly beginning: Buffer
  readonly isStoredThere: boolean
}

export function readInjections(): Injection[] {
  const text = readFileSync(new URL('injection-table.txt', DIRECTORY), 'utf8')
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return lines.map((line) => {
    const [name = '', bytes, hex = '', effect = ''] = line.split(' | ')
    return {
      name,
      bytes: Number(bytes),
      beginning: Buffer.from(hex.trim(), 'hex'),
      isStoredThere: effect.startsWith('STORED'),
    }
  })
}
