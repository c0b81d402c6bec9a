// The public API: a node in this process, hooks on a node in another process, and session caching for a Node.js TLS
// server.

export { ERROR_CODES, type ErrorCode, TlscachedError } from './base/errors.ts'
export type { AttachOptions } from './hooks/attach-options.ts'
export type { Awaitable, FoundSession, PutRequest, SessionHooks } from './hooks/hooks.ts'
export type { LocalHooks } from './hooks/local-hooks.ts'
export { attachSessionCache, type SessionCacheBinding } from './hooks/node-tls.ts'
export type { CallFailure, RemoteStats } from './hooks/remote-hooks.ts'
export { type ConnectOptions, connectHooks, type RemoteHooks } from './hooks/remote-hooks.ts'
export {
  connectTicketKeys,
  type RemoteTicketKeys,
  type RemoteTicketStats,
  type TicketKeyConnectOptions,
} from './hooks/remote-tickets.ts'
export type { SessionCacheStats } from './hooks/stats.ts'
export {
  attachTicketKeys,
  type TicketKeyBinding,
  type TicketKeyOptions,
} from './hooks/ticket-keys.ts'
export type { NodeConfig } from './node/config.ts'
export type { ConfigInput } from './node/config-schema.ts'
export {
  type CacheNode,
  createNode,
  type NodeOptions,
  nodeConfig,
} from './node/node.ts'
export type { Listening } from './node/node-frontends.ts'
export type { Finding } from './prove/findings.ts'
export { type ProveOptions, type ProveResult, prove } from './prove/prove.ts'
export { ConfigError, type ConfigProblem } from './settings/errors.ts'

export type { PutResult } from './store/stats.ts'
export type { TicketKeySource } from './tickets/authority.ts'
