// Reads what an nginx is set up to do, out of its files.

import { dirname, resolve } from 'node:path'
import type { Machine } from '../machine.ts'
import {
  argumentOf,
  expand,
  type Running,
  type SessionCache,
  type Terminator,
  type TlsServer,
  uidsOf,
} from './terminator.ts'

const USUAL_FILE = '/etc/nginx/nginx.conf'
const MAX_DEPTH = 16
const TITLE = 'nginx: master process '

interface Directive {
  readonly name: string
  readonly args: readonly string[]
  /** Directives in braces. */
  readonly inner: readonly Directive[]
  /** Source in a block of Lua. */
  readonly code: string
}

export function readNginx(running: Running): Terminator {
  const { main, machine } = running
  const title = main.args.join(' ')
  const args = title.startsWith(TITLE) ? title.slice(TITLE.length).split(/\s+/) : main.args
  const prefix = argumentOf(args, '-p') ?? dirname(USUAL_FILE)
  const given = argumentOf(args, '-c')
  const file = given === undefined ? USUAL_FILE : resolve(prefix, given)
  const all = readFile(machine, file, dirname(file), 0)
  const blocks = all.filter(({ name }) => name === 'http' || name === 'stream')
  return {
    kind: 'nginx',
    file,
    servers: blocks.flatMap((block) => serversOf(block, dirname(file))),
    cache: cacheOf(all),
    uids: uidsOf(running),
  }
}

/** Paths of keys are relative to the folder of the configuration. */
function serversOf(block: Directive, folder: string): TlsServer[] {
  const servers = block.inner.filter(({ name }) => name === 'server')
  return servers.filter(isTls).map(({ inner }) => {
    const setting = (name: string) => argsOf(inner, name) ?? argsOf(block.inner, name)
    // The first key makes tickets, the others open them; those of a server replace those outside it.
    const own = keysOf(inner)
    const [key, ...openers] = (own.length > 0 ? own : keysOf(block.inner)).map((path) =>
      resolve(folder, path),
    )
    const isOff = setting('ssl_session_tickets')?.[0] === 'off'
    const kept = key === undefined ? 'own' : { file: key }
    const [name = 'the default server'] = argsOf(inner, 'server_name') ?? []
    return { name, tickets: isOff ? 'off' : kept, openers }
  })
}

function keysOf(directives: readonly Directive[]): readonly string[] {
  return directives.flatMap(({ name, args }) =>
    name === 'ssl_session_ticket_key' ? args.slice(0, 1) : [],
  )
}

function isTls({ inner }: Directive): boolean {
  const listens = inner.filter(({ name }) => name === 'listen')
  return listens.some(({ args }) => args.includes('ssl')) || argsOf(inner, 'ssl')?.[0] === 'on'
}

/** Only Lua code can ask a node; the example of this program names its socket in `setup`. */
function cacheOf(all: readonly Directive[]): SessionCache {
  const named = (directives: readonly Directive[]): readonly Directive[] =>
    directives.flatMap((one) => [one, ...named(one.inner)])
  const flat = named(all)
  const asks = flat.some(({ name }) => name.startsWith('ssl_session_fetch_by_lua'))
  const code = flat.map((one) => one.code).join('\n')
  const socket = /\bsocket\s*=\s*["']([^"']+)["']/.exec(code)?.[1]
  if (asks) {
    const at = socket === undefined ? [] : [`unix:${socket.replace(/^unix:/, '')}`]
    return { kind: 'asked', frontend: 'memcached', at }
  }
  const caches = flat.filter(({ name }) => name === 'ssl_session_cache')
  const text = caches.at(-1)?.args.join(' ') ?? 'none'
  return { kind: /^(none|off)/.test(text) ? 'none' : 'own', text }
}

function argsOf(directives: readonly Directive[], name: string): readonly string[] | undefined {
  return directives.findLast((one) => one.name === name)?.args
}

function readFile(machine: Machine, file: string, folder: string, depth: number): Directive[] {
  const text = machine.read(file)
  if (text === undefined || depth > MAX_DEPTH) return []
  const tokens = tokensOf(text)
  let at = 0
  const block = (): Directive[] => {
    const directives: Directive[] = []
    let args: string[] = []
    while (at < tokens.length) {
      const token = tokens[at]
      at += 1
      if (token === undefined || token.kind === '}') break
      if (token.kind === 'word') args.push(token.text)
      else {
        const [name = '', ...rest] = args
        args = []
        if (token.kind === 'code')
          directives.push({ name, args: rest, inner: [], code: token.text })
        else if (token.kind === '{') directives.push({ name, args: rest, inner: block(), code: '' })
        else if (name === 'include') {
          const [pattern = ''] = rest
          const files = expand(machine, resolve(folder, pattern))
          directives.push(...files.flatMap((one) => readFile(machine, one, folder, depth + 1)))
        } else directives.push({ name, args: rest, inner: [], code: '' })
      }
    }
    return directives
  }
  return block()
}

interface Token {
  readonly kind: 'word' | '{' | '}' | ';' | 'code'
  readonly text: string
}

/** Splits a file into words and punctuation. A block of Lua is one token, since its braces are Lua's. */
function tokensOf(text: string): readonly Token[] {
  const pattern =
    /#[^\n]*|"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([{};])|((?:\\.|\$\{[^}]*\}|[^\s{};"'#\\])+)/gs
  const tokens: Token[] = []
  for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
    const [, double, single, mark, bare] = match
    const word = double ?? single ?? bare
    if (word !== undefined) tokens.push({ kind: 'word', text: word })
    else if (
      mark === '{' &&
      tokens.findLast(({ kind }) => kind === 'word')?.text.endsWith('_by_lua_block')
    ) {
      const end = endOfLua(text, pattern.lastIndex)
      tokens.push({ kind: 'code', text: text.slice(pattern.lastIndex, end) })
      pattern.lastIndex = end + 1
    } else if (mark === '{' || mark === '}' || mark === ';') tokens.push({ kind: mark, text: mark })
  }
  return tokens
}

/** Returns where the brace is that closes a block of Lua; strings and comments may have others. */
function endOfLua(text: string, start: number): number {
  const pattern =
    /--\[\[.*?\]\]|--[^\n]*|\[\[.*?\]\]|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[{}]/gs
  pattern.lastIndex = start
  let depth = 1
  for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
    if (match[0] === '{') depth += 1
    if (match[0] === '}') depth -= 1
    if (depth === 0) return match.index
  }
  return text.length
}
