// Serves the page for browsers: the files that the build puts into dist/page, under a policy that lets them load from
// and talk to this server alone.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { codeOf, TlscachedError } from '../../base/errors.ts'

export const PAGE_PATHS = ['/', '/page/:file'] as const

/** Two levels above src/frontends/http as well as dist/frontends/http, and one more. */
const PAGE_FOLDER = new URL('../../../dist/page/', import.meta.url)
const INDEX = 'index.html'
/** The files that are served, and nothing else of the folder. */
const TYPES: ReadonlyMap<string, string> = new Map([
  [INDEX, 'text/html; charset=utf-8'],
  ['help.html', 'text/html; charset=utf-8'],
  ['page.css', 'text/css; charset=utf-8'],
  ['page.js', 'text/javascript; charset=utf-8'],
  ['icon.svg', 'image/svg+xml'],
])

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const HEADERS = {
  'content-security-policy': POLICY,
  'referrer-policy': 'no-referrer',
  // The browser asks each time, and mostly hears that nothing changed: an upgraded node shows its own page at once.
  'cache-control': 'no-cache',
  vary: 'accept-encoding',
} as const

interface PageFile {
  readonly type: string
  readonly plain: Buffer
  readonly gzip: Buffer
  readonly etag: string
}

export function addPageRoutes(app: FastifyInstance, folder = PAGE_FOLDER): void {
  const files = new Map<string, PageFile>()
  const fileOf = (name: string): PageFile => {
    const file = files.get(name) ?? readPageFile(folder, name)
    files.set(name, file)
    return file
  }
  app.get('/', async (request, reply) => sendFile(fileOf(INDEX), request, reply))
  app.get<{ Params: { file: string } }>('/page/:file', async (request, reply) =>
    sendFile(fileOf(request.params.file), request, reply),
  )
}

/** Reads a file of the page. Throws ERR_NOT_FOUND when there is none of this name, or the page is not built. */
function readPageFile(folder: URL, name: string): PageFile {
  const type = TYPES.get(name)
  if (type === undefined) throw new TlscachedError('ERR_NOT_FOUND')
  try {
    const plain = readFileSync(new URL(name, folder))
    const etag = `"${createHash('sha256').update(plain).digest('base64url')}"`
    return { type, plain, gzip: gzipSync(plain), etag }
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
    throw new TlscachedError('ERR_NOT_FOUND', 'the page is not built: npm run build')
  }
}

function sendFile(
  { type, plain, gzip, etag }: PageFile,
  { headers }: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  reply.headers({ ...HEADERS, etag })
  if (headers['if-none-match'] === etag) return reply.code(304).send()
  reply.header('content-type', type)
  const isGzip = /\bgzip\b/.test(String(headers['accept-encoding'] ?? ''))
  return isGzip ? reply.header('content-encoding', 'gzip').send(gzip) : reply.send(plain)
}
