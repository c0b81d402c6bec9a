// The interface between a connection and the protocol that its peer speaks.

import type { Entries } from './entries.ts'
import type { ReplyBuffer } from './fast/reply-buffer.ts'
import type { ServerStatus } from './server-status.ts'
import type { MemcachedStats } from './stats.ts'
import type { TicketKeys } from './ticket-keys.ts'

/**
 * What a step did. `answered`: a command was carried out, and there may be more. `starved`: more bytes must come first.
 * `waiting`: the command is still going on, and calls `resume` when it is done. `close`: the connection has to end.
 */
export type Step = 'answered' | 'starved' | 'waiting' | 'close'

/** Continues a connection after `waiting`; `answer` writes the answer to the command that is done. */
export type Resume = (answer: () => void) => void

export interface Protocol {
  /** Whether a command has begun that more bytes must complete. */
  readonly isMidway: boolean
  /** Whether a lone get of the text protocol that comes next may be answered without this protocol. */
  readonly mayTakeLoneGets: boolean
  /** Carries out at most one command. */
  step(resume: Resume): Step
}

/** What the protocols of all connections share. */
export interface ProtocolParts {
  readonly output: ReplyBuffer
  readonly entries: Entries
  /** The ticket keys that are served beside the cache; undefined for none. */
  readonly ticketKeys?: TicketKeys | undefined
  readonly status: ServerStatus
  readonly stats: MemcachedStats
  /** Longest value that is read; the bytes of a longer one are discarded as they come in. */
  readonly maxValueBytes: number
  /** Empties the cache. Returns true when that is done, or delayed; otherwise `onDone` is called when it is done. */
  readonly flush: (delaySec: number, onDone: () => void) => boolean
}
