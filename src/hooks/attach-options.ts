// The options with which a Node.js TLS server is joined to a cache, and the checks of what a program gives.

import { checkDeadline, checkMethods, checkOptions, usageError } from '../base/options.ts'
import type { Clock, Logger } from '../base/world.ts'
import { toContext } from '../session/encoded-session.ts'

export const DEFAULT_DEADLINE_MS = 50
const CALLER = 'attachSessionCache'
const NO_HOOKS =
  'the second argument must be hooks on a cache: what node.hooks(cache) or connectHooks returns, or an object with get ' +
  'and put'

/** How a TLS server is joined to a cache. */
export interface AttachOptions {
  /**
   * The session ID context, text in UTF-8 or bytes, 1..32 bytes. It must equal the server's own `sessionIdContext`, and
   * be the same on all servers that share sessions.
   */
  readonly context: string | Uint8Array
  /**
   * Longest wait for the cache in one handshake, in milliseconds; default 50. A later answer counts as `late`, and the
   * handshake is a full one. A put never holds a handshake.
   */
  readonly deadlineMs?: number
  /**
   * Whether the ClientHello of each connection is read before Node.js gets it; default true. If false, TLS 1.3 sessions
   * are not stored, because they could never be found again, and server names are not compared. It must be the same on
   * all servers that share sessions.
   */
  readonly readsClientHello?: boolean
  /** Time, injected by tests; default: the system's. */
  readonly clock?: Clock
  /**
   * Receives failures of the cache, at most one line a second, and problems that end resumption. Without a logger such
   * a problem is a warning of the process, named TlscachedWarning.
   */
  readonly logger?: Logger
}

const OPTION_NAMES: ReadonlySet<string> = new Set<keyof AttachOptions>([
  'context',
  'deadlineMs',
  'readsClientHello',
  'clock',
  'logger',
])

/**
 * Returns the session ID context as bytes. Throws ERR_USAGE when `hooks` have no get and put, an option is unknown, or a
 * value is of another kind; and ERR_CONTEXT when the context is too long.
 */
export function checkAttachOptions(hooks: unknown, options: AttachOptions): Buffer {
  checkMethods(CALLER, hooks, ['get', 'put'], NO_HOOKS)
  checkOptions(CALLER, options, OPTION_NAMES)
  const { context, deadlineMs = DEFAULT_DEADLINE_MS } = options
  checkDeadline(CALLER, deadlineMs)
  if (typeof context === 'string' || context instanceof Uint8Array) return toContext(context)
  throw usageError(CALLER, 'context must be text or bytes: the sessionIdContext of the server')
}
